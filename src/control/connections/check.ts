/** Holds a connection to the schemas of its connector. */

import * as v from 'valibot';
import { issuesOf, refuse, unknownFields } from '../issues.ts';
import type { Connector } from '../../connectors/kit/types.ts';
import { suggestion } from '../../core/chain/names.ts';
import { fail, ok, type Issue, type Result } from '../../core/errors.ts';
import { missingSecret } from '../../core/oauth/settings.ts';
import type { Secret } from '../../vault/secret.ts';

type Fields = Readonly<Record<string, unknown>>;

/** Fault `connection.invalid` with every mistake; none quotes a value. */
export function checkConnection(
  connectors: ReadonlyMap<string, Connector>,
  name: string,
  settings: Fields,
  secrets: Secret<Fields>,
): Result<void> {
  const facts = connectors.get(name)?.connection;
  if (facts === undefined) {
    const known = [...connectors.values()].filter((connector) => connector.connection !== undefined);
    const hint = suggestion(
      name,
      known.map((connector) => connector.name),
    );
    const message = connectors.has(name) ? `${name} takes no connection.` : `There is no such connector.${hint}`;
    return fail('connection.invalid', `connector: ${message}`, { issues: [{ path: 'connector', message }] });
  }
  const issues = [
    ...checkFields(facts.settings, settings, 'settings'),
    ...checkFields(facts.secrets, secrets.reveal(), 'secrets'),
  ];
  if (issues.length === 0 && facts.oauth !== undefined) {
    const client = facts.oauth(v.parse(facts.settings, settings), v.parse(facts.secrets, secrets.reveal()));
    const missing = client && missingSecret(client);
    if (missing !== undefined) issues.push({ path: 'secrets.oauth', message: missing });
  }
  return issues.length === 0 ? ok(undefined) : refuse('connection.invalid', issues);
}

/** A secret under a wrong name in `settings` would be stored in the clear, so unknown fields are refused. */
function checkFields(schema: v.GenericSchema, given: Fields, base: string): Issue[] {
  const parsed = v.safeParse(schema, given);
  return parsed.success ? unknownFields(given, parsed.output, base) : issuesOf(parsed.issues, base);
}
