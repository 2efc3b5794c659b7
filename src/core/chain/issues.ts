/** Collects the mistakes of one document, so that its author sees all of them at once. */

import type { Issue } from '../errors.ts';
import { LIMITS } from '../limits.ts';

export class IssueList {
  readonly #issues: Issue[] = [];

  /** A message that takes work to find, such as the nearest right name, is passed as a function. */
  add(path: string, message: string | (() => string)): void {
    if (this.#issues.length >= LIMITS.chainIssues) return;
    this.#issues.push({ path, message: typeof message === 'string' ? message : message() });
  }

  /** Takes over issues whose paths are relative to `base`. */
  addAll(issues: readonly Issue[], base = ''): void {
    for (const issue of issues) this.add(at(base, issue.path), issue.message);
  }

  get all(): readonly Issue[] {
    return this.#issues;
  }
}

/** The path of a member: `at('steps.order', 'with')`; array positions are members like any other. */
export function at(path: string, ...keys: readonly (string | number)[]): string {
  // Concatenation, not join: a rope costs nothing, while copies of hostile long keys would.
  return keys.reduce<string>((base, key) => (base === '' ? String(key) : key === '' ? base : `${base}.${key}`), path);
}
