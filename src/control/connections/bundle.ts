/**
 * Connections as a bundle that can be carried to another gateway: everything but their secrets.
 *
 * Guarantee: a bundle holds no secret, and importing one binds none: a connection whose connector or settings would
 * change keeps them, or with `replace` loses its secrets, since new settings may send them elsewhere.
 */

import * as v from 'valibot';
import { checkConnection, probeIssue } from './check.ts';
import { quota, tenantName } from './show.ts';
import { API, endpoint, PARAMS, type Endpoint } from '../endpoint.ts';
import { refuse } from '../issues.ts';
import type { ControlPorts } from '../ports.ts';
import { jsonBody } from '../request.ts';
import { instant, isoOrNull } from '../schemas.ts';
import { connectionPath, OWNER } from '../../core/chain/connection.ts';
import { ok, type Issue, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { listConnections, loadConnection, saveConnection, type ConnectionRow } from '../../store/connections.ts';
import { connectionContext } from '../../vault/vault.ts';

const TAG = 'Connections';

const carried = v.strictObject({
  tenant: v.optional(v.nullable(tenantName), null),
  name: PARAMS.name,
  connector: v.string(),
  settings: v.record(v.string(), v.unknown()),
  secrets: v.pipe(v.array(v.string()), v.maxLength(100), v.description('Names of the secrets that it needs.')),
  expiresAt: v.optional(v.nullable(instant), null),
  probeMinutes: v.optional(
    v.nullable(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIMITS.probeLongestMinutes))),
    null,
  ),
  quota: v.optional(v.nullable(quota), null),
});
type Carried = v.InferOutput<typeof carried>;

const bundle = v.strictObject({
  format: v.literal('tidegate-connections-1'),
  connections: v.pipe(v.array(carried), v.maxLength(LIMITS.importConnections)),
});

const outcome = v.strictObject({
  tenant: v.nullable(v.string()),
  name: v.string(),
  outcome: v.picklist(['created', 'unchanged', 'kept', 'replaced']),
  missing: v.pipe(v.array(v.string()), v.description('Secrets that must be set before a step can use it.')),
});
type Outcome = v.InferOutput<typeof outcome>;

const carry = (row: ConnectionRow): Carried => ({
  tenant: row.tenant === OWNER ? null : row.tenant,
  name: row.name,
  connector: row.connector,
  settings: row.settings,
  secrets: [...row.secretNames],
  expiresAt: isoOrNull(row.expiresAt),
  probeMinutes: row.probeMinutes,
  quota: row.quota,
});

/** By content: members in another order are the same. */
const isSame = (a: ConnectionRow, b: Carried): boolean =>
  a.connector === b.connector && sorted(a.settings) === sorted(b.settings);

const sorted = (value: unknown): string =>
  JSON.stringify(value, (_key, member: unknown) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );

function issuesOf(ports: ControlPorts, given: Carried, index: number): Issue[] {
  const checked = checkConnection(ports.connectors, given.connector, given.settings, undefined);
  const issues = checked.ok ? [] : [...(checked.fault.issues ?? [])];
  const probe = given.probeMinutes === null ? undefined : probeIssue(ports.connectors, given.connector);
  return [...issues, ...(probe ? [probe] : [])].map(({ path, message }) => ({
    path: `connections.${index}.${path}`,
    message,
  }));
}

async function bring(ports: ControlPorts, given: Carried, replace: boolean, actor: string): Promise<Result<Outcome>> {
  const { name, connector, settings, secrets: secretNames, probeMinutes } = given;
  const tenant = given.tenant ?? OWNER;
  const before = await loadConnection(ports.db, tenant, name);
  const told = { tenant: given.tenant, name };
  if (before !== undefined && (!replace || isSame(before, given))) {
    const missing = before.sealed === '' ? [...before.secretNames] : [];
    return ok({ ...told, outcome: isSame(before, given) ? 'unchanged' : 'kept', missing });
  }
  if (!ports.vault.ok) return ports.vault;
  const context = connectionContext(tenant, connector, name);
  // What needs no secret is whole.
  const sealed = secretNames.length === 0 ? await ports.vault.value.seal(context, {}) : '';
  const expiresAt = given.expiresAt === null ? null : Date.parse(given.expiresAt);
  const row = { tenant, name, connector, settings, secretNames, sealed, expiresAt, probeMinutes, quota: given.quota };
  await saveConnection(ports.db, row, actor, ports.now());
  return ok({ ...told, outcome: before === undefined ? 'created' : 'replaced', missing: [...secretNames] });
}

export const bundles: readonly Endpoint[] = [
  endpoint({
    id: 'exportConnections',
    tag: TAG,
    summary: 'Export connections without their secrets',
    role: 'admin',
    method: 'GET',
    path: `${API}/connection-bundle`,
    query: v.strictObject({ tenant: v.optional(tenantName) }),
    replies: { 200: { description: 'Of that tenant; without one, of the owner and all tenants.', schema: bundle } },
    async handle({ ports, query: { tenant } }) {
      const rows = await listConnections(ports.db, tenant);
      return ok({ status: 200, body: { format: 'tidegate-connections-1', connections: rows.map(carry) } });
    },
  }),

  endpoint({
    id: 'importConnections',
    tag: TAG,
    summary: 'Import connections',
    role: 'admin',
    method: 'POST',
    path: `${API}/connection-bundle`,
    body: jsonBody(bundle),
    query: v.strictObject({
      replace: v.optional(
        v.pipe(
          v.picklist(['true', 'false']),
          v.description('Whether those that are there and differ are replaced; they lose their secrets.'),
        ),
        'false',
      ),
    }),
    replies: {
      200: {
        description: 'What became of each, and what is missing.',
        schema: v.strictObject({ items: v.array(outcome) }),
      },
    },
    faults: ['connection.invalid', 'vault.closed'],
    async handle({ ports, actor, body: { connections }, query: { replace } }) {
      const issues = connections.flatMap((given, index) => issuesOf(ports, given, index));
      const paths = connections.map(({ tenant, name }) => connectionPath({ tenant: tenant ?? OWNER, name }));
      const twice = paths.findIndex((path, index) => paths.indexOf(path) !== index);
      if (twice !== -1) issues.push({ path: `connections.${twice}`, message: `${paths[twice]} is there twice.` });
      if (issues.length > 0) return refuse('connection.invalid', issues);
      const items: Outcome[] = [];
      for (const given of connections) {
        const brought = await bring(ports, given, replace === 'true', actor);
        if (!brought.ok) return brought;
        items.push(brought.value);
      }
      await ports.configurationChanged();
      return ok({ status: 200, body: { items } });
    },
  }),
];
