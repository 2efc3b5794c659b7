/** Steps of random chains that open others, wait, or call: `flow.each`, `flow.wait`, `flow.call`. */

import type { SimulatedChain } from './chains.ts';
import { effect, insideOf, pathOf, pure, type Before, type Drafts, type Fields } from './drafts.ts';

const NAMES = ['a', 'b', 'c', 'd'];

/** Items with effects inside; sometimes with a list that is another one each time, sometimes with items of their own. */
export function each(drafts: Drafts, id: string, { waits, needs }: Before): Fields {
  const { random, within, values } = drafts;
  const isOuter = within.length === 0;
  const items = NAMES.slice(0, random.between(1, isOuter ? 4 : 2));
  const path = pathOf(drafts, id);
  const name = (index: number): string => (isOuter ? `e${index}` : `f${index}`);
  const inner: Drafts = {
    ...drafts,
    steps: {},
    within: [...within, id],
    settled: new Map(),
    values: new Map([...values].filter(([other]) => waits.includes(other))),
    heard: new Map(),
    gates: new Map(),
  };
  const ids = Array.from({ length: random.between(1, isOuter ? 3 : 1) }, (_, index) => name(index));
  const unsure = new Set<string>();
  for (const [index, own] of ids.entries()) addInside(inner, own, ids.slice(0, index), { waits, needs }, unsure);
  const concurrency = random.between(1, 3);
  const onItemError = random.pick(['stop', 'continue', 'collect'] as const);
  const first = ids[0] ?? '';
  drafts.fans.set(path, { items, concurrency, onItemError, within, source: pathOf(inner, first) });
  const list = random.chance(0.3) ? `{{ $shuffle(${JSON.stringify(items)}) }}` : items;
  const params: Fields = {
    in: list,
    as: isOuter ? 'item' : 'part',
    concurrency,
    onItemError,
    steps: inner.steps,
    output: `{{ steps.${first}.body.value? }}`,
  };
  return { use: 'flow.each', with: params, ...(random.chance(0.4) && { onError: 'continue' }) };
}

/** The first is an effect; the others may be a `flow.each` of their own. */
function addInside(inner: Drafts, id: string, earlier: readonly string[], around: Before, unsure: Set<string>): void {
  const { random, settled, steps, within } = inner;
  const own = random.chance(0.7) ? earlier.slice(-1) : [];
  const needs = new Set([...around.needs, ...own.flatMap((other) => [...(settled.get(other) ?? [])])]);
  const before = { waits: [...around.waits.filter((other) => inner.values.has(other)), ...own], needs };
  const conditional = random.chance(0.1);
  if (conditional || own.some((other) => unsure.has(other))) unsure.add(id);
  const kind = earlier.length === 0 ? 0 : random.next();
  let step: Fields;
  if (kind < 0.65) step = effect(inner, id, before, !unsure.has(id));
  else if (kind < 0.85 && within.length === 1) step = each(inner, id, before);
  else if (kind < 0.93) step = { use: 'flow.wait', with: { for: random.pick(['1s', '15s']) } };
  else step = pure(inner, id, before);
  if (own.length > 0) step['after'] = own;
  if (conditional) step['if'] = '{{ index != 0 }}';
  steps[id] = step;
  settled.set(id, new Set([...needs, ...insideOf(inner, pathOf(inner, id))]));
}

/** For a time, an event, or a decision. */
export function wait(drafts: Drafts, id: string): Fields {
  const { random, waits, heard } = drafts;
  const kind = random.pick(['time', 'event', 'approval', 'event', 'approval'] as const);
  const keyed = random.chance(0.8);
  const long = kind !== 'time' && random.chance(0.3);
  waits.set(id, { kind, keyed, long });
  if (kind === 'time') return { use: 'flow.wait', with: { for: random.pick(['2s', '20s', '90s']) } };
  heard.set(id, kind === 'event' ? `{{ steps.${id}.data.value? }}` : `{{ steps.${id}.comment? }}`);
  const timeout = long ? '20h' : random.pick(['10s', '1m', '3m']);
  const what =
    kind === 'event'
      ? { event: eventOf(id), ...(keyed && { key: '{{ input.delivery }}' }) }
      : { approval: { message: 'May it go on?' } };
  return {
    use: 'flow.wait',
    with: { ...what, timeout },
    ...(random.chance(0.6) && { onError: 'continue' }),
  };
}

/** The event that a step waits for. */
export const eventOf = (step: string): string => `event-${step}`;

/** The delivery under which a called chain shows whose it is. */
export const calledBy = (run: string, step: string): string => `${run}/${step}`;

export function call(drafts: Drafts, id: string, chain: SimulatedChain): Fields {
  const { random, calls, heard } = drafts;
  const [first = ''] = chain.effects.keys();
  calls.set(id, { chain, heard: first });
  if (first !== '') heard.set(id, `{{ steps.${id}.${first}? }}`);
  return {
    use: 'flow.call',
    with: { chain: chain.name, input: { n: '{{ input.n }}', delivery: calledBy('{{ run.id }}', id) } },
    ...(random.chance(0.4) && { onError: 'continue' }),
  };
}
