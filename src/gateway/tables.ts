/** What the gateway looks up per request, built once per configuration. */

import { Router } from './router.ts';
import type { TriggerPlan } from '../core/chain/plan.ts';
import type { ActiveChain, Configuration } from '../runtime/configuration.ts';

export interface HttpTarget {
  readonly chain: ActiveChain;
  readonly trigger: Extract<TriggerPlan, { type: 'http' }>;
}

export interface Tables {
  readonly routes: Router<HttpTarget>;
}

const built = new WeakMap<Configuration, Tables>();

export function tablesOf(configuration: Configuration): Tables {
  let tables = built.get(configuration);
  if (tables === undefined) built.set(configuration, (tables = build(configuration)));
  return tables;
}

function build(configuration: Configuration): Tables {
  const routes = new Router<HttpTarget>();
  for (const chain of configuration.chains.values()) {
    for (const trigger of chain.plan.triggers) {
      if (trigger.type === 'http') routes.add(trigger.method, trigger.path, { chain, trigger });
    }
  }
  return { routes };
}
