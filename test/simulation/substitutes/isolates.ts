/** What the substitutes of gateway modules ask the simulator for, by the environment of an isolate. */

import type { Plan } from '../../../src/core/chain/plan.ts';
import type { RunRecord, RunSummary } from '../../../src/core/engine/record.ts';
import type { Env } from '../../../src/env.ts';
import type { Configuration } from '../../../src/runtime/configuration.ts';

export interface SavedRun {
  readonly summary: RunSummary;
  readonly record?: RunRecord;
}

export interface IsolateServices {
  loadPlan(name: string, version: number): Plan | Promise<Plan>;
  configuration(): Configuration | Promise<Configuration>;
}

const services = new WeakMap<Env, IsolateServices>();

export const provide = (env: Env, given: IsolateServices): void => void services.set(env, given);

export function servicesOf(env: Env): IsolateServices {
  const known = services.get(env);
  if (known === undefined) throw new Error('This environment is not of a simulated isolate.');
  return known;
}
