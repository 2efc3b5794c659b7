/** What the gateway looks up per request, built once per configuration. */

import { Router } from './router.ts';
import type { TriggerPlan } from '../core/chain/plan.ts';
import type { RouteEntry, RoutePlan } from '../core/route/plan.ts';
import type { Policies } from '../core/route/policies.ts';
import type { ActiveChain, Configuration } from '../runtime/configuration.ts';

/** `name` is `chain:<name>` or `route:<name>`. */
export type Target = { readonly name: string; readonly policies: Policies } & (ChainTarget | RouteTarget);

export interface ChainTarget {
  readonly kind: 'chain';
  readonly chain: ActiveChain;
  readonly trigger: Extract<TriggerPlan, { type: 'http' }>;
}

export interface RouteTarget {
  readonly kind: 'route';
  readonly route: RoutePlan;
  readonly version: RouteEntry['version'];
}

export interface Tables {
  readonly targets: Router<Target>;
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
  // After the routes: of a method and path that both answer, the chain has it.
  for (const chain of configuration.chains.values()) {
    for (const trigger of chain.plan.triggers) {
      if (trigger.type !== 'http') continue;
      const { method, path, policies } = trigger;
      targets.add(method, path, { kind: 'chain', name: `chain:${chain.name}`, policies, chain, trigger });
    }
  }
  return { targets };
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
