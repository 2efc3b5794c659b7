/** What a template may refer to, checked before any run. */

import type { Leaf } from './conform.ts';
import { at, type IssueList } from './issues.ts';
import { suggestion } from './names.ts';
import { compileTemplate } from '../expression/index.ts';
import { scanTemplate } from '../expression/scan.ts';
import type { Template } from '../expression/types.ts';
import { isObject } from '../json.ts';
import { LIMITS } from '../limits.ts';

export const SCOPES = {
  all: ['trigger', 'input', 'steps', 'run', 'chain'],
  /** Before there is a run. */
  trigger: ['trigger', 'run', 'chain'],
} as const;

export interface Allowed {
  readonly roots: readonly string[];
  readonly steps: readonly string[];
  /** The step that the template belongs to: it must be put in order by what it refers to. */
  readonly self?: string;
}

/** Undefined where it cannot be compiled; whatever is wrong with it is in `issues`, each at its own text. */
export function checkTemplate(value: unknown, path: string, allowed: Allowed, issues: IssueList): Template | undefined {
  const compiled = compileTemplate(value, path);
  if (!compiled.ok || mistakesOf(compiled.value, allowed).length > 0) tell(value, path, allowed, issues, 0);
  return compiled.ok ? compiled.value : undefined;
}

/** Compiles each text by itself, which only a template with a mistake is worth. */
function tell(value: unknown, path: string, allowed: Allowed, issues: IssueList, depth: number): void {
  if (typeof value === 'string') {
    const compiled = compileTemplate(value, path);
    if (!compiled.ok) issues.add(path, compiled.fault.message);
    else for (const message of mistakesOf(compiled.value, allowed)) issues.add(path, message);
  } else if (depth > LIMITS.jsonDepth) {
    issues.add(path, `Nested deeper than ${LIMITS.jsonDepth} levels.`);
  } else if (isObject(value) || Array.isArray(value)) {
    for (const [key, member] of Object.entries(value)) tell(member, at(path, key), allowed, issues, depth + 1);
  }
}

function mistakesOf({ roots, steps }: Template, allowed: Allowed): readonly (() => string)[] {
  const strangers = roots
    .filter((root) => !allowed.roots.includes(root))
    .map((root) => () => `There is no "${root}" to refer to here.${suggestion(root, allowed.roots)}`);
  if (!allowed.roots.includes('steps')) return strangers;
  const wrong = steps.flatMap((id) => {
    if (id === '*') return allowed.self === undefined ? [] : () => ALL_STEPS;
    if (id === allowed.self) return () => 'The step refers to its own output, which is not there yet.';
    return allowed.steps.includes(id)
      ? []
      : () => `There is no step "${id}" to refer to.${suggestion(id, allowed.steps)}`;
  });
  return [...strangers, ...wrong];
}

const ALL_STEPS = 'Name the step: `steps.<id>`. All steps at once cannot be put in order.';

export function compileCondition(
  text: string | undefined,
  path: string,
  allowed: Allowed,
  issues: IssueList,
): Template | undefined {
  if (text === undefined) return undefined;
  if (leafOf(text) !== 'anything') {
    issues.add(path, 'A condition is one expression as a whole: "{{ … }}".');
    return undefined;
  }
  return checkTemplate(text, path, allowed, issues);
}

export const literally = (): Leaf => 'literal';

/** What a text will be: itself, some text, or whatever its one expression gives. */
export function leafOf(text: string): Leaf {
  if (!text.includes('{{')) return 'literal';
  const segments = scanTemplate(text);
  return segments?.length === 1 && segments[0]?.kind === 'expression' ? 'anything' : 'text';
}
