/**
 * Shadow replay: recent runs of one version, played again by another through the production engine.
 *
 * Guarantee: nothing leaves the gateway and nothing is stored. Actions with effects are replaced before the
 * engine sees them, no connection is opened, and traffic is refused besides.
 * Accepted weakness: of inline runs only the input is recorded, so `trigger` holds no more than that.
 */

import { NO_CONNECTION, type ActionHost } from './action-context.ts';
import { blobsOf, wholeEvents } from './blobs.ts';
import { actionsByName, catalogue } from './catalogue.ts';
import { loadPlan } from './configuration.ts';
import { runInline } from './inline.ts';
import { readRun, saveSummaries } from './runs.ts';
import { objectOf } from './shards.ts';
import type { Action } from '../connectors/kit/types.ts';
import { inputOf, triggerOf } from '../core/chain/input.ts';
import type { Plan } from '../core/chain/plan.ts';
import { differencesOf } from '../core/data/difference.ts';
import type { StepEvent } from '../core/engine/journal.ts';
import type { RunRecord } from '../core/engine/record.ts';
import { requestlessEvent, type RunStart } from '../core/engine/state.ts';
import { fail, fault, FaultError, ok, type Result } from '../core/errors.ts';
import {
  compareRuns,
  isRecorded,
  recordingsOf,
  shadowPlan,
  withDependants,
  type CallKey,
  type Comparison,
  type Played,
  type Recording,
} from '../core/policy/shadow.ts';
import type { Env } from '../env.ts';
import { listEndedRuns, TOO_LARGE } from '../store/runs.ts';

export interface ShadowRequest {
  readonly chain: string;
  /** The version whose runs are played again. */
  readonly from: number;
  readonly to: number;
  readonly limit: number;
}

export interface ShadowRun extends Comparison {
  readonly run: string;
  readonly result: 'same' | 'different' | 'unknown';
  /** Why the run could not be played again. */
  readonly note: string | undefined;
}

/** The newest ended runs first. Faults `chain.not-found`, `chain.invalid`. */
export async function replayShadow(env: Env, { chain, from, to, limit }: ShadowRequest): Promise<Result<ShadowRun[]>> {
  try {
    const [old, plan] = await Promise.all([loadPlan(env, chain, from), loadPlan(env, chain, to)]);
    await saveSummaries(env);
    const shadows: ShadowRun[] = [];
    // One by one: a record may take megabytes.
    for (const id of await listEndedRuns(env.DB, chain, from, limit)) {
      const recorded = await readRun(env, id);
      if (!recorded.ok) continue;
      const shadow = shadowRun(env, recorded.value, old, { version: to, plan });
      shadows.push(await shadow.catch((thrown: unknown) => unplayable(id, thrown)));
    }
    return ok(shadows);
  } catch (thrown) {
    if (thrown instanceof FaultError) return { ok: false, fault: thrown.fault };
    throw thrown;
  }
}

const unplayed = (run: string, note: string): ShadowRun => ({
  ...{ run, result: 'unknown', differences: [], unknown: [] },
  note,
});

/** E.g. an output of it cannot be read. */
function unplayable(run: string, thrown: unknown): ShadowRun {
  if (thrown instanceof FaultError) return unplayed(run, thrown.fault.message);
  throw thrown;
}

async function shadowRun(
  env: Env,
  record: RunRecord,
  old: Plan,
  other: { readonly version: number; readonly plan: Plan },
): Promise<ShadowRun> {
  if (record.input === TOO_LARGE) return unplayed(record.id, 'Its input was too large to keep.');
  const journal = await objectOf(env, record.id)?.journalOf(record.id);
  const start = startOf(record, journal?.start);
  const recordings = recordingsOf(
    record,
    old,
    journal === undefined ? [] : await wholeEvents(blobsOf(env), JSON.parse(journal.events) as StepEvent[]),
  );
  const before = await play(env, old, start, recordings);
  if (before.unknown.size === 0 && before.status !== record.status) {
    return unplayed(
      record.id,
      `It ${record.status}, but ${before.status} when played again by its own version: the records do not suffice.`,
    );
  }
  const input = journal === undefined ? ok(start.input) : await inputFor(old, other.plan, start);
  if (!input.ok) return unplayed(record.id, `Its input could not be made of the event: ${input.fault.message}`);
  const after = await play(env, other.plan, { ...start, version: other.version, input: input.value }, recordings);
  const comparison = compareRuns(before, after);
  const result = comparison.differences.length > 0 ? 'different' : comparison.unknown.length > 0 ? 'unknown' : 'same';
  return { run: record.id, result, ...comparison, note: undefined };
}

/** Of a durable run as it was; of an inline run as far as it is recorded. */
function startOf(record: RunRecord, stored: string | undefined): RunStart {
  const { id, version, trigger, triggerType, createdAt, input } = record;
  if (stored !== undefined) {
    return { id, version, ...(JSON.parse(stored) as Pick<RunStart, 'trigger' | 'event' | 'input'>) };
  }
  const event = requestlessEvent(triggerType, input, createdAt);
  return { id, version, trigger, event, input };
}

/** The input as the other version would have made it of the event; one that was edited stays as it is. */
async function inputFor(old: Plan, plan: Plan, start: RunStart): Promise<Result<unknown>> {
  try {
    const made = await madeBy(old, start);
    return ok(differencesOf(made, start.input, 1).length > 0 ? start.input : await madeBy(plan, start));
  } catch (thrown) {
    if (thrown instanceof FaultError) return { ok: false, fault: thrown.fault };
    throw thrown;
  }
}

async function madeBy(plan: Plan, { trigger, event, input }: RunStart): Promise<unknown> {
  const found = triggerOf(plan, trigger);
  return found === undefined || found.type === 'manual' ? input : inputOf(plan, found, event);
}

/** Plays until every step that has no recording is known and passed by; each round finds at least one more. */
async function play(
  env: Env,
  plan: Plan,
  start: RunStart,
  recordings: ReadonlyMap<CallKey, Recording>,
): Promise<Played> {
  const calls = new Map<CallKey, { use: string; parameters: unknown }>();
  const unrecorded = new Set<string>();
  const refused = plan.validateInput?.(start.input) ?? [];
  if (refused.length > 0) {
    const error = { code: 'input.invalid', message: refused[0]?.message ?? '' } as const;
    return { ...{ calls, unrecorded, unknown: unrecorded, input: start.input, status: 'refused' }, ...NOTHING, error };
  }
  for (;;) {
    const known = unrecorded.size;
    const unknown = withDependants(plan, unrecorded);
    const host = shadowHost(env, start, (key, use, parameters) => {
      calls.set(key, { use, parameters });
      const recording = recordings.get(key);
      if (recording?.use === use) return resultOf(recording);
      unrecorded.add(key.split(/[.:]/)[0] ?? key);
      return fail('step.failed', 'There is no recording of this step.');
    });
    const run = await runInline(shadowPlan(plan, unknown), start, host, () => 0).ended;
    if (unrecorded.size > known) continue;
    const error = run.fault && { code: run.fault.code, message: run.fault.message, data: run.fault.data };
    return {
      ...{ calls, unrecorded, unknown, input: start.input, status: run.status },
      ...{ error: error ?? null, output: asJson(run.output), response: run.response },
    };
  }
}

const NOTHING = { output: undefined, response: undefined };

function resultOf(recording: Recording): Result<unknown> {
  if ('output' in recording) return ok(recording.output);
  const { code, message, status, issues, data } = recording.fault;
  const more = { ...(status !== undefined && { status }), ...(issues !== undefined && { issues }) };
  return fail(code, message, { ...more, data, retryable: false });
}

type Call = (key: CallKey, use: string, parameters: unknown) => Result<unknown>;

const SENDS_NOTHING = fault('egress.refused', 'A shadow replay sends nothing.');

/** Time stands still at the start of the run, whose deadline is long past. */
function shadowHost(env: Env, start: RunStart, call: Call): ActionHost {
  const now = start.event.receivedAt;
  return {
    actions: new Map([...actionsByName].map(([name, action]) => [name, shadowAction(start.id, name, action, call)])),
    fetch: () => Promise.reject(new FaultError(SENDS_NOTHING)),
    connect: () => ({ ok: false, fault: SENDS_NOTHING }),
    // No action touches it that is left as it is.
    data: env.DATA,
    bucket: env.OBJECTS,
    now: () => now,
    linkTo: async () => ok('https://shadow.invalid/'),
    sendMessage: async () => ok(null),
    open: () => ok(NO_CONNECTION),
    openStore: () => Promise.resolve({ ok: false, fault: SENDS_NOTHING }),
  };
}

function shadowAction(run: string, name: string, action: Action, call: Call): Action {
  const facts = catalogue.action(name);
  if (facts !== undefined && !isRecorded(facts)) return action;
  return {
    ...action,
    run: (params, { idempotencyKey }) => call(idempotencyKey.slice(run.length + 1), name, asJson(params)),
  };
}

const asJson = (value: unknown): unknown =>
  value === undefined ? undefined : (JSON.parse(JSON.stringify(value)) as unknown);
