/** Kill switches of connections and connectors, and probes on request. */

import * as v from 'valibot';
import { disabledShown, healthShown, notFound, ofTenant, showDisabled, showHealth } from './show.ts';
import { API, endpoint, type Endpoint } from '../endpoint.ts';
import { jsonBody } from '../request.ts';
import { listOf } from '../schemas.ts';
import { OWNER } from '../../core/chain/connection.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { listSwitches, loadConnection, switchConnection, switchConnector } from '../../store/connections.ts';
import type { ControlPorts } from '../ports.ts';

const CONNECTION = `${API}/connections/{name}`;
const CONNECTOR = `${API}/connectors/{name}`;

const reason = jsonBody(
  v.strictObject({
    reason: v.pipe(
      v.string(),
      v.trim(),
      v.minLength(1),
      v.maxLength(LIMITS.descriptionCharacters),
      v.description('Runs fail with it, so it must not hold a secret.'),
    ),
  }),
);

const OFF = { 204: { description: 'Steps are refused here from now on, and elsewhere within five seconds.' } };
const ON = { 204: { description: 'Steps go through again.' } };

/** Fault `connector.not-found`, also for those that call nobody. */
function switchable({ connectors }: ControlPorts, name: string): Result<void> {
  const actions = Object.values(connectors.get(name)?.actions ?? {});
  const acts = actions.some(({ effect, control }) => effect !== 'pure' && control === undefined);
  return acts ? ok(undefined) : fail('connector.not-found', `There is no connector ${name} that could be switched.`);
}

export const connectionSwitches: readonly Endpoint[] = [
  endpoint({
    id: 'disableConnection',
    tag: 'Connections',
    summary: 'Switch a connection off',
    role: 'admin',
    method: 'POST',
    path: `${CONNECTION}/disable`,
    query: ofTenant,
    body: reason,
    replies: OFF,
    faults: ['connection.not-found'],
    async handle({ ports, actor, params: { name }, query: { tenant = OWNER }, body }) {
      const now = ports.now();
      const disabled = { at: now, by: actor, reason: body.reason };
      if (!(await switchConnection(ports.db, { tenant, name }, disabled, { actor, now })))
        return notFound(name, tenant);
      await ports.configurationChanged();
      return ok({ status: 204 });
    },
  }),

  endpoint({
    id: 'enableConnection',
    tag: 'Connections',
    summary: 'Switch a connection on again',
    role: 'admin',
    method: 'POST',
    path: `${CONNECTION}/enable`,
    query: ofTenant,
    replies: ON,
    faults: ['connection.not-found'],
    async handle({ ports, actor, params: { name }, query: { tenant = OWNER } }) {
      const by = { actor, now: ports.now() };
      if (!(await switchConnection(ports.db, { tenant, name }, null, by))) return notFound(name, tenant);
      await ports.configurationChanged();
      return ok({ status: 204 });
    },
  }),

  endpoint({
    id: 'probeConnection',
    tag: 'Connections',
    summary: 'Probe a connection',
    role: 'admin',
    method: 'POST',
    path: `${CONNECTION}/probe`,
    query: ofTenant,
    replies: { 200: { description: 'Whether the other side answers and takes the secrets.', schema: healthShown } },
    faults: ['connection.not-found', 'connection.disabled', 'connection.invalid'],
    async handle({ ports, actor, params: { name }, query: { tenant = OWNER } }) {
      const row = await loadConnection(ports.db, tenant, name);
      if (row === undefined) return notFound(name, tenant);
      const health = await ports.custody.probe(row, actor);
      return health.ok ? ok({ status: 200, body: showHealth(health.value) }) : health;
    },
  }),

  endpoint({
    id: 'listConnectors',
    tag: 'Connectors',
    summary: 'List the connectors',
    role: 'viewer',
    method: 'GET',
    path: `${API}/connectors`,
    replies: {
      200: {
        description: 'Ordered by name.',
        schema: listOf(v.strictObject({ name: v.string(), title: v.string(), disabled: v.nullable(disabledShown) })),
      },
    },
    async handle({ ports }) {
      const off = new Map((await listSwitches(ports.db)).map((each) => [each.connector, showDisabled(each.disabled)]));
      const items = [...ports.connectors.values()]
        .map(({ name, title }) => ({ name, title, disabled: off.get(name) ?? null }))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1));
      return ok({ status: 200, body: { items } });
    },
  }),

  endpoint({
    id: 'disableConnector',
    tag: 'Connectors',
    summary: 'Switch a connector off',
    role: 'admin',
    method: 'POST',
    path: `${CONNECTOR}/disable`,
    body: reason,
    replies: OFF,
    faults: ['connector.not-found'],
    async handle({ ports, actor, params: { name }, body }) {
      const known = switchable(ports, name);
      if (!known.ok) return known;
      const now = ports.now();
      await switchConnector(ports.db, name, { at: now, by: actor, reason: body.reason }, { actor, now });
      await ports.configurationChanged();
      return ok({ status: 204 });
    },
  }),

  endpoint({
    id: 'enableConnector',
    tag: 'Connectors',
    summary: 'Switch a connector on again',
    role: 'admin',
    method: 'POST',
    path: `${CONNECTOR}/enable`,
    replies: ON,
    faults: ['connector.not-found'],
    async handle({ ports, actor, params: { name } }) {
      const known = switchable(ports, name);
      if (!known.ok) return known;
      await switchConnector(ports.db, name, null, { actor, now: ports.now() });
      await ports.configurationChanged();
      return ok({ status: 204 });
    },
  }),
];
