/** The one {@link ActionHost} of an isolate: installed actions, guarded traffic, opened connections. */

import { safeParse } from 'valibot';
import { NO_CONNECTION, type ActionHost } from './action-context.ts';
import { actionsByName, connectorsByName } from './catalogue.ts';
import { currentConfiguration, vaultOf, type Configuration } from './configuration.ts';
import { sendOnce } from './outbound/send.ts';
import { tokenSource } from './oauth/source.ts';
import { wayOutOf } from './way-out.ts';
import type { OpenConnection } from '../connectors/kit/types.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import type { Env } from '../env.ts';
import { createLinks } from '../vault/links.ts';
import { connectionContext } from '../vault/vault.ts';

let built: { readonly env: Env; readonly host: ActionHost } | undefined;

export function hostOf(env: Env): ActionHost {
  if (built?.env !== env) built = { env, host: build(env) };
  return built.host;
}

function build(env: Env): ActionHost {
  return {
    actions: actionsByName,
    ...wayOutOf(env),
    data: env.DATA,
    now: Date.now,
    linkTo: async (what) => {
      const links = createLinks(env.TIDEGATE_MASTER_KEY);
      return links.ok ? ok(`${env.TIDEGATE_URL ?? ''}/_/approvals/${await links.value.sign(what)}`) : links;
    },
    sendMessage: (application, message, key) => sendOnce(env, application, message, key),
    open: (name, action) => {
      if (name === undefined) return ok(NO_CONNECTION);
      const configuration = currentConfiguration(env);
      const connector = action.name.slice(0, action.name.indexOf('.'));
      return configuration instanceof Promise
        ? configuration.then((loaded) => open(env, loaded, name, connector))
        : open(env, configuration, name, connector);
    },
  };
}

/** Decrypted connections live as long as the configuration that they belong to. */
const opened = new WeakMap<Configuration, Map<string, Result<OpenConnection>>>();

function open(
  env: Env,
  configuration: Configuration,
  name: string,
  connector: string,
): Result<OpenConnection> | Promise<Result<OpenConnection>> {
  let cache = opened.get(configuration);
  if (cache === undefined) opened.set(configuration, (cache = new Map()));
  return (
    cache.get(name) ??
    decrypt(env, configuration, name, connector).then((result) => {
      if (result.ok) cache.set(name, result);
      return result;
    })
  );
}

async function decrypt(
  env: Env,
  configuration: Configuration,
  name: string,
  connectorName: string,
): Promise<Result<OpenConnection>> {
  const row = configuration.connections.get(name);
  if (row === undefined) {
    const fix = `PUT /_/api/v1/connections/${name} with {"connector": "${connectorName}", …} makes it.`;
    return fail('connection.not-found', `There is no connection named ${name}. ${fix}`);
  }
  if (row.connector !== connectorName) {
    return fail('connection.invalid', `The connection ${name} is for ${row.connector}, not for ${connectorName}.`);
  }
  const facts = connectorsByName.get(connectorName)?.connection;
  if (facts === undefined) return fail('connection.invalid', `${connectorName} takes no connection.`);
  const vault = vaultOf(env);
  if (!vault.ok) return vault;
  const secrets = await vault.value.open(connectionContext(row.tenant, row.connector, name), row.sealed);
  if (!secrets.ok) return secrets;
  const settings = safeParse(facts.settings, row.settings);
  const parsed = safeParse(facts.secrets, secrets.value);
  if (!settings.success || !parsed.success) {
    return fail('connection.invalid', `The connection ${name} does not fit ${connectorName} any more; save it again.`);
  }
  const origins = facts.origins?.(settings.output, parsed.output);
  const sockets = facts.sockets?.(settings.output, parsed.output);
  const tokens =
    facts.oauth?.(settings.output, parsed.output) && tokenSource(env, { tenant: row.tenant, name }, row.updatedAt);
  return ok({ name, settings: settings.output, secrets: parsed.output, origins, sockets, tokens });
}
