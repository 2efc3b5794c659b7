/** The operations that the gateway offers: one for each method and path of a route or an HTTP trigger. */

import type { ActiveChain, Configuration } from '../../runtime/configuration.ts';
import type { TriggerPlan } from '../../core/chain/plan.ts';
import { isObject } from '../../core/json.ts';
import type { DocsDocument } from '../../core/route/docs.ts';
import type { RouteEntry, RoutePlan, VersionPlan } from '../../core/route/plan.ts';
import type { Policies } from '../../core/route/policies.ts';

export interface Operation {
  /** `chain:<name>` or `route:<name>`. */
  readonly target: string;
  /** Unique in the gateway. */
  readonly id: string;
  readonly method: string;
  readonly path: string;
  /** Empty: every host. */
  readonly hosts: readonly string[];
  readonly policies: Policies;
  readonly docs: DocsDocument;
  /** How its version is named, where neither path nor host does. */
  readonly choice:
    { readonly by: 'header' | 'query'; readonly name: string; readonly versions: readonly string[] } | undefined;
  readonly deprecated: boolean;
  /** Answers 202 with the address of a run instead of a result. */
  readonly accepts: boolean;
}

/** What a route of every method is shown with. */
const COMMON_METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

/** In the order of paths, then methods. */
export function operationsOf({ chains, routes }: Configuration): readonly Operation[] {
  const all = [...[...routes.values()].flatMap(ofRoute), ...[...chains.values()].flatMap(ofChain)];
  return all.toSorted((a, b) => compare(a.path, b.path) || compare(a.method, b.method) || compare(a.id, b.id));
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function ofRoute(route: RoutePlan): Operation[] {
  return route.entries.flatMap((entry) => {
    const { hosts, methods, path, version } = entry;
    const choice =
      'by' in version ? { by: version.by, name: version.name, versions: [...version.versions.keys()] } : undefined;
    return (methods.includes('*') ? COMMON_METHODS : methods).map((method) => ({
      target: `route:${route.name}`,
      id: [route.name, ...named(entry), method.toLowerCase()].join('-'),
      method,
      path,
      hosts,
      policies: route.policies,
      docs: route.policies.docs,
      choice,
      deprecated: !('by' in version) && isDeprecated(version),
      accepts: false,
    }));
  });
}

const named = ({ version }: RouteEntry): string[] =>
  'by' in version || version.name === undefined ? [] : [version.name];

const isDeprecated = ({ notices }: VersionPlan): boolean => notices.some(([name]) => name === 'deprecation');

function ofChain(chain: ActiveChain): Operation[] {
  return chain.plan.triggers.flatMap((trigger) => (trigger.type === 'http' ? [ofTrigger(chain, trigger)] : []));
}

function ofTrigger({ name, plan }: ActiveChain, trigger: Extract<TriggerPlan, { type: 'http' }>): Operation {
  const { method, path, policies } = trigger;
  const { document } = plan;
  const input = isObject(document) && isObject(document['input']) ? document['input'] : undefined;
  // What the trigger makes of the body itself says nothing of what a caller sends.
  const request = policies.docs.request ?? (trigger.input === undefined ? input : undefined);
  return {
    target: `chain:${name}`,
    id: `${name}-${trigger.name}`,
    method,
    path,
    hosts: [],
    policies,
    docs: request === undefined ? policies.docs : { ...policies.docs, request },
    choice: undefined,
    deprecated: false,
    accepts: trigger.respond === 'accepted',
  };
}
