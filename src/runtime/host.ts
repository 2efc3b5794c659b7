/** The one {@link ActionHost} of an isolate: installed actions, guarded traffic, opened connections. */

import { noteUse } from './access-log.ts';
import { NO_CONNECTION, type ActionHost, type StoreConnection } from './action-context.ts';
import { takeQuota } from './connection-quota.ts';
import { actionsByName, connectorsByName } from './catalogue.ts';
import { openSecrets } from './connection-secrets.ts';
import type { Attempt } from './execute.ts';
import { confirmedConfiguration, type Configuration } from './configuration.ts';
import { queuesOf } from './owner-queues.ts';
import { sendOnce } from './outbound/send.ts';
import { tokenSource } from './oauth/source.ts';
import { sqliteDatabase } from './sqlite-object.ts';
import { wayOutOf } from './way-out.ts';
import type { OpenConnection } from '../connectors/kit/types.ts';
import type { ActionFacts } from '../core/chain/catalogue.ts';
import { connectionPath, howToMake, refOf, type ConnectionRef } from '../core/chain/connection.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import { andThen } from '../core/maybe-promise.ts';
import type { Reader } from '../core/seal.ts';
import type { Env } from '../env.ts';
import type { ConnectionRow } from '../store/connections.ts';
import { createLinks } from '../vault/links.ts';

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
    bucket: env.OBJECTS,
    queues: queuesOf(env),
    sqlite: (place) => sqliteDatabase(env.SQLITE, place),
    now: Date.now,
    linkTo: async (what) => {
      const links = createLinks(env.TIDEGATE_MASTER_KEY);
      return links.ok ? ok(`${env.TIDEGATE_URL ?? ''}/_/approvals/${await links.value.sign(what)}`) : links;
    },
    sendMessage: (application, message, key) => sendOnce(env, application, message, key),
    open: (ref, attempt) => {
      const { action } = attempt.step;
      if (ref === undefined && staysInside(action)) return ok(NO_CONNECTION);
      const connector = connectorOf(action);
      return andThen(confirmedConfiguration(env), (loaded) => openFor(env, loaded, ref, connector, attempt));
    },
    openStore: async (path, attempt) => openStore(env, await confirmedConfiguration(env), path, attempt),
  };
}

/** For an attempt, which is noted. */
function openFor(
  env: Env,
  configuration: Configuration,
  ref: ConnectionRef | undefined,
  connector: string,
  { run, step }: Pick<Attempt, 'run' | 'step'>,
): Result<OpenConnection> | Promise<Result<OpenConnection>> {
  const isOff = configuration.switches.has(connector);
  if (ref !== undefined && !isOff) noteUse(env, ref, run.plan.name, run.start.id);
  const reader = () => ({ kind: 'step', chain: run.plan.name, run: run.start.id, step: step.path }) as const;
  const connection = openConnection(env, configuration, ref, connector, reader);
  const row = ref && configuration.connections.get(connectionPath(ref));
  return row?.quota ? withinQuota(env, row, connection) : connection;
}

async function withinQuota(
  env: Env,
  row: ConnectionRow,
  opening: Result<OpenConnection> | Promise<Result<OpenConnection>>,
): Promise<Result<OpenConnection>> {
  const connection = await opening;
  if (!connection.ok) return connection;
  const taken = await takeQuota(env, row);
  return taken.ok ? connection : taken;
}

/** Faults `connection.*`, `vault.*`; `connection.disabled` also where the whole connector is switched off. */
export function openConnection(
  env: Env,
  configuration: Configuration,
  ref: ConnectionRef | undefined,
  connector: string,
  reader: () => Reader,
): Result<OpenConnection> | Promise<Result<OpenConnection>> {
  const off = configuration.switches.get(connector);
  if (off !== undefined) {
    return fail('connection.disabled', `The connector ${connector} is switched off: ${off.reason}`);
  }
  return ref === undefined ? ok(NO_CONNECTION) : open(env, configuration, ref, connector, reader);
}

async function openStore(
  env: Env,
  configuration: Configuration,
  path: string,
  attempt: Pick<Attempt, 'run' | 'step'>,
): Promise<Result<StoreConnection>> {
  const connector = configuration.connections.get(path)?.connector ?? 's3';
  const connection = await openFor(env, configuration, refOf(path), connector, attempt);
  if (!connection.ok) return connection;
  const store = connectorsByName.get(connector)?.connection?.store;
  if (store !== undefined) return ok({ connection: connection.value, open: store });
  return fail('connection.invalid', `The connection ${path} is for ${connector}, which is no object store.`);
}

const connectorOf = ({ name }: ActionFacts): string => name.slice(0, name.indexOf('.'));

/** What computes or steers the run calls nobody, so that there is nothing to switch off. */
const staysInside = ({ effect, control }: ActionFacts): boolean => effect === 'pure' || control !== undefined;

/** Decrypted connections live as long as the configuration that they belong to. */
const opened = new WeakMap<Configuration, Map<string, Result<OpenConnection>>>();

function open(
  env: Env,
  configuration: Configuration,
  ref: ConnectionRef,
  connector: string,
  reader: () => Reader,
): Result<OpenConnection> | Promise<Result<OpenConnection>> {
  const path = connectionPath(ref);
  const row = configuration.connections.get(path);
  if (row === undefined) {
    return fail('connection.not-found', `There is no connection named ${path}. ${howToMake(ref)}`);
  }
  if (row.connector !== connector) {
    return fail('connection.invalid', `The connection ${path} is for ${row.connector}, not for ${connector}.`);
  }
  if (row.disabled !== null) {
    return fail('connection.disabled', `The connection ${path} is switched off: ${row.disabled.reason}`);
  }
  let cache = opened.get(configuration);
  if (cache === undefined) opened.set(configuration, (cache = new Map()));
  const known = cache.get(path);
  if (known !== undefined) return known;
  return openRow(env, row, reader()).then((result) => {
    if (result.ok) cache.set(path, result);
    return result;
  });
}

/** A connection as an action receives it, whether or not it is switched off. Faults of {@link openSecrets}. */
export async function openRow(env: Env, row: ConnectionRow, reader: Reader): Promise<Result<OpenConnection>> {
  const opened = await openSecrets(env, row, reader);
  if (!opened.ok) return opened;
  const { facts, settings, secrets } = opened.value;
  const origins = facts.origins?.(settings, secrets);
  const sockets = facts.sockets?.(settings, secrets);
  const tokens =
    facts.oauth?.(settings, secrets) && tokenSource(env, { tenant: row.tenant, name: row.name }, row.updatedAt);
  return ok({ name: connectionPath(row), settings, secrets, origins, sockets, tokens });
}
