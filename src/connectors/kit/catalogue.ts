/** What the compiler must know of the installed connectors, made of their manifests. */

import { toJsonSchema } from '@valibot/to-json-schema';
import type { Action, Connector } from './types.ts';
import type { ActionFacts, Catalogue } from '../../core/chain/catalogue.ts';
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
  return {
    names: [...installed.keys()],
    action: (name) => {
      const entry = installed.get(name);
      if (entry === undefined) return undefined;
      let known = facts.get(name);
      if (known === undefined) facts.set(name, (known = factsOf(name, ...entry)));
      return known;
    },
  };
}

function factsOf(name: string, { connection }: Connector, action: Action): ActionFacts {
  return {
    name,
    effect: action.effect,
    params: toJsonSchema(action.params, {
      target: 'draft-2020-12',
      typeMode: 'input',
      errorMode: 'ignore',
    }) as JsonObject,
    connection:
      action.connection ?? (connection === undefined ? 'none' : connection.required ? 'required' : 'optional'),
    ...(action.control === undefined ? {} : { control: action.control }),
  };
}
