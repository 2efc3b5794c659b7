/** What the compiler must know of the installed connectors, made of their manifests. */

import { toJsonSchema } from '@valibot/to-json-schema';
import type { GenericSchema } from 'valibot';
import type { Action, Connector, Subscription } from './types.ts';
import type { ActionFacts, Catalogue, SubscriptionFacts } from '../../core/chain/catalogue.ts';
import type { JsonObject } from '../../core/json.ts';

/** Schemas are converted when a chain first uses the action: a Worker has a second to start. */
export function buildCatalogue(connectors: readonly Connector[]): Catalogue {
  const installed = new Map(
    connectors.flatMap((connector) =>
      Object.entries(connector.actions).map(([name, action]): [string, [Connector, Action]] => [
        `${connector.name}.${name}`,
        [connector, action],
      ]),
    ),
  );
  const facts = new Map<string, ActionFacts>();
  const sources = new Map(
    connectors.flatMap((connector) =>
      Object.entries(connector.subscriptions ?? {}).map(([name, item]): [string, [Connector, Subscription]] => [
        `${connector.name}.${name}`,
        [connector, item],
      ]),
    ),
  );
  return {
    names: [...installed.keys()],
    action: (name) => {
      const entry = installed.get(name);
      if (entry === undefined) return undefined;
      let known = facts.get(name);
      if (known === undefined) facts.set(name, (known = factsOf(name, ...entry)));
      return known;
    },
    subscriptionNames: [...sources.keys()],
    subscription: (name) => {
      const entry = sources.get(name);
      return entry && subscriptionFacts(name, ...entry);
    },
  };
}

const schemaOf = (schema: GenericSchema): JsonObject =>
  toJsonSchema(schema, { target: 'draft-2020-12', typeMode: 'input', errorMode: 'ignore' }) as JsonObject;

const needOf = ({ connection }: Connector): ActionFacts['connection'] =>
  connection === undefined ? 'none' : connection.required ? 'required' : 'optional';

const subscriptionFacts = (name: string, connector: Connector, { params }: Subscription): SubscriptionFacts => ({
  name,
  params: schemaOf(params),
  connection: needOf(connector),
});

function factsOf(name: string, connector: Connector, action: Action): ActionFacts {
  return {
    name,
    effect: action.effect,
    params: schemaOf(action.params),
    connection: action.connection ?? needOf(connector),
    ...(action.control === undefined ? {} : { control: action.control }),
    ...(action.templates === undefined ? {} : { templates: action.templates }),
  };
}
