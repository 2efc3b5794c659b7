/** What the gateway looks up per request, built once per configuration. */

import { Router } from './router.ts';
import type { TriggerPlan } from '../core/chain/plan.ts';
import type { RouteEntry, RoutePlan } from '../core/route/plan.ts';
import type { Policies } from '../core/route/policies.ts';
import type { ActiveChain, Configuration } from '../runtime/configuration.ts';

type Trigger<T extends TriggerPlan['type']> = Extract<TriggerPlan, { type: T }>;

/** `name` is `chain:<name>` or `route:<name>`. */
export type Target = { readonly name: string; readonly policies: Policies } & (ChainTarget | RouteTarget);

export interface ChainTarget {
  readonly kind: 'chain';
  readonly chain: ActiveChain;
  readonly trigger: Trigger<'http'>;
}

export interface RouteTarget {
  readonly kind: 'route';
  readonly route: RoutePlan;
  readonly version: RouteEntry['version'];
}

export interface HookTarget {
  readonly chain: ActiveChain;
  readonly trigger: Trigger<'webhook'>;
}

export interface Tables {
  readonly targets: Router<Target>;
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
  const targets = new Router<Target>();
  for (const route of configuration.routes.values()) addRoute(targets, route);
  const hooks = new Map<string, HookTarget[]>();
  // After the routes: of a method and path that both answer, the chain has it.
  for (const chain of configuration.chains.values()) {
    for (const trigger of chain.plan.triggers) {
      if (trigger.type === 'http') {
        const { method, path, policies } = trigger;
        targets.add(method, path, { kind: 'chain', name: `chain:${chain.name}`, policies, chain, trigger });
      }
      if (trigger.type === 'webhook') {
        const listening = hooks.get(trigger.source) ?? [];
        hooks.set(trigger.source, [...listening, { chain, trigger }]);
      }
    }
  }
  return { targets, hooks };
}

function addRoute(targets: Router<Target>, route: RoutePlan): void {
  const { policies, entries } = route;
  for (const { hosts, methods, path, version } of entries) {
    const target: Target = { kind: 'route', name: `route:${route.name}`, policies, route, version };
    for (const host of hosts.length === 0 ? [undefined] : hosts) {
      for (const method of methods) targets.add(method, path, target, host);
    }
  }
}
