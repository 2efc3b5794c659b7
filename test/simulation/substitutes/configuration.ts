/** Stands in for `runtime/configuration.ts`: plans and chains come from the scenario, as slowly as from D1. */

import { servicesOf } from './isolates.ts';
import type { Plan } from '../../../src/core/chain/plan.ts';
import { ok, type Result } from '../../../src/core/errors.ts';
import type { Env } from '../../../src/env.ts';
import type { Configuration } from '../../../src/runtime/configuration.ts';
import type { Vault } from '../../../src/vault/vault.ts';

export * from '../../../src/runtime/configuration.ts';

export const loadPlan = (env: Env, name: string, version: number): Plan | Promise<Plan> =>
  servicesOf(env).loadPlan(name, version);

export const currentConfiguration = (env: Env): Configuration | Promise<Configuration> =>
  servicesOf(env).configuration();

/** Nothing is ever switched off. */
export const confirmedConfiguration = (env: Env): Configuration | Promise<Configuration> => currentConfiguration(env);

/** Keeps no secrets: real decryption ends on another thread, at a time of its own. */
const open: Vault = {
  seal: () => Promise.resolve(''),
  open: () => Promise.resolve(ok({})),
  version: '1',
  rewrap: (_context, sealed) => Promise.resolve(ok(sealed)),
};

export const vaultOf = (): Result<Vault> => ok(open);
