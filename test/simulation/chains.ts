/** Random chains, compiled by the production compiler, with what the checks must know of them. */

import { addStep, createDrafts, type Drafts } from './drafts.ts';
import { call, each, wait } from './features.ts';
import { createFlow, type FlowFacts } from './flow-drafts.ts';
import { createRandom, type Random } from './random.ts';
import { compileChain } from '../../src/core/chain/compile.ts';
import type { Plan } from '../../src/core/chain/plan.ts';
import { catalogue } from '../../src/runtime/catalogue.ts';

/** What a chain has beside plain steps. */
export type Feature = 'each' | 'wait' | 'undo' | 'flow' | 'provider' | 'call';

export interface EffectFacts {
  readonly external: boolean;
  /** The author wrote `retries`. */
  readonly declared: boolean;
  /** Attempts after the first. */
  readonly retries: number;
  /** Effects and waits that have settled before this one may begin. */
  readonly needs: ReadonlySet<string>;
  /** Of those, the ones whose value it must carry where they succeeded. */
  readonly reads: ReadonlySet<string>;
  /** The `flow.each` around it, the outermost first. */
  readonly within: readonly string[];
  /** It is attempted wherever its turn comes, and what holds it fails with it. */
  readonly sure: boolean;
  /** The effect that it takes back. */
  readonly undoes?: string;
  /** It has an effect that takes it back. */
  readonly undone: boolean;
}

export interface FanFacts {
  readonly items: readonly string[];
  readonly concurrency: number;
  readonly onItemError: 'stop' | 'continue' | 'collect';
  readonly within: readonly string[];
  /** The effect inside whose values are the results. */
  readonly source: string;
}

export interface WaitFacts {
  readonly kind: 'time' | 'event' | 'approval';
  /** Whether an event must have the key of the delivery. */
  readonly keyed: boolean;
  /** Longer than any simulation: somebody must see to it. */
  readonly long: boolean;
}

/** By step; those inside of a `flow.each` by their path. */
export interface ChainFacts {
  readonly effects: ReadonlyMap<string, EffectFacts>;
  readonly fans: ReadonlyMap<string, FanFacts>;
  readonly waits: ReadonlyMap<string, WaitFacts>;
  /** The chain that a step calls, and the step of that whose value it hears of. */
  readonly calls: ReadonlyMap<string, { readonly chain: SimulatedChain; readonly heard: string }>;
}

export interface SimulatedChain extends ChainFacts {
  readonly name: string;
  readonly features: ReadonlySet<Feature>;
  readonly flow: FlowFacts | undefined;
  readonly undoes: boolean;
  /** The run has a timeout. */
  readonly timed: boolean;
  plan(version: number): Plan;
}

/** How many different chains there are; compiling one costs more than simulating a run of it. */
const CHAINS = 4_096;
const known = new Map<number, SimulatedChain>();

export function chainOf(random: Random): SimulatedChain {
  const number = random.below(CHAINS);
  let chain = known.get(number);
  if (chain === undefined) known.set(number, (chain = createChain(`chain-${number}`, createRandom(number + 1))));
  return chain;
}

const FEATURES: readonly [Feature, ...Feature[]] = ['each', 'wait', 'undo', 'flow', 'provider', 'call'];

function featuresOf(random: Random): ReadonlySet<Feature> {
  if (random.chance(0.4)) return new Set();
  const first = random.pick(FEATURES);
  return new Set(random.chance(0.35) ? [first, random.pick(FEATURES)] : [first]);
}

function createChain(name: string, random: Random, features = featuresOf(random), most = 8): SimulatedChain {
  const drafts = createDrafts(random, features);
  const count = features.has('flow') || features.has('each') ? random.between(2, 4) : random.between(3, most);
  const ids = Array.from({ length: count }, (_, index) => `s${index}`);
  const special = specialSteps(drafts, name, count);
  for (const [index, id] of ids.entries()) {
    addStep(drafts, id, ids.slice(0, index), ids.slice(index + 1), special.get(index));
  }
  const output: Record<string, unknown> = {};
  for (const [id, { path }] of drafts.values) output[id] = `{{ ${path}? }}`;
  const timed = random.chance(features.has('undo') ? 0.3 : 0.1);
  const flow = features.has('flow') ? createFlow(random) : undefined;
  const more = { ...(timed && { timeout: random.pick(['20s', '2m']) }), ...flow?.document };
  const plans = new Map<number, Plan>();
  return {
    ...drafts,
    name,
    features,
    flow: flow?.facts,
    undoes: [...drafts.effects.values()].some((effect) => effect.undone),
    timed,
    plan: (version) => {
      let plan = plans.get(version);
      if (plan === undefined) {
        const document = { name, mode: 'durable', steps: versioned(drafts.steps, version), output, ...more };
        const compiled = compileChain(document, catalogue);
        if (!compiled.ok) throw new Error(`${JSON.stringify(compiled.fault.issues)} in ${JSON.stringify(document)}`);
        plans.set(version, (plan = compiled.value));
      }
      return plan;
    },
  };
}

/** The steps of one or two places are those of a feature. */
function specialSteps(drafts: Drafts, name: string, count: number): Map<number, Parameters<typeof addStep>[4]> {
  const { random, features } = drafts;
  const places = new Map<number, Parameters<typeof addStep>[4]>();
  const put = (step: Parameters<typeof addStep>[4]): void => void places.set(random.below(count), step);
  if (features.has('each')) put(each);
  for (let times = features.has('wait') ? random.between(1, 2) : 0; times > 0; times--) put(wait);
  if (features.has('call')) {
    const callee = createChain(`${name}-called`, random, new Set(), 4);
    put((inside, id) => call(inside, id, callee));
  }
  return places;
}

const versioned = (steps: Drafts['steps'], version: number): unknown =>
  JSON.parse(JSON.stringify(steps).replaceAll('"$version"', String(version)));
