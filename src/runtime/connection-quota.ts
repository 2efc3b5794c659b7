/**
 * What a connection may be used for in a minute and in a day, because its provider allows no more. Counted by the
 * limiter objects, for all isolates together; every attempt counts, probes do not.
 *
 * Guarantee: never more than the quota of a day, and in no minute more than the quota of a minute: an isolate asks
 * for each use, and stores none. Where the object does not answer, the step is refused, and may be tried again.
 * Accepted weakness: a use that nobody reports any more counts until 17 s later than it was.
 */

import { callLimiter } from './limiter-calls.ts';
import { connectionPath } from '../core/chain/connection.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { GRACE_MILLISECONDS, type Answer, type Ask, type Rule, type Settlement } from '../core/policy/limiter.ts';
import type { Env } from '../env.ts';
import type { ConnectionRow } from '../store/connections.ts';

export interface QuotaUsage {
  readonly per: 'minute' | 'day';
  readonly limit: number;
  readonly used: number;
  /** Until more of it is free. */
  readonly resetMilliseconds: number;
}

type Row = Pick<ConnectionRow, 'tenant' | 'name' | 'quota'>;

/** Grants of this isolate that their object has not been told the end of, by key. */
const open = new Map<string, { readonly id: number; readonly at: number; readonly returned: number }[]>();

/** Counts one use. Faults `quota.exceeded`, with the time when it is free again, and `limit.unavailable`. */
export async function takeQuota(env: Env, row: Row): Promise<Result<void>> {
  const asks = asksOf(row, 1);
  if (asks.length === 0) return ok(undefined);
  const answers = await callLimiter(env, asks);
  const isGranted = asks.every((_, index) => answers[index]?.ok === true);
  for (const [index, { key }] of asks.entries()) {
    const answer = answers[index];
    if (answer?.ok === true && answer.id !== 0) note(key, answer.id, isGranted ? 0 : 1);
  }
  if (isGranted) return ok(undefined);
  const path = connectionPath(row);
  const refused = asks.findIndex((_, index) => answers[index]?.ok !== true);
  const answer = answers[refused];
  if (answer === undefined) return fail('limit.unavailable', `The quota of the connection ${path} cannot be counted.`);
  const { per, limit } = perOf(asks[refused]?.rule);
  return fail(
    'quota.exceeded',
    `The connection ${path} has been used as often as its quota of ${limit} a ${per} allows.`,
    {
      retryAfterMilliseconds: Math.max(...answers.map((each) => (each?.ok === false ? each.resetMilliseconds : 0))),
    },
  );
}

/** What was used of each part of the quota. Fault `limit.unavailable`. */
export async function readQuota(env: Env, row: Row): Promise<Result<readonly QuotaUsage[]>> {
  const asks = asksOf(row, 0);
  const answers = await callLimiter(env, asks);
  const given = answers.filter((answer): answer is Answer => answer !== undefined);
  if (given.length < asks.length) return fail('limit.unavailable', 'The counters of the quota do not answer.');
  return ok(
    given.map(({ remaining, resetMilliseconds }, index) => {
      const { per, limit } = perOf(asks[index]?.rule);
      return { per, limit, used: limit - remaining, resetMilliseconds };
    }),
  );
}

function asksOf(row: Row, need: number): Ask[] {
  const { perMinute, perDay } = row.quota ?? {};
  const key = `connection ${connectionPath(row)}`;
  const rules: Rule[] = [
    ...(perMinute === undefined ? [] : [{ kind: 'window', limit: perMinute, periodMilliseconds: 60_000 } as const]),
    ...(perDay === undefined ? [] : [{ kind: 'quota', limit: perDay, unit: 'day', timezone: 'UTC' } as const]),
  ];
  return rules.map((rule) => {
    const named = `${key} ${rule.kind}`;
    return { key: named, rule, need, want: 0, settle: settled(named) };
  });
}

const perOf = (rule: Rule | undefined): { readonly per: 'minute' | 'day'; readonly limit: number } => ({
  per: rule?.kind === 'quota' ? 'day' : 'minute',
  limit: rule?.limit ?? 0,
});

/** After which the object has closed a grant by itself. */
const CLOSED_MILLISECONDS = LIMITS.limiterLeaseMilliseconds + GRACE_MILLISECONDS;

/** @param returned 1 where another part of the quota refused the use */
function note(key: string, id: number, returned: number): void {
  if (open.size >= LIMITS.limiterKeysPerObject) open.clear();
  const grants = open.get(key) ?? [];
  open.set(key, [...grants, { id, at: Date.now(), returned }]);
}

/** Told with the next ask: a call of its own for each would double their number. */
function settled(key: string): Settlement[] {
  const now = Date.now();
  const grants = open.get(key) ?? [];
  open.delete(key);
  return grants
    .filter(({ at }) => now - at < CLOSED_MILLISECONDS)
    .map(({ id, at, returned }) => ({ id, used: returned === 1 ? [] : [now - at, 1], returned }));
}
