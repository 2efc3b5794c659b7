/** The installed connectors, as the compiler, the executor and the management API need them. */

import { connectors } from '../connectors/index.ts';
import { buildCatalogue } from '../connectors/kit/catalogue.ts';
import type { Action, Connector, Subscription } from '../connectors/kit/types.ts';

export const catalogue = buildCatalogue(connectors);

export const connectorsByName: ReadonlyMap<string, Connector> = new Map(connectors.map((item) => [item.name, item]));

/** By full name, e.g. `postgres.query`. */
export const actionsByName: ReadonlyMap<string, Action> = new Map(
  connectors.flatMap((connector) =>
    Object.entries(connector.actions).map(([name, action]): [string, Action] => [`${connector.name}.${name}`, action]),
  ),
);

/** By full name, e.g. `postgres.channel`. */
export const subscriptionsByName: ReadonlyMap<string, Subscription> = new Map(
  connectors.flatMap(({ name: connector, subscriptions = {} }) =>
    Object.entries(subscriptions).map(([name, item]): [string, Subscription] => [`${connector}.${name}`, item]),
  ),
);
