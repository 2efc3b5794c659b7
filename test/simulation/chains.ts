/** Random chains, compiled by the production compiler, with what the checks must know of them. */

import { createRandom, type Random } from './random.ts';
import { compileChain } from '../../src/core/chain/compile.ts';
import type { Plan } from '../../src/core/chain/plan.ts';
import { catalogue } from '../../src/runtime/catalogue.ts';

export interface EffectFacts {
  readonly external: boolean;
  /** The author wrote `retries`. */
  readonly declared: boolean;
  /** Attempts after the first. */
  readonly retries: number;
  /** Effects that have settled before this one may begin. */
  readonly needs: ReadonlySet<string>;
  /** Of those, the ones whose value it must carry where they succeeded. */
  readonly reads: ReadonlySet<string>;
}

export interface SimulatedChain {
  readonly name: string;
  /** By step. */
  readonly effects: ReadonlyMap<string, EffectFacts>;
  plan(version: number): Plan;
}

type Fields = Record<string, unknown>;

interface Drafts {
  readonly random: Random;
  readonly steps: Record<string, Fields>;
  readonly effects: Map<string, EffectFacts>;
  /** By step, the effects that have settled when it has. */
  readonly settled: Map<string, Set<string>>;
  /** Steps that an expression can read a value from, with the effect that the value comes from. */
  readonly values: Map<string, { readonly path: string; readonly source: string }>;
  /** Steps that may be chosen by a gate before them. */
  readonly gates: Map<string, string[]>;
}

const EFFECTS: readonly [string, ...string[]] = [
  'http.post',
  'sim.idempotent',
  'sim.keyed',
  'sim.external',
  'sim.external',
  'sim.stubborn',
];
const URL = 'https://upstream.example/';

/** How many different chains there are; compiling one costs more than simulating a run of it. */
const CHAINS = 4_096;
const known = new Map<number, SimulatedChain>();

export function chainOf(random: Random): SimulatedChain {
  const number = random.below(CHAINS);
  let chain = known.get(number);
  if (chain === undefined) known.set(number, (chain = createChain(number)));
  return chain;
}

function createChain(number: number): SimulatedChain {
  const random = createRandom(number + 1);
  const drafts: Drafts = {
    random,
    steps: {},
    effects: new Map(),
    settled: new Map(),
    values: new Map(),
    gates: new Map(),
  };
  const count = random.between(3, 8);
  const ids = Array.from({ length: count }, (_, index) => `s${index}`);
  for (const [index, id] of ids.entries()) addStep(drafts, id, ids.slice(0, index), ids.slice(index + 1));
  const output: Fields = {};
  for (const [id, { path }] of drafts.values) output[id] = `{{ ${path}? }}`;
  const name = `chain-${number}`;
  const timeout = random.chance(0.1) ? { timeout: random.pick(['20s', '2m']) } : {};
  const plans = new Map<number, Plan>();
  return {
    name,
    effects: drafts.effects,
    plan: (version) => {
      let plan = plans.get(version);
      if (plan === undefined) {
        const document = { name, mode: 'durable', steps: versioned(drafts.steps, version), output, ...timeout };
        const compiled = compileChain(document, catalogue);
        if (!compiled.ok) throw new Error(`${JSON.stringify(compiled.fault.issues)} in ${JSON.stringify(document)}`);
        plans.set(version, (plan = compiled.value));
      }
      return plan;
    },
  };
}

const versioned = (steps: Drafts['steps'], version: number): unknown =>
  JSON.parse(JSON.stringify(steps).replaceAll('"$version"', String(version)));

function addStep(drafts: Drafts, id: string, before: readonly string[], behind: readonly string[]): void {
  const { random, steps, settled, gates } = drafts;
  const waits = new Set(random.chance(0.6) ? before.slice(-1) : before.filter(() => random.chance(0.35)));
  const kind = random.next();
  const readable = [...waits].filter((other) => drafts.values.has(other));
  const needs = new Set([...waits, ...(gates.get(id) ?? [])].flatMap((other) => [...(settled.get(other) ?? [])]));
  let step: Fields;
  if (kind < 0.68) step = effect(drafts, id, readable, needs);
  else if (kind < 0.82) step = pure(drafts, id, readable);
  else if (kind < 0.92 && behind.length > 0) step = choice(drafts, id, readable, behind);
  else if (kind < 0.97) step = { use: 'flow.respond', with: { status: 201, body: { run: '{{ run.id }}' } } };
  else step = random.chance(0.5) ? { use: 'flow.fail', with: { message: 'no' } } : pure(drafts, id, readable);
  if (waits.size > 0) step['after'] = [...waits];
  if (random.chance(0.15)) step['if'] = `{{ input.n % ${random.between(2, 4)} != 0 }}`;
  steps[id] = step;
  settled.set(id, new Set([...needs, ...(drafts.effects.has(id) ? [id] : [])]));
}

function effect(drafts: Drafts, id: string, readable: readonly string[], needs: ReadonlySet<string>): Fields {
  const { random } = drafts;
  const use = random.pick(EFFECTS);
  const seen: Fields = {};
  const reads = new Set<string>();
  for (const other of readable) {
    const value = drafts.values.get(other);
    if (value === undefined) continue;
    // What stands between may be skipped, so the effect itself is the better witness.
    if (value.source === other) reads.add(other);
    else if (reads.has(value.source)) continue;
    seen[value.source] = `{{ ${value.path}? }}`;
  }
  const json = { run: '{{ run.id }}', delivery: '{{ input.delivery }}', step: id, version: '$version', seen };
  const step: Fields = { use, with: { url: URL, json }, timeout: random.pick(['2s', '5s', '15s']) };
  const declared = random.chance(0.5);
  const limit = random.between(0, 3);
  if (declared) {
    const delay = random.pick(['100ms', '1s', '1s', '20s']);
    const backoff = random.pick(['constant', 'linear', 'exponential']);
    step['retries'] = { limit, delay, backoff, jitter: random.chance(0.5), cap: '30s' };
  }
  if (random.chance(0.3)) step['onError'] = 'continue';
  const external = use === 'sim.external';
  const retries = declared ? limit : external ? 0 : 3;
  drafts.effects.set(id, { external, declared, retries, needs, reads });
  drafts.values.set(id, { path: `steps.${id}.body.value`, source: id });
  return step;
}

function pure(drafts: Drafts, id: string, readable: readonly string[]): Fields {
  const { random, values } = drafts;
  const [first] = readable;
  const from = first === undefined ? undefined : values.get(first);
  if (from === undefined) return { use: 'data.map', with: { doubled: '{{ input.n * 2 }}' } };
  values.set(id, { path: `steps.${id}.value`, source: from.source });
  // The second goes through the expression library, which answers by a promise.
  const text = random.chance(0.7) ? `{{ ${from.path}? }}` : `{{ $map([${from.path}], function($v) { $v })[0]? }}`;
  return { use: 'data.map', with: { value: text } };
}

/** A switch over later steps, or the error route of an effect. */
function choice(drafts: Drafts, id: string, readable: readonly string[], behind: readonly string[]): Fields {
  const { random, gates } = drafts;
  const chosen = behind.filter(() => random.chance(0.4));
  const others = behind.filter((other) => !chosen.includes(other) && random.chance(0.4));
  for (const other of [...chosen, ...others]) gates.set(other, [...(gates.get(other) ?? []), id]);
  const [target] = chosen;
  if (target !== undefined && random.chance(0.4)) {
    for (const other of [...chosen.slice(1), ...others]) gates.get(other)?.pop();
    const needs = drafts.settled.get(readable[0] ?? '') ?? new Set<string>();
    return { ...effect(drafts, id, [], needs), onError: target };
  }
  const value = drafts.values.get(readable[0] ?? '');
  const subject = value === undefined ? 'input.n' : `(${value.path} ?? 0)`;
  const cases = [{ when: `{{ ${subject} % 2 = 0 }}`, then: chosen }];
  return { use: 'flow.switch', with: { cases, otherwise: others } };
}
