/** What is known of the runs of one simulation, from receipts and from what callers were told. */

import type { EffectFacts, SimulatedChain } from './chains.ts';
import type { Receipt } from './upstream.ts';
import type { RunAnswer } from '../../src/runtime/answers.ts';

/** True time, and the clock that programs see. */
export interface Instant {
  readonly at: number;
  readonly wall: number;
}

export interface Clock {
  now(): Instant;
  /** Whether the clock of the programs has jumped. */
  readonly hasJumped: boolean;
}

export interface KnownRun {
  /** Known once it was told, or once an effect of it shows it. */
  id: string | undefined;
  readonly delivery: string;
  /** What its input says of that. */
  input: string | undefined;
  readonly chain: SimulatedChain;
  /** What flow control tells runs apart by. */
  readonly group: string;
  /** Versions that a delivery asked for; the first to be accepted decides. */
  readonly versions: Set<number>;
  /** The run that this one retries. */
  readonly origin: KnownRun | undefined;
  /** How often it was asked for to be retried, and how many runs came of that. */
  readonly retries: { asked: number; known: number };
  /** When it was first sent, and when a caller was told that it is accepted. */
  readonly sent: Instant;
  acked: Instant | undefined;
  /** A caller was told that it is accepted. */
  acknowledged: boolean;
  acceptedFirst: number;
  /** The final record as JSON text, once it was shown. */
  final: string | undefined;
  /** It is told to be over by an answer. */
  over: boolean;
  /** A caller was told that it has ended, with this status where it was said. */
  ended: 'ended' | 'cancelled' | undefined;
  /** When that was told. */
  endedAt: number;
  /** When a caller was told that it is paused; nobody has asked for anything else since. */
  pausedAt: number | undefined;
  /** How often somebody asked for it to go on, or to end. */
  loosened: number;
  readonly answers: RunAnswer[];
  readonly receipts: Receipt[];
  /** Settled steps as they were first shown: status and output. */
  readonly shown: Map<string, string>;
  /** Steps that were shown as waiting, and until when. */
  readonly waiting: Map<string, number>;
  /** Steps that something was offered to while they were known to wait, which was told to have come too late. */
  readonly refused: Set<string>;
}

/** How long a request that was under way as its run was paused or stopped may take to leave: two writes to a slow disk. */
export const UNDER_WAY_MILLISECONDS = 1_000;

/** Checks a condition: the first that does not hold is the violation. */
export type Judge = (condition: boolean, invariant: string, message: () => string) => void;

export const createKnownRun = (
  fields: Pick<KnownRun, 'id' | 'delivery' | 'chain' | 'group' | 'origin' | 'sent'>,
): KnownRun => ({
  ...fields,
  input: undefined,
  versions: new Set(fields.origin?.versions),
  retries: { asked: 0, known: 0 },
  acked: undefined,
  acknowledged: false,
  acceptedFirst: 0,
  final: undefined,
  over: false,
  ended: undefined,
  endedAt: 0,
  pausedAt: undefined,
  loosened: 0,
  answers: [],
  receipts: [],
  shown: new Map(),
  waiting: new Map(),
  refused: new Set(),
});

/** What is told apart in a run: a step, for one item. */
export const unitOf = ({ step, item }: Receipt): string => (item === '' ? step : `${step}[${item}]`);

export const isSameUnit = (a: Receipt, b: Receipt): boolean => a.step === b.step && a.item === b.item;

/** Whether two steps stand in the same item of every `flow.each` that is around both. */
export function areRelated(a: Receipt, own: EffectFacts, b: Receipt, other: EffectFacts | undefined): boolean {
  if (a.item === '' || b.item === '' || other === undefined) return true;
  const [items, others] = [a.item.split('.'), b.item.split('.')];
  for (let depth = 0; depth < own.within.length && own.within[depth] === other.within[depth]; depth++) {
    if (items[depth] !== others[depth]) return false;
  }
  return true;
}

/** Receipts of the run, and of the one that it retries. */
export const lineageOf = (run: KnownRun): readonly Receipt[] =>
  run.origin === undefined ? run.receipts : [...run.origin.receipts, ...run.receipts];

/** Under way as the object that sent it sees it. */
export const isUnderWay = (receipt: Receipt, now: Receipt): boolean =>
  receipt.instance === now.instance && receipt.outcome === undefined;

/** How long after `earlier` it is. When the clock jumps, either reading of it will do. */
export const elapsed = (earlier: Instant, later: Instant): number =>
  Math.max(later.at - earlier.at, later.wall - earlier.wall);

export const valueOf = (output: unknown): unknown => {
  const body: unknown = typeof output === 'object' && output !== null ? Reflect.get(output, 'body') : undefined;
  return typeof body === 'object' && body !== null ? Reflect.get(body, 'value') : undefined;
};

export const SETTLED: ReadonlySet<string> = new Set(['succeeded', 'failed', 'skipped', 'ambiguous']);
