/** What expressions read of a request and its caller; query and headers only where one asks for them. */

import { headersOf, queryOf } from './event.ts';
import type { Exchange, Identity } from './exchange.ts';
import type { Scope } from '../core/expression/types.ts';
import type { RoutePlan, VersionPlan } from '../core/route/plan.ts';

/** A request on its way through a route. */
export interface Around {
  readonly exchange: Exchange;
  readonly route: RoutePlan;
  readonly version: VersionPlan;
  readonly identity: Identity | undefined;
}

export const scopeOf = ({ exchange, route, version, identity }: Around) => ({
  request: requestOf(exchange),
  identity: identityOf(identity),
  route: { name: route.name, version: version.name },
});

/** Who asks, without what the gateway knows of the key. */
export const identityOf = (identity: Identity | undefined): Scope | undefined =>
  identity && {
    kind: identity.kind,
    id: identity.id,
    tenant: identity.tenant,
    scopes: identity.scopes,
    claims: identity.claims,
  };

export const requestOf = ({ method, path, params, url, headers }: Exchange) => ({
  method,
  path,
  params,
  get query() {
    return queryOf(url);
  },
  get headers() {
    return headersOf(headers);
  },
});
