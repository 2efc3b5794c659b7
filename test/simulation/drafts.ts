/** The plain steps of random chains: effects of all classes, pure steps, switches, error routes, answers. */

import type { EffectFacts, FanFacts, Feature, SimulatedChain, WaitFacts } from './chains.ts';
import type { Random } from './random.ts';

export type Fields = Record<string, unknown>;

/** A value that expressions can read, and the effect that it comes from. */
interface Value {
  readonly path: string;
  readonly source: string;
  /** It is read from that effect, not from a step that passed it on. */
  readonly direct: boolean;
}

/** Steps under construction: of the chain, or those inside of a `flow.each`. */
export interface Drafts {
  readonly random: Random;
  readonly features: ReadonlySet<Feature>;
  readonly steps: Record<string, Fields>;
  readonly effects: Map<string, EffectFacts>;
  readonly fans: Map<string, FanFacts>;
  readonly waits: Map<string, WaitFacts>;
  readonly calls: Map<string, { readonly chain: SimulatedChain; readonly heard: string }>;
  /** The `flow.each` around. */
  readonly within: readonly string[];
  /** By step, what has settled when it has. */
  readonly settled: Map<string, Set<string>>;
  /** By step. */
  readonly values: Map<string, Value>;
  /** By step, where the number is that it was told from outside. */
  readonly heard: Map<string, string>;
  /** Steps that may be chosen by a gate before them. */
  readonly gates: Map<string, string[]>;
}

export const createDrafts = (random: Random, features: ReadonlySet<Feature>): Drafts => ({
  random,
  features,
  steps: {},
  effects: new Map(),
  fans: new Map(),
  waits: new Map(),
  calls: new Map(),
  within: [],
  settled: new Map(),
  values: new Map(),
  heard: new Map(),
  gates: new Map(),
});

/** What a step may read, and what has settled before it. */
export interface Before {
  readonly waits: readonly string[];
  readonly needs: ReadonlySet<string>;
}

export type DraftStep = (drafts: Drafts, id: string, before: Before) => Fields;

const EFFECTS: readonly [string, ...string[]] = [
  'http.post',
  'sim.idempotent',
  'sim.keyed',
  'sim.external',
  'sim.external',
  'sim.stubborn',
];
/** Of a connection: what has no end of its own cannot be told from what is under way. */
const PROVIDER_EFFECTS: readonly [string, ...string[]] = ['sim.idempotent', 'sim.keyed', 'sim.external'];
const URL = 'https://upstream.example/';

export const pathOf = ({ within }: Drafts, id: string): string => [...within, id].join('.');

export function addStep(
  drafts: Drafts,
  id: string,
  earlier: readonly string[],
  behind: readonly string[],
  special: DraftStep | undefined,
): void {
  const { random, steps, settled, gates } = drafts;
  const waits = [...new Set(random.chance(0.6) ? earlier.slice(-1) : earlier.filter(() => random.chance(0.35)))];
  const needs = new Set([...waits, ...(gates.get(id) ?? [])].flatMap((other) => [...(settled.get(other) ?? [])]));
  const before = { waits, needs };
  const kind = random.next();
  let step: Fields;
  settled.set(id, needs);
  const conditional = random.chance(0.15);
  // A run that fails is what compensation waits for.
  const fails = drafts.features.has('undo') && behind.length === 0 && random.chance(0.4);
  if (fails) step = { use: 'flow.fail', with: { message: 'no' } };
  else if (special !== undefined) step = special(drafts, id, before);
  else if (kind < 0.68) step = effect(drafts, id, before, !conditional && !gates.has(id));
  else if (kind < 0.82) step = pure(drafts, id, before);
  else if (kind < 0.92 && behind.length > 0) step = choice(drafts, id, before, behind);
  else if (kind < 0.97) step = { use: 'flow.respond', with: { status: 201, body: { run: '{{ run.id }}' } } };
  else if (random.chance(0.5)) step = { use: 'flow.fail', with: { message: 'no' } };
  else step = pure(drafts, id, before);
  if (waits.length > 0) step['after'] = waits;
  if (conditional) step['if'] = `{{ input.n % ${random.between(2, 4)} != 0 }}`;
  steps[id] = step;
  settled.set(id, new Set([...needs, ...insideOf(drafts, pathOf(drafts, id))]));
}

/** Effects and waits of a step, and of those inside it. */
export const insideOf = ({ effects, waits }: Drafts, path: string): string[] =>
  [...effects.keys(), ...waits.keys()].filter(
    (other) => (other === path || other.startsWith(`${path}.`)) && effects.get(other)?.undoes === undefined,
  );

/** What every request carries, for the receipt. */
export function bodyOf({ within }: Drafts, step: string, seen: Fields, more: Fields = {}): Fields {
  const item = within.length === 0 ? {} : { item: within.length === 1 ? '{{ item }}' : '{{ item }}.{{ part }}' };
  return {
    run: '{{ run.id }}',
    delivery: '{{ input.delivery }}',
    step,
    version: '$version',
    seen,
    ...item,
    ...more,
  };
}

export function effect(drafts: Drafts, id: string, { waits, needs }: Before, sure: boolean): Fields {
  const { random, values, heard, features, within } = drafts;
  const path = pathOf(drafts, id);
  const provider = features.has('provider') && random.chance(0.8);
  const use = random.pick(provider ? PROVIDER_EFFECTS : EFFECTS);
  const seen: Fields = {};
  const reads = new Set<string>();
  for (const other of waits) {
    const value = values.get(other);
    if (value === undefined) continue;
    // What stands between may be skipped, so the effect itself is the better witness.
    if (value.direct) reads.add(value.source);
    else if (reads.has(value.source)) continue;
    seen[value.source] = `{{ ${value.path}? }}`;
  }
  const told = Object.fromEntries(waits.flatMap((other) => (heard.has(other) ? [[other, heard.get(other)]] : [])));
  const lists = Object.fromEntries(
    waits.flatMap((other) => (drafts.fans.has(other) ? [[other, `{{ steps.${other}.results? }}`]] : [])),
  );
  const more = {
    ...(Object.keys(told).length > 0 && { heard: told }),
    ...(Object.keys(lists).length > 0 && { lists }),
    ...(provider && { provider: true }),
  };
  const step: Fields = {
    use,
    with: { url: URL, json: bodyOf(drafts, path, seen, more) },
    timeout: random.pick(['2s', '5s', '15s']),
    ...(provider && { connection: 'provider' }),
  };
  const declared = random.chance(0.5);
  const limit = random.between(0, 3);
  if (declared) step['retries'] = retries(random, limit);
  const goesOn = random.chance(0.3);
  if (goesOn) step['onError'] = 'continue';
  const external = use === 'sim.external';
  const undone = features.has('undo') && random.chance(0.75);
  drafts.effects.set(path, {
    external,
    declared,
    retries: declared ? limit : external ? 0 : 3,
    needs,
    reads,
    within,
    sure: sure && !goesOn,
    undone,
  });
  if (undone) step['undo'] = undo(drafts, id);
  values.set(id, { path: `steps.${id}.body.value`, source: path, direct: true });
  return step;
}

function retries(random: Random, limit: number): Fields {
  const delay = random.pick(['100ms', '1s', '1s', '20s']);
  const backoff = random.pick(['constant', 'linear', 'exponential']);
  return { limit, delay, backoff, jitter: random.chance(0.5), cap: '30s' };
}

function undo(drafts: Drafts, id: string): Fields {
  const { random, within, effects } = drafts;
  const path = pathOf(drafts, id);
  const use = random.pick(['http.post', 'sim.keyed', 'sim.idempotent', 'sim.external']);
  const declared = random.chance(0.5);
  const limit = random.between(0, 3);
  const external = use === 'sim.external';
  effects.set(`${path}~undo`, {
    external,
    declared,
    retries: declared ? limit : external ? 0 : 3,
    needs: new Set([path]),
    reads: new Set([path]),
    within,
    sure: false,
    undoes: path,
    undone: false,
  });
  return {
    use,
    with: { url: URL, json: bodyOf(drafts, `${path}~undo`, { [path]: `{{ steps.${id}.body.value }}` }) },
    timeout: random.pick(['2s', '5s', '15s']),
    ...(declared && { retries: retries(random, limit) }),
  };
}

export function pure(drafts: Drafts, id: string, { waits }: Before): Fields {
  const { random, values } = drafts;
  const from = waits.map((other) => values.get(other)).find((value) => value !== undefined);
  if (from === undefined) return { use: 'data.map', with: { doubled: '{{ input.n * 2 }}' } };
  values.set(id, { path: `steps.${id}.value`, source: from.source, direct: false });
  // The second goes through the expression library, which answers by a promise.
  const text = random.chance(0.7) ? `{{ ${from.path}? }}` : `{{ $map([${from.path}], function($v) { $v })[0]? }}`;
  return { use: 'data.map', with: { value: text } };
}

/** A switch over later steps, or the error route of an effect. */
function choice(drafts: Drafts, id: string, before: Before, behind: readonly string[]): Fields {
  const { random, gates, values } = drafts;
  const chosen = behind.filter(() => random.chance(0.4));
  const others = behind.filter((other) => !chosen.includes(other) && random.chance(0.4));
  for (const other of [...chosen, ...others]) gates.set(other, [...(gates.get(other) ?? []), id]);
  const [target] = chosen;
  if (target !== undefined && random.chance(0.4)) {
    for (const other of [...chosen.slice(1), ...others]) gates.get(other)?.pop();
    return { ...effect(drafts, id, { waits: [], needs: before.needs }, false), onError: target };
  }
  const value = before.waits.map((other) => values.get(other)).find((other) => other !== undefined);
  const subject = value === undefined ? 'input.n' : `(${value.path} ?? 0)`;
  const cases = [{ when: `{{ ${subject} % 2 = 0 }}`, then: chosen }];
  return { use: 'flow.switch', with: { cases, otherwise: others } };
}
