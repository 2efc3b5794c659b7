/** What a template may refer to, checked before any run. */

import type { IssueList } from './issues.ts';
import { suggestion } from './names.ts';
import { compileTemplate } from '../expression/index.ts';
import type { Template } from '../expression/types.ts';

export const SCOPES = {
  all: ['trigger', 'input', 'steps', 'run', 'chain'],
  /** Before there is a run. */
  trigger: ['trigger', 'run', 'chain'],
} as const;

export interface Allowed {
  readonly roots: readonly string[];
  readonly steps: readonly string[];
}

/** Undefined where it cannot be compiled; the reasons are in `issues` then. */
export function checkTemplate(value: unknown, path: string, allowed: Allowed, issues: IssueList): Template | undefined {
  const compiled = compileTemplate(value, path);
  if (!compiled.ok) {
    issues.addAll(compiled.fault.issues ?? [{ path, message: compiled.fault.message }]);
    return undefined;
  }
  const { roots, steps } = compiled.value;
  for (const root of roots) {
    if (!allowed.roots.includes(root)) {
      issues.add(path, () => `There is no "${root}" to refer to here.${suggestion(root, allowed.roots)}`);
    }
  }
  for (const id of steps) {
    if (id !== '*' && !allowed.steps.includes(id) && allowed.roots.includes('steps')) {
      issues.add(path, () => `There is no step "${id}" to refer to.${suggestion(id, allowed.steps)}`);
    }
  }
  return compiled.value;
}
