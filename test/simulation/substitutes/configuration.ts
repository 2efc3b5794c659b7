/** Stands in for `runtime/configuration.ts`: plans come from the scenario, as slowly as from D1. */

import { servicesOf } from './isolates.ts';
import type { Plan } from '../../../src/core/chain/plan.ts';
import type { Env } from '../../../src/env.ts';

export * from '../../../src/runtime/configuration.ts';

export const loadPlan = (env: Env, name: string, version: number): Plan | Promise<Plan> =>
  servicesOf(env).loadPlan(name, version);
