/** Runs of an event once more: of one by hand, or of all that came to nothing. */

import { acceptEach, type RunRequest } from './accept.ts';
import { checkConfiguration } from './configuration.ts';
import { inboxOf, readEvent } from './inbox.ts';
import { runKeyOf } from './inbox-pump.ts';
import { hookTargets, passes, requestFor, wantsType, type HookTarget } from './inbox-targets.ts';
import { readRun } from './runs.ts';
import type { ShownEvent } from './inbox-object.ts';
import { eventId, triggerEventOf, type EventRun, type EventSummary } from '../core/inbox/event.ts';
import { fail, ok, type Fault, type Result } from '../core/errors.ts';
import type { Env } from '../env.ts';
import { randomBytes, toHex } from '../vault/bytes.ts';

export interface ReplayRequest {
  readonly id: string;
  /** Only this chain, whether its trigger wants the event or not; default: all that want it now. */
  readonly chain?: string;
  /** A request with the same key as an earlier one starts no further runs. */
  readonly idempotencyKey?: string;
}

/** Starts new runs of an event. Faults `event.not-found`, `event.rejected`, `event.unwanted` and those of a run. */
export async function replayEvent(
  env: Env,
  source: string,
  request: ReplayRequest,
): Promise<Result<readonly EventRun[]>> {
  const { id, chain, idempotencyKey } = request;
  const shown = await readEvent(env, source, id);
  if (!shown.ok) return shown;
  const { summary } = shown.value;
  if (summary.status === 'rejected') {
    return fail('event.rejected', `The delivery ${id} was refused, so nothing says that it is genuine.`);
  }
  const targets = await targetsOf(env, source);
  const chosen =
    chain === undefined ? await wanting(targets, shown.value) : targets.filter((target) => target.chain.name === chain);
  if (chosen.length === 0) {
    const who = chain === undefined ? 'No chain wants' : `The chain ${chain} has no webhook trigger for the source of`;
    return fail('event.unwanted', `${who} the event ${id}.`);
  }
  const key = `${runKeyOf(source, summary.sequence)}:replay:${idempotencyKey ?? toHex(randomBytes(16))}`;
  const { runs, fault } = await start(env, chosen, shown.value, () => key);
  if (runs.length > 0) await inboxOf(env, source).note([{ sequence: summary.sequence, runs }]);
  return fault === undefined || runs.length > 0 ? ok(runs) : { ok: false, fault };
}

const targetsOf = async (env: Env, source: string): Promise<readonly HookTarget[]> =>
  hookTargets(await checkConfiguration(env, 0), source);

const triggerOf = ({ summary, content }: ShownEvent) => triggerEventOf(content, summary.receivedAt);

async function wanting(targets: readonly HookTarget[], event: ShownEvent): Promise<HookTarget[]> {
  const trigger = triggerOf(event);
  const all = targets.filter((target) => wantsType(target, event.summary.type));
  const verdicts = await Promise.all(all.map((target) => passes(target, trigger)));
  return all.filter((_target, index) => verdicts[index] === true);
}

/** The runs that began, and the first reason why one did not. */
async function start(
  env: Env,
  targets: readonly HookTarget[],
  event: ShownEvent,
  keyOf: (target: HookTarget) => string,
): Promise<{ readonly runs: readonly EventRun[]; readonly fault: Fault | undefined }> {
  const trigger = { ...triggerOf(event), receivedAt: Date.now() };
  const requests = targets.map((target): RunRequest => ({
    ...requestFor(target, trigger, keyOf(target)),
    again: true,
  }));
  const results = await acceptEach(env, requests);
  const runs = results.flatMap((result, index): EventRun[] => {
    const target = targets[index];
    if (!result.ok || target === undefined) return [];
    return [{ chain: target.chain.name, trigger: target.trigger.name, run: result.value.id }];
  });
  return { runs, fault: results.flatMap((result) => (result.ok ? [] : result.fault))[0] };
}

export interface RecoverRequest {
  /** Sequence numbers: events after this one, and up to where the call before came. */
  readonly after: number;
  readonly before?: number;
  readonly limit: number;
}

export interface Recovered {
  /** Events that were looked at. */
  readonly looked: number;
  readonly items: readonly {
    readonly id: string;
    readonly runs: readonly EventRun[];
    readonly error: string | undefined;
  }[];
  /** Where the next call goes on; undefined where all have been looked at. */
  readonly next: number | undefined;
}

/**
 * Starts anew, the newest events first, what came to nothing: runs that failed, chains that could not be started,
 * and events that were ignored and are wanted now. Each failed run is made up for once, however often it is asked.
 */
export async function recoverEvents(env: Env, source: string, request: RecoverRequest): Promise<Recovered> {
  const { after, before, limit } = request;
  const page = await inboxOf(env, source).list({ after, limit, ...(before === undefined ? {} : { before }) });
  const targets = await targetsOf(env, source);
  const items: { id: string; runs: readonly EventRun[]; error: string | undefined }[] = [];
  const started: { sequence: number; runs: readonly EventRun[] }[] = [];
  for (const summary of page.items) {
    const recovered =
      summary.pending || summary.status === 'rejected' ? undefined : await recover(env, source, targets, summary);
    if (recovered === undefined) continue;
    const { runs, fault } = recovered;
    if (runs.length > 0) started.push({ sequence: summary.sequence, runs });
    items.push({ id: eventId(summary.sequence), runs, error: fault?.message });
  }
  if (started.length > 0) await inboxOf(env, source).note(started);
  return { looked: page.items.length, items, next: page.next };
}

async function recover(env: Env, source: string, targets: readonly HookTarget[], summary: EventSummary) {
  const key = runKeyOf(source, summary.sequence);
  const failed = await failedRuns(env, summary.outcome.runs);
  const hasRun = ({ chain, trigger }: HookTarget) =>
    summary.outcome.runs.some((run) => run.chain === chain.name && run.trigger === trigger.name);
  if (failed.size === 0 && targets.every((target) => hasRun(target))) return undefined;
  const event = await readEvent(env, source, eventId(summary.sequence));
  if (!event.ok) return undefined;
  // A chain that has been published since does not want what was accepted before it was there.
  const missing =
    summary.status === 'accepted' ? [] : (await wanting(targets, event.value)).filter((target) => !hasRun(target));
  const again = targets.filter(({ chain, trigger }) => failed.has(placeOf(chain.name, trigger.name)));
  if (missing.length + again.length === 0) return undefined;
  return start(env, [...missing, ...again], event.value, ({ chain, trigger }) => {
    const before = failed.get(placeOf(chain.name, trigger.name));
    return before === undefined ? key : `${key}:after:${before}`;
  });
}

const placeOf = (chain: string, trigger: string): string => `${chain}:${trigger}`;

/** By chain and trigger, its newest run where that has failed. */
async function failedRuns(env: Env, runs: readonly EventRun[]): Promise<ReadonlyMap<string, string>> {
  const newest = new Map(runs.map(({ chain, trigger, run }) => [placeOf(chain, trigger), run]));
  const failed = new Map<string, string>();
  for (const [place, run] of newest) {
    const record = await readRun(env, run);
    if (record.ok && record.value.status === 'failed') failed.set(place, run);
  }
  return failed;
}
