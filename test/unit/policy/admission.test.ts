import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Admission, type Decisions, type HeldRun } from '../../../src/core/policy/admission.ts';
import type { Flow } from '../../../src/core/policy/flow.ts';

const PLAIN: Flow = { chain: 'orders', priority: 0 };
const queue = (limit: number, key = 'k'): Flow => ({ ...PLAIN, concurrency: { key, limit, strategy: 'queue' } });
const drop = (limit: number): Flow => ({ ...PLAIN, concurrency: { key: 'k', limit, strategy: 'drop' } });
const newest = (limit: number): Flow => ({ ...PLAIN, concurrency: { key: 'k', limit, strategy: 'cancel-oldest' } });
const throttle = (limit: number, burst = 1, key = 'k'): Flow => ({
  ...PLAIN,
  throttle: { key, limit, burst, periodMilliseconds: 100 },
});
const debounce = (more: object = {}): Flow => ({ ...PLAIN, debounce: { key: 'k', periodMilliseconds: 50, ...more } });

const started = (decisions: Decisions | undefined): string[] => (decisions?.start ?? []).map(({ id }) => id);
const offered = (admission: Admission, ids: readonly string[], flow: Flow, now = 0): string[] =>
  ids.flatMap((id) => started(admission.offer(id, flow, now)));

describe('concurrency', () => {
  it('lets the runs over the limit wait, and starts the oldest when one ends', () => {
    const admission = new Admission(100);
    expect(offered(admission, ['a', 'b', 'c', 'd'], queue(2))).toEqual(['a', 'b']);
    expect(started(admission.ended('b', 1))).toEqual(['c']);
    expect(started(admission.ended('b', 1))).toEqual([]);
    expect(started(admission.ended('a', 1))).toEqual(['d']);
  });

  it('counts each key by itself', () => {
    const admission = new Admission(100);
    expect(offered(admission, ['a', 'b'], queue(1, 'x'))).toEqual(['a']);
    expect(offered(admission, ['c', 'd'], queue(1, 'y'))).toEqual(['c']);
  });

  it('with drop takes no run beyond the limit, and one again when there is room', () => {
    const admission = new Admission(100);
    expect(offered(admission, ['a'], drop(1))).toEqual(['a']);
    expect(admission.offer('b', drop(1), 0)).toMatchObject({ start: [], cancel: [{ id: 'b', verdict: 'dropped' }] });
    admission.ended('a', 1);
    expect(offered(admission, ['c'], drop(1))).toEqual(['c']);
  });

  it('with cancel-oldest starts the newest once the oldest has really ended', () => {
    const admission = new Admission(100);
    offered(admission, ['a'], newest(1));
    expect(admission.offer('b', newest(1), 0)).toMatchObject({
      start: [],
      cancel: [{ id: 'a', verdict: 'superseded' }],
    });
    // `a` still undoes what it did; `b` has not started and is the oldest now.
    expect(admission.offer('c', newest(1), 0)).toMatchObject({
      start: [],
      cancel: [{ id: 'b', verdict: 'superseded' }],
    });
    expect(started(admission.ended('a', 5))).toEqual(['c']);
  });

  it('takes the limit of the newest version for the runs that wait, too', () => {
    const admission = new Admission(100);
    offered(admission, ['a', 'b', 'c'], queue(1));
    expect(offered(admission, ['d'], queue(3))).toEqual(['b', 'c']);
    offered(admission, ['e'], queue(1));
    expect(started(admission.ended('a', 1))).toEqual([]);
  });

  it('whose limit a newer version raises starts the runs of other keys that it held up', () => {
    const admission = new Admission(100);
    const shared = (limit: number, order: string): Flow => ({ ...queue(limit, 'all'), order: { key: order } });
    offered(admission, ['a0'], shared(1, 'a'));
    offered(admission, ['b0'], shared(1, 'b'));
    expect(started(admission.offer('a1', shared(3, 'a'), 0))).toEqual(['b0']);
  });

  it('a run that is cancelled while it waits does not start, and holds up nobody', () => {
    const admission = new Admission(100);
    offered(admission, ['a', 'b', 'c'], queue(1));
    expect(started(admission.ended('b', 1))).toEqual([]);
    expect(started(admission.ended('a', 1))).toEqual(['c']);
  });
});

describe('fairness', () => {
  it('a key with a thousand runs does not hold up the one run of another', () => {
    const admission = new Admission(10_000);
    const shared = (customer: string): Flow => ({ ...queue(1, 'all'), order: { key: customer } });
    const hot = Array.from({ length: 1_000 }, (_, index) => `hot-${index}`);
    offered(admission, hot, shared('hot'));
    offered(admission, ['cold'], shared('cold'));
    expect(started(admission.ended('hot-0', 1))).toEqual(['hot-1']);
    expect(started(admission.ended('hot-1', 2))).toEqual(['cold']);
    expect(started(admission.ended('cold', 3))).toEqual(['hot-2']);
  });

  it('a stream of new keys does not hold up a key that waits', () => {
    const admission = new Admission(10_000);
    const shared = (customer: string): Flow => ({ ...queue(1, 'all'), order: { key: customer } });
    offered(admission, ['a0', 'a1', 'a2'], shared('a'));
    let running = 'a0';
    const order = Array.from({ length: 20 }, (_, index) => {
      offered(admission, [`n${index}`], shared(`n${index}`));
      [running = ''] = started(admission.ended(running, index));
      return running;
    });
    expect(order).toEqual(expect.arrayContaining(['a1', 'a2']));
    expect(order.indexOf('a2')).toBeLessThan(6);
  });

  it('larger priorities go first, equal ones in order', () => {
    const admission = new Admission(100);
    offered(admission, ['first'], queue(1));
    for (const [id, priority] of [
      ['low', -5],
      ['a', 0],
      ['high', 10],
      ['b', 0],
    ] as const) {
      admission.offer(id, { ...queue(1), priority }, 0);
    }
    const order = ['first'];
    for (let next = 'first'; order.length < 5; order.push(next)) [next = ''] = started(admission.ended(next, 1));
    expect(order).toEqual(['first', 'high', 'a', 'b', 'low']);
  });
});

describe('a throttle', () => {
  it('starts one run each interval, and says when to look again', () => {
    const admission = new Admission(100);
    const decisions = ['a', 'b', 'c'].map((id) => admission.offer(id, throttle(4), 1_000));
    expect(decisions.flatMap(started)).toEqual(['a']);
    expect(decisions[2]?.wakeAt).toBe(1_025);
    expect(started(admission.due(1_024))).toEqual([]);
    expect(admission.due(1_025)).toMatchObject({ start: [{ id: 'b' }], wakeAt: 1_050 });
    expect(admission.due(1_060)).toMatchObject({ start: [{ id: 'c' }], wakeAt: undefined });
  });

  it('after a rest starts as many at once as its burst says', () => {
    const admission = new Admission(100);
    expect(offered(admission, ['a', 'b', 'c', 'd'], throttle(4, 3), 0)).toEqual(['a', 'b', 'c']);
  });

  it('is one for all its runs, also for one that waits elsewhere while the throttle rests', () => {
    const admission = new Admission(100);
    const both = (concurrency: string): Flow => ({ ...throttle(1), ...queue(1, concurrency) });
    offered(admission, ['a', 'b'], both('x'));
    for (let now = 200; now < 210; now++) admission.due(now);
    expect(started(admission.offer('c', both('y'), 210))).toEqual(['c']);
    expect(admission.ended('a', 211)).toMatchObject({ start: [], wakeAt: 310 });
  });

  it('goes on where it was after a restart, though no run of it is left', () => {
    const before = new Admission(100);
    const rates = before.offer('a', throttle(1), 0)?.rates ?? new Map<string, number>();
    const after = new Admission(100);
    after.restore([], rates, 10);
    expect(after.offer('b', throttle(1), 20)).toMatchObject({ start: [], wakeAt: 100 });
  });
});

describe('a debounce', () => {
  it('runs the newest of a burst alone, a period after it', () => {
    const admission = new Admission(100);
    expect(admission.offer('a', debounce(), 0)).toMatchObject({ start: [], cancel: [], wakeAt: 50 });
    expect(admission.offer('b', debounce(), 30)).toMatchObject({
      cancel: [{ id: 'a', verdict: 'superseded' }],
      wakeAt: 80,
    });
    expect(started(admission.due(79))).toEqual([]);
    expect(started(admission.due(80))).toEqual(['b']);
  });

  it('waits no longer than its maximum', () => {
    const admission = new Admission(100);
    const flow = debounce({ maximumMilliseconds: 70 });
    for (const now of [0, 30, 60]) admission.offer(`r${now}`, flow, now);
    expect(started(admission.due(70))).toEqual(['r60']);
  });

  it('whose time came before the next run was heard of has run', () => {
    const admission = new Admission(100);
    admission.offer('a', debounce(), 0);
    expect(admission.offer('b', debounce(), 60)).toMatchObject({ start: [{ id: 'a' }], cancel: [], wakeAt: 110 });
  });

  it('hands over to the concurrency limit', () => {
    const admission = new Admission(100);
    const flow = { ...drop(1), debounce: { key: 'k', periodMilliseconds: 50 } };
    admission.offer('a', flow, 0);
    expect(started(admission.due(50))).toEqual(['a']);
    admission.offer('b', flow, 60);
    expect(admission.due(110)).toMatchObject({ start: [], cancel: [{ id: 'b', verdict: 'dropped' }] });
  });
});

it('an admission forgets the keys that nobody needs any more', () => {
  const admission = new Admission(10_000);
  for (let index = 0; index < 2_000; index++) {
    const own = `k${index}`;
    const flow: Flow = { ...queue(1, own), ...throttle(1, 1, own), ...(index % 2 ? debounce({ key: own }) : {}) };
    for (const part of ['a', 'b', 'c']) admission.offer(`${own}-${part}`, flow, index);
  }
  admission.due(10_000);
  expect(admission.footprint).toBeGreaterThan(2_000);
  for (let index = 0; index < 2_000; index++) {
    for (const part of ['c', 'b', 'a']) admission.ended(`k${index}-${part}`, 10_000);
  }
  for (let calls = 0; calls < 2_000; calls++) admission.due(20_000);
  expect(admission.footprint).toBeLessThan(3);
});

it('an admission that is full takes no run', () => {
  const admission = new Admission(2);
  offered(admission, ['a', 'b'], queue(1));
  expect(admission.offer('c', queue(1), 0)).toBeUndefined();
  admission.ended('b', 0);
  expect(admission.offer('c', queue(1), 0)).toBeDefined();
});

interface Shape {
  readonly concurrency: { limit: number; strategy: 'queue' | 'drop' | 'cancel-oldest'; shared: boolean } | undefined;
  readonly throttle: { limit: number; burst: number; shared: boolean } | undefined;
  readonly debounce: { maximum: number | undefined } | undefined;
  readonly ordered: boolean;
  readonly prioritised: boolean;
}

const shapes: fc.Arbitrary<Shape> = fc
  .record({
    concurrency: fc.option(
      fc.record({
        limit: fc.integer({ min: 1, max: 3 }),
        strategy: fc.constantFrom('queue', 'drop', 'cancel-oldest'),
        shared: fc.boolean(),
      }),
      { nil: undefined, freq: 3 },
    ),
    throttle: fc.option(
      fc.record({ limit: fc.integer({ min: 1, max: 7 }), burst: fc.integer({ min: 1, max: 3 }), shared: fc.boolean() }),
      { nil: undefined },
    ),
    debounce: fc.option(fc.record({ maximum: fc.option(fc.constant(120), { nil: undefined }) }), {
      nil: undefined,
      freq: 1,
    }),
    ordered: fc.boolean(),
    prioritised: fc.boolean(),
  })
  // What the compiler refuses.
  .map((shape) => {
    const keeps = shape.debounce === undefined && (shape.concurrency?.strategy ?? 'queue') === 'queue';
    const ordered = shape.ordered && keeps;
    return { ...shape, ordered, prioritised: shape.prioritised && !ordered };
  });

type Operation =
  | { readonly kind: 'offer'; readonly key: number; readonly priority: number }
  | { readonly kind: 'end' | 'cancel'; readonly pick: number }
  | { readonly kind: 'pass'; readonly milliseconds: number }
  | { readonly kind: 'restart' };

const operations: fc.Arbitrary<readonly Operation[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('offer' as const),
        key: fc.nat(2),
        priority: fc.integer({ min: -2, max: 2 }),
      }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('end' as const), pick: fc.nat(100) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('cancel' as const), pick: fc.nat(100) }) },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('pass' as const), milliseconds: fc.nat(60) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const) }) },
  ),
  { maxLength: 60 },
);

function flowOf(shape: Shape, key: number, priority: number): Flow {
  const of = (shared: boolean): string => (shared ? 'all' : `k${key}`);
  const { concurrency, throttle: rate, debounce: quiet } = shape;
  return {
    chain: 'orders',
    ...(concurrency && {
      concurrency: { key: of(concurrency.shared), limit: concurrency.limit, strategy: concurrency.strategy },
    }),
    ...(rate && { throttle: { key: of(rate.shared), limit: rate.limit, burst: rate.burst, periodMilliseconds: 100 } }),
    ...(quiet && {
      debounce: {
        key: `k${key}`,
        periodMilliseconds: 40,
        ...(quiet.maximum !== undefined && { maximumMilliseconds: quiet.maximum }),
      },
    }),
    ...(shape.ordered && { order: { key: `k${key}` } }),
    priority: shape.prioritised ? priority : 0,
  };
}

interface Seen {
  readonly key: number;
  readonly flow: Flow;
  readonly sequence: number;
  readonly offeredAt: number;
  state: 'waiting' | 'started' | 'stopping' | 'ended';
  startedAt: number | undefined;
  verdict: string | undefined;
}

/** Plays a script against an admission as an object does, and notes what it saw. It knows nothing of lanes or gates. */
class World {
  readonly runs = new Map<string, Seen>();
  readonly #shape: Shape;
  #admission = new Admission(1_000);
  #rows = new Map<string, HeldRun>();
  #rates = new Map<string, number>();
  #wakeAt: number | undefined;
  now = 1_000;

  constructor(shape: Shape) {
    this.#shape = shape;
  }

  play(operation: Operation): void {
    switch (operation.kind) {
      case 'offer': {
        const { key } = operation;
        const id = `r${this.runs.size}`;
        const flow = flowOf(this.#shape, key, operation.priority);
        const seen = { key, flow, sequence: this.runs.size, offeredAt: this.now };
        this.runs.set(id, { ...seen, state: 'waiting', startedAt: undefined, verdict: undefined });
        const decisions = this.#admission.offer(id, flow, this.now);
        const held = this.#admission.flowOf(id);
        if (held !== undefined) this.#rows.set(id, { id, flow: held });
        if (decisions === undefined) throw new Error('full');
        return this.#obey(decisions);
      }
      case 'end':
      case 'cancel': {
        const states = operation.kind === 'end' ? ['started', 'stopping'] : ['waiting'];
        const candidates = [...this.runs].filter(([, seen]) => states.includes(seen.state));
        const [id, seen] = candidates[operation.pick % candidates.length] ?? [];
        if (id === undefined || seen === undefined) return;
        seen.state = 'ended';
        this.#rows.delete(id);
        return this.#obey(this.#admission.ended(id, this.now));
      }
      case 'pass':
        this.now += operation.milliseconds;
        // An alarm may come late.
        if (this.#wakeAt !== undefined && this.#wakeAt <= this.now) this.#obey(this.#admission.due(this.now));
        return;
      case 'restart':
        this.#admission = new Admission(1_000);
        // Whatever was to be cancelled and still runs is told again.
        for (const seen of this.runs.values()) if (seen.state === 'stopping') seen.state = 'started';
        return this.#obey(this.#admission.restore([...this.#rows.values()].toReversed(), this.#rates, this.now));
    }
  }

  #obey({ start, cancel, rates, wakeAt }: Decisions): void {
    this.#wakeAt = wakeAt;
    for (const [key, arrival] of rates) this.#rates.set(key, arrival);
    for (const { id, flow } of start) {
      const seen = this.runs.get(id);
      expect(seen?.state, `${id} starts once`).toBe('waiting');
      if (seen === undefined) continue;
      seen.state = 'started';
      seen.startedAt = this.now;
      this.#rows.set(id, { id, flow });
    }
    for (const { id, verdict } of cancel) {
      const seen = this.runs.get(id);
      expect(['waiting', 'started'], `${id} is cancelled once`).toContain(seen?.state);
      if (seen === undefined) continue;
      seen.verdict = verdict;
      seen.state = seen.state === 'waiting' ? 'ended' : 'stopping';
      if (seen.state === 'ended') this.#rows.delete(id);
    }
    this.#check();
  }

  #check(): void {
    const active = new Map<string, number>();
    for (const { flow, state } of this.runs.values()) {
      if (state !== 'started' && state !== 'stopping') continue;
      for (const key of [flow.concurrency && `c${flow.concurrency.key}`, flow.order && `o${flow.order.key}`]) {
        if (key !== undefined) active.set(key, (active.get(key) ?? 0) + 1);
      }
    }
    for (const [key, count] of active) {
      expect(count, key).toBeLessThanOrEqual(key.startsWith('o') ? 1 : (this.#shape.concurrency?.limit ?? 1));
    }
  }

  /** Lets all that is under way end and all time pass. */
  finish(): void {
    for (let turn = 0; turn < 1_000 && [...this.runs.values()].some(({ state }) => state !== 'ended'); turn++) {
      this.play({ kind: 'end', pick: 0 });
      if (this.#wakeAt !== undefined) this.play({ kind: 'pass', milliseconds: Math.max(0, this.#wakeAt - this.now) });
    }
  }
}

const by = <T>(values: Iterable<T>, key: (value: T) => string | undefined): T[][] => {
  const groups = new Map<string, T[]>();
  for (const value of values) {
    const name = key(value);
    if (name !== undefined) groups.set(name, [...(groups.get(name) ?? []), value]);
  }
  return [...groups.values()];
};

describe('whatever happens, restarts and late alarms included,', () => {
  const played = (check: (world: World, shape: Shape) => void): void => {
    fc.assert(
      fc.property(shapes, operations, (shape, script) => {
        const world = new World(shape);
        for (const operation of script) world.play(operation);
        world.finish();
        check(world, shape);
      }),
      { numRuns: 400 },
    );
  };

  it('no run is lost: each starts or is cancelled with a reason, and none is over the limit', () => {
    played((world) => {
      for (const [id, { state }] of world.runs) expect(state, id).toBe('ended');
    });
  });

  it('a throttle starts no more than its limit and burst in any period, and no more than its limit in the long run', () => {
    played((world, { throttle: rate }) => {
      if (rate === undefined) return;
      for (const runs of by(world.runs.values(), ({ flow }) => flow.throttle?.key)) {
        const starts = runs.flatMap(({ startedAt }) => startedAt ?? []).sort((a, b) => a - b);
        for (const from of starts) {
          expect(starts.filter((at) => at >= from && at < from + 100).length).toBeLessThan(rate.limit + rate.burst);
          const within = starts.filter((at) => at >= from && at < from + 1_000).length;
          expect(within).toBeLessThan(10 * rate.limit + rate.burst);
        }
      }
    });
  });

  it('runs of one order key start as they came', () => {
    played((world, { ordered }) => {
      if (!ordered) return;
      for (const runs of by(world.runs.values(), ({ flow }) => flow.order?.key)) {
        const startedRuns = runs.filter(({ startedAt }) => startedAt !== undefined);
        const instants = startedRuns.map(({ startedAt }) => startedAt ?? 0);
        expect(instants).toEqual(instants.toSorted((a, b) => a - b));
      }
    });
  });

  it('without priority, runs of one concurrency key start as they came', () => {
    played((world, shape) => {
      const simple =
        shape.debounce === undefined && !shape.prioritised && shape.throttle === undefined && !shape.ordered;
      if (!simple || shape.concurrency?.shared !== false) return;
      for (const runs of by(world.runs.values(), ({ flow }) => flow.concurrency?.key)) {
        const instants = runs.flatMap(({ startedAt }) => startedAt ?? []);
        expect(instants).toEqual(instants.toSorted((a, b) => a - b));
      }
    });
  });

  it('a debounce runs the newest of each burst, and nothing is superseded but by a newer one', () => {
    played((world, shape) => {
      if (shape.debounce === undefined || shape.concurrency !== undefined) return;
      for (const runs of by(world.runs.values(), ({ key }) => String(key))) {
        for (const [index, run] of runs.entries()) {
          if (run.verdict !== 'superseded') continue;
          const next = runs[index + 1];
          expect(next?.offeredAt).toBeLessThan(run.offeredAt + 40);
        }
        for (const [index, run] of runs.entries()) {
          if (run.startedAt === undefined) continue;
          expect(run.startedAt - run.offeredAt, 'quiet').toBeGreaterThanOrEqual(
            shape.debounce.maximum === undefined ? 40 : 0,
          );
          const next = runs[index + 1];
          if (next !== undefined && shape.throttle === undefined) {
            expect(next.offeredAt).toBeGreaterThanOrEqual(run.startedAt);
          }
        }
      }
    });
  });

  it('the same script gives the same decisions', () => {
    fc.assert(
      fc.property(shapes, operations, (shape, script) => {
        const [one, two] = [new World(shape), new World(shape)];
        for (const world of [one, two]) for (const operation of script) world.play(operation);
        expect([...one.runs]).toEqual([...two.runs]);
      }),
      { numRuns: 50 },
    );
  });
});
