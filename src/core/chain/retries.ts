/** How often and when a failed step is tried again, as its author wrote it. */

import type { ActionFacts } from './catalogue.ts';
import type { RetriesDocument } from './document.ts';
import { formatDuration, parseDuration } from './duration.ts';
import { at, type IssueList } from './issues.ts';
import type { Mode, RetryPolicy } from './plan.ts';
import { compileCondition, type Allowed } from './scopes.ts';
import { LIMITS } from '../limits.ts';

export function retryPolicy(
  given: RetriesDocument | undefined,
  action: ActionFacts,
  mode: Mode,
  path: string,
  allowed: Allowed,
  issues: IssueList,
): RetryPolicy {
  const longest = LIMITS.retryDelayLongestMilliseconds;
  const usual = mode === 'inline' || action.effect === 'external' ? 0 : LIMITS.retriesUsual;
  const roots = [...allowed.roots, 'error'];
  return {
    limit: given?.limit ?? usual,
    delayMilliseconds: boundedDuration(given?.delay ?? '1s', longest, at(path, 'delay'), issues, 0),
    backoff: given?.backoff ?? 'exponential',
    jitter: given?.jitter ?? true,
    capMilliseconds: boundedDuration(given?.cap ?? '5m', longest, at(path, 'cap'), issues, 0),
    declared: given !== undefined,
    if: compileCondition(given?.if, at(path, 'if'), { ...allowed, roots }, issues),
  };
}

/** Milliseconds of a duration; adds an issue where it is out of bounds. */
export function boundedDuration(
  text: string | undefined,
  longest: number,
  path: string,
  issues: IssueList,
  shortest = 1,
): number {
  const milliseconds = text === undefined ? LIMITS.stepTimeoutMilliseconds : (parseDuration(text) ?? 0);
  if (milliseconds < shortest || milliseconds > longest) {
    issues.add(path, `Must be ${shortest > 0 ? 'more than 0 and ' : ''}at most ${formatDuration(longest)}.`);
  }
  return milliseconds;
}
