/** A run in the memory of its object, and what is told of one that is not. */

import { isComputing, type Drive } from './drive.ts';
import type { Parent, RunRow } from './run-store.ts';
import type { RunRecord, RunSummary } from '../core/engine/record.ts';
import { LIMITS } from '../core/limits.ts';

/** What is known of a run that is not in memory. */
export interface Parked {
  wakeAt: number;
  paused: boolean;
}

export interface Live extends Drive {
  readonly parent: Parent | undefined;
  /** When it is to go on, where it waits; `Infinity` while it is paused. */
  sleepsUntil: number;
  /** Somebody has opened it and may have something for it. */
  held: boolean;
}

/** Resolves when a run that was opened again has computed what its journal leaves out, also for items. */
export async function computed(drive: Drive): Promise<void> {
  for (let turn = 0; turn < COMPUTING_TURNS && isComputing(drive); turn++) await scheduler.wait(1);
}

const COMPUTING_TURNS = 1_000;

/**
 * When a run that waits for one that it called is opened to call once more, which finds that one again: either
 * message between the two may have been lost. Rarer the longer it waits, so that waiting costs next to nothing.
 */
export function callsAgainAt({ run, items }: Drive): number {
  const now = Date.now();
  let next = Infinity;
  for (const { wait, attempts } of [run, ...items.keys()].flatMap(({ steps }) => steps)) {
    if (wait?.kind !== 'call') continue;
    next = Math.min(next, now + Math.max(LIMITS.runLeaseMilliseconds, now - (attempts.at(-1)?.startedAt ?? now)));
  }
  return next;
}

export const queuedSummary = (row: RunRow): RunSummary => ({
  id: row.id,
  chain: row.chain,
  version: row.version,
  trigger: row.start.trigger,
  triggerType: row.start.event.type,
  mode: 'durable',
  status: 'queued',
  createdAt: row.createdAt,
  endedAt: row.endedAt,
  error: undefined,
});

export const queuedRecord = (row: RunRow): RunRecord => ({
  ...queuedSummary(row),
  input: row.start.input,
  output: undefined,
  steps: [],
});
