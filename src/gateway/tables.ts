/** What the gateway looks up per request, built once per configuration. */

import { Router } from './router.ts';
import type { TriggerPlan } from '../core/chain/plan.ts';
import type { ActiveChain, Configuration } from '../runtime/configuration.ts';

type Trigger<T extends TriggerPlan['type']> = Extract<TriggerPlan, { type: T }>;

export interface HttpTarget {
  readonly chain: ActiveChain;
  readonly trigger: Trigger<'http'>;
}

export interface HookTarget {
  readonly chain: ActiveChain;
  readonly trigger: Trigger<'webhook'>;
}

export interface Tables {
  readonly routes: Router<HttpTarget>;
  /** By source. */
  readonly hooks: ReadonlyMap<string, readonly HookTarget[]>;
}

const built = new WeakMap<Configuration, Tables>();

export function tablesOf(configuration: Configuration): Tables {
  let tables = built.get(configuration);
  if (tables === undefined) built.set(configuration, (tables = build(configuration)));
  return tables;
}

function build(configuration: Configuration): Tables {
  const routes = new Router<HttpTarget>();
  const hooks = new Map<string, HookTarget[]>();
  for (const chain of configuration.chains.values()) {
    for (const trigger of chain.plan.triggers) {
      if (trigger.type === 'http') routes.add(trigger.method, trigger.path, { chain, trigger });
      if (trigger.type === 'webhook') {
        const targets = hooks.get(trigger.source) ?? [];
        hooks.set(trigger.source, [...targets, { chain, trigger }]);
      }
    }
  }
  return { routes, hooks };
}
