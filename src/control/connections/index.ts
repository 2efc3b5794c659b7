/** Connections: settings may be read back, secrets only be replaced. */

import * as v from 'valibot';
import { checkConnection } from './check.ts';
import { API, endpoint } from '../endpoint.ts';
import { jsonBody } from '../request.ts';
import { fields, instant, iso, listOf } from '../schemas.ts';
import { fail, ok } from '../../core/errors.ts';
import {
  listConnections,
  loadConnection,
  removeConnection,
  saveConnection,
  type ConnectionRow,
} from '../../store/connections.ts';
import { OWNER } from '../../store/tenants.ts';
import { Secret } from '../../vault/secret.ts';
import { connectionContext } from '../../vault/vault.ts';

const TAG = 'Connections';
const PATH = `${API}/connections/{name}`;

const body = v.strictObject({
  connector: v.string(),
  settings: fields,
  secrets: v.pipe(
    fields,
    v.description('Never shown again. A connection is replaced as a whole, its secrets included.'),
    v.transform((value) => new Secret(value)),
  ),
});

const shown = v.strictObject({
  name: v.string(),
  connector: v.string(),
  settings: v.record(v.string(), v.unknown()),
  secrets: v.pipe(v.array(v.string()), v.description('Names of the secrets that are set.')),
  createdAt: instant,
  updatedAt: instant,
});

const show = ({ name, connector, settings, secretNames, createdAt, updatedAt }: ConnectionRow) => ({
  name,
  connector,
  settings,
  secrets: secretNames,
  createdAt: iso(createdAt),
  updatedAt: iso(updatedAt),
});

const notFound = (name: string) => fail('connection.not-found', `There is no connection named ${name}.`);

export const connections = [
  endpoint({
    id: 'saveConnection',
    tag: TAG,
    summary: 'Make or replace a connection',
    role: 'admin',
    method: 'PUT',
    path: PATH,
    body: jsonBody(body),
    replies: {
      200: { description: 'It was replaced.', schema: shown },
      201: { description: 'It was made.', schema: shown },
    },
    faults: ['connection.invalid', 'vault.closed'],
    async handle({ ports, actor, params: { name }, body: { connector, settings, secrets } }) {
      const checked = checkConnection(ports.connectors, connector, settings, secrets);
      if (!checked.ok) return checked;
      if (!ports.vault.ok) return ports.vault;
      const plain = secrets.reveal();
      const sealed = await ports.vault.value.seal(connectionContext(OWNER, connector, name), plain);
      const connection = { tenant: OWNER, name, connector, settings, secretNames: Object.keys(plain), sealed };
      const { row, created } = await saveConnection(ports.db, connection, actor, ports.now());
      await ports.configurationChanged();
      return ok({ status: created ? 201 : 200, body: show(row) });
    },
  }),

  endpoint({
    id: 'listConnections',
    tag: TAG,
    summary: 'List the connections',
    role: 'viewer',
    method: 'GET',
    path: `${API}/connections`,
    replies: { 200: { description: 'Ordered by name, without secrets.', schema: listOf(shown) } },
    handle: async ({ ports }) =>
      ok({ status: 200, body: { items: (await listConnections(ports.db, OWNER)).map(show) } }),
  }),

  endpoint({
    id: 'getConnection',
    tag: TAG,
    summary: 'Read a connection',
    role: 'viewer',
    method: 'GET',
    path: PATH,
    replies: { 200: { description: 'Without secrets.', schema: shown } },
    faults: ['connection.not-found'],
    async handle({ ports, params: { name } }) {
      const row = await loadConnection(ports.db, OWNER, name);
      return row === undefined ? notFound(name) : ok({ status: 200, body: show(row) });
    },
  }),

  endpoint({
    id: 'removeConnection',
    tag: TAG,
    summary: 'Remove a connection',
    role: 'admin',
    method: 'DELETE',
    path: PATH,
    replies: { 204: { description: 'Chains that use it fail from now on.' } },
    faults: ['connection.not-found'],
    async handle({ ports, actor, params: { name } }) {
      const row = await loadConnection(ports.db, OWNER, name);
      const isByOAuth = row && ports.connectors.get(row.connector)?.connection?.oauth !== undefined;
      if (isByOAuth) await ports.oauth.revoke({ tenant: OWNER, name });
      if (!(await removeConnection(ports.db, OWNER, name, actor, ports.now()))) return notFound(name);
      await ports.configurationChanged();
      return ok({ status: 204 });
    },
  }),
];
