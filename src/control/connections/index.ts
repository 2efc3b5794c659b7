/** Connections: settings may be read back, secrets only be replaced. */

import * as v from 'valibot';
import { checkConnection, probeIssue } from './check.ts';
import { notFound, ofTenant, quota, show, shown } from './show.ts';
import { API, endpoint } from '../endpoint.ts';
import { jsonBody } from '../request.ts';
import { fields, instant, iso, listOf } from '../schemas.ts';
import { refuse } from '../issues.ts';
import { OWNER } from '../../core/chain/connection.ts';
import { ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { listHealth, loadHealth } from '../../store/connection-health.ts';
import { listConnections, loadConnection, removeConnection, saveConnection } from '../../store/connections.ts';
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
  expiresAt: v.optional(
    v.nullable(v.pipe(instant, v.description('When the other side stops to take the secrets; it is warned of.'))),
    null,
  ),
  probeMinutes: v.optional(
    v.nullable(
      v.pipe(
        v.number(),
        v.integer(),
        v.minValue(1),
        v.maxValue(LIMITS.probeLongestMinutes),
        v.description('How often it is probed; by default only on request.'),
      ),
    ),
    null,
  ),
  quota: v.optional(
    v.nullable(v.pipe(quota, v.description('How often steps may use it; a step over it may be tried again later.'))),
    null,
  ),
});

const usage = v.strictObject({
  per: v.picklist(['minute', 'day']),
  limit: v.number(),
  used: v.number(),
  freeAt: v.pipe(instant, v.description('When more of it is free.')),
});

export const connections = [
  endpoint({
    id: 'saveConnection',
    tag: TAG,
    summary: 'Make or replace a connection',
    role: 'admin',
    method: 'PUT',
    path: PATH,
    body: jsonBody(body),
    query: ofTenant,
    replies: {
      200: { description: 'It was replaced.', schema: shown },
      201: { description: 'It was made.', schema: shown },
    },
    faults: ['connection.invalid', 'vault.closed'],
    async handle({ ports, actor, params: { name }, query: { tenant = OWNER }, body: given }) {
      const { connector, settings, secrets, probeMinutes } = given;
      const checked = checkConnection(ports.connectors, connector, settings, secrets);
      if (!checked.ok) return checked;
      const unprobed = probeMinutes === null ? undefined : probeIssue(ports.connectors, connector);
      if (unprobed !== undefined) return refuse('connection.invalid', [unprobed]);
      if (!ports.vault.ok) return ports.vault;
      const plain = secrets.reveal();
      const sealed = await ports.vault.value.seal(connectionContext(tenant, connector, name), plain);
      const expiresAt = given.expiresAt === null ? null : Date.parse(given.expiresAt);
      const secretNames = Object.keys(plain);
      const connection = {
        tenant,
        name,
        connector,
        settings,
        secretNames,
        sealed,
        expiresAt,
        probeMinutes,
        quota: given.quota,
      };
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
    query: ofTenant,
    replies: { 200: { description: 'Ordered by name, without secrets.', schema: listOf(shown) } },
    async handle({ ports, query: { tenant = OWNER } }) {
      const [rows, health] = await Promise.all([listConnections(ports.db, tenant), listHealth(ports.db, tenant)]);
      const byName = new Map(health.map((each) => [each.name, each]));
      return ok({ status: 200, body: { items: rows.map((row) => show(row, byName.get(row.name))) } });
    },
  }),

  endpoint({
    id: 'getConnection',
    tag: TAG,
    summary: 'Read a connection',
    role: 'viewer',
    method: 'GET',
    path: PATH,
    query: ofTenant,
    replies: { 200: { description: 'Without secrets.', schema: shown } },
    faults: ['connection.not-found'],
    async handle({ ports, params: { name }, query: { tenant = OWNER } }) {
      const [row, health] = await Promise.all([
        loadConnection(ports.db, tenant, name),
        loadHealth(ports.db, { tenant, name }),
      ]);
      return row === undefined ? notFound(name, tenant) : ok({ status: 200, body: show(row, health) });
    },
  }),

  endpoint({
    id: 'getConnectionUsage',
    tag: TAG,
    summary: 'Read how much of its quota a connection has used',
    role: 'viewer',
    method: 'GET',
    path: `${PATH}/usage`,
    query: ofTenant,
    replies: {
      200: { description: 'Without a quota nothing is counted, and the list is empty.', schema: listOf(usage) },
    },
    faults: ['connection.not-found', 'limit.unavailable'],
    async handle({ ports, params: { name }, query: { tenant = OWNER } }) {
      const row = await loadConnection(ports.db, tenant, name);
      if (row === undefined) return notFound(name, tenant);
      const used = await ports.custody.quotaUsage(row);
      if (!used.ok) return used;
      const items = used.value.map(({ resetMilliseconds, ...each }) => ({
        ...each,
        freeAt: iso(ports.now() + resetMilliseconds),
      }));
      return ok({ status: 200, body: { items } });
    },
  }),

  endpoint({
    id: 'removeConnection',
    tag: TAG,
    summary: 'Remove a connection',
    role: 'admin',
    method: 'DELETE',
    path: PATH,
    query: ofTenant,
    replies: { 204: { description: 'Chains that use it fail from now on.' } },
    faults: ['connection.not-found'],
    async handle({ ports, actor, params: { name }, query: { tenant = OWNER } }) {
      const row = await loadConnection(ports.db, tenant, name);
      const isByOAuth = row && ports.connectors.get(row.connector)?.connection?.oauth !== undefined;
      if (isByOAuth) await ports.oauth.revoke({ tenant, name });
      if (!(await removeConnection(ports.db, tenant, name, actor, ports.now()))) return notFound(name, tenant);
      await ports.configurationChanged();
      return ok({ status: 204 });
    },
  }),
];
