/** Flow control of random chains, with what the checks must know of it. */

import type { Random } from './random.ts';

/** Of all runs of a `group` where `keyed`, of all runs of the chain otherwise. */
interface Keyed {
  readonly keyed: boolean;
}

export interface FlowFacts {
  readonly concurrency?: Keyed & { readonly limit: number; readonly strategy: 'queue' | 'drop' | 'cancel-oldest' };
  readonly order?: Keyed;
  readonly throttle?: Keyed & { readonly intervalMilliseconds: number; readonly burst: number };
  readonly debounce?: Keyed & { readonly periodMilliseconds: number };
  readonly idempotency?: Keyed;
}

export interface DraftFlow {
  readonly facts: FlowFacts;
  readonly document: Readonly<Record<string, unknown>>;
}

const KEY = '{{ input.group }}';
const key = ({ keyed }: Keyed): Readonly<Record<string, unknown>> => (keyed ? { key: KEY } : {});

const ALONE = [
  ['concurrency'],
  ['concurrency'],
  ['order'],
  ['order'],
  ['throttle'],
  ['debounce'],
  ['idempotency'],
] as const;
const TOGETHER = [
  ['queue', 'throttle'],
  ['queue', 'order'],
  ['order', 'throttle'],
  ['idempotency', 'queue'],
  ['debounce', 'queue'],
] as const;

export function createFlow(random: Random): DraftFlow {
  const keyed = random.chance(0.7);
  const parts = {
    concurrency: () => concurrency(random, keyed, random.pick(['queue', 'queue', 'drop', 'cancel-oldest'])),
    queue: () => concurrency(random, keyed, 'queue'),
    order: () => ({ facts: { order: { keyed } }, document: { order: { strategy: 'fifo', ...key({ keyed }) } } }),
    throttle: () => throttle(random, keyed),
    debounce: () => debounce(random, keyed),
    idempotency: () => ({
      facts: { idempotency: { keyed: true } },
      document: { idempotency: { key: KEY, period: '1d' } },
    }),
  } satisfies Readonly<Record<string, () => DraftFlow>>;
  const chosen = random.pick<readonly (keyof typeof parts)[]>(random.chance(0.35) ? TOGETHER : ALONE);
  const made = chosen.map((name) => parts[name]());
  return {
    facts: Object.assign({}, ...made.map(({ facts }) => facts)) as FlowFacts,
    document: Object.assign({}, ...made.map(({ document }) => document)) as Readonly<Record<string, unknown>>,
  };
}

function concurrency(random: Random, keyed: boolean, strategy: 'queue' | 'drop' | 'cancel-oldest'): DraftFlow {
  const limit = random.between(1, 2);
  return {
    facts: { concurrency: { keyed, limit, strategy } },
    document: { concurrency: { limit, strategy, ...key({ keyed }) } },
  };
}

function throttle(random: Random, keyed: boolean): DraftFlow {
  const [limit, burst] = [random.between(1, 3), random.between(1, 2)];
  const seconds = random.pick([3, 30]);
  return {
    facts: { throttle: { keyed, intervalMilliseconds: (seconds * 1_000) / limit, burst } },
    document: { throttle: { limit, period: `${seconds}s`, burst, ...key({ keyed }) } },
  };
}

function debounce(random: Random, keyed: boolean): DraftFlow {
  const seconds = random.pick([1, 8, 40]);
  return {
    facts: { debounce: { keyed, periodMilliseconds: seconds * 1_000 } },
    document: { debounce: { period: `${seconds}s`, ...key({ keyed }) } },
  };
}
