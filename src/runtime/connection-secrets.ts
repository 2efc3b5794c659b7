/** Opens what a connection keeps: for the steps that use it, and for the object that holds its tokens. */

import { safeParse } from 'valibot';
import { connectorsByName } from './catalogue.ts';
import { vaultOf } from './configuration.ts';
import type { ConnectionFacts } from '../connectors/kit/types.ts';
import { connectionPath } from '../core/chain/connection.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import { connectionContext, type Reader } from '../core/seal.ts';
import type { Env } from '../env.ts';
import type { ConnectionRow } from '../store/connections.ts';

export interface OpenedRow {
  readonly facts: ConnectionFacts;
  /** As the connector's schemas give them. */
  readonly settings: unknown;
  readonly secrets: unknown;
}

/** Whether or not it is switched off. Faults `connection.invalid`, `connection.incomplete`, `vault.*`. */
export async function openSecrets(env: Env, row: ConnectionRow, reader: Reader): Promise<Result<OpenedRow>> {
  const { tenant, name, connector } = row;
  const path = connectionPath(row);
  const facts = connectorsByName.get(connector)?.connection;
  if (facts === undefined) return fail('connection.invalid', `${connector} takes no connection.`);
  if (row.sealed === '') {
    const missing = row.secretNames.join(', ');
    return fail('connection.incomplete', `The connection ${path} was imported without its secrets: ${missing}.`);
  }
  const vault = vaultOf(env);
  if (!vault.ok) return vault;
  const opened = await vault.value.open(connectionContext(tenant, connector, name), row.sealed, reader);
  if (!opened.ok) return opened;
  const settings = safeParse(facts.settings, row.settings);
  const secrets = safeParse(facts.secrets, opened.value);
  if (!settings.success || !secrets.success) {
    return fail('connection.invalid', `The connection ${path} does not fit ${connector} any more; save it again.`);
  }
  return ok({ facts, settings: settings.output, secrets: secrets.output });
}
