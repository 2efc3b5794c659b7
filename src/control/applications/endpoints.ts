/** Endpoints of an application: where its messages go, which, and how. */

import * as v from 'valibot';
import { findApplication, findEndpoint, tellChanged } from './find.ts';
import { newKey, newKeyBody } from './keys.ts';
import { API, endpoint } from '../endpoint.ts';
import { refuse } from '../issues.ts';
import type { ControlPorts } from '../ports.ts';
import { jsonBody } from '../request.ts';
import { instant, iso, listOf } from '../schemas.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { compileSelection } from '../../core/outbound/selection.ts';
import { endpointHeaders, endpointSettings, type EndpointSettings } from '../../core/outbound/settings.ts';
import { openSealed } from '../../runtime/outbound/sealed-parts.ts';
import {
  listEndpoints,
  removeEndpoint,
  saveEndpoint,
  setDisabled,
  type EndpointRow,
} from '../../store/outbound-endpoints.ts';
import { Secret } from '../../vault/secret.ts';
import { endpointContext } from '../../vault/vault.ts';

const TAG = 'Endpoints';
const PATH = `${API}/applications/{id}/endpoints/{endpoint}`;

const headers = v.optional(
  v.pipe(
    endpointHeaders,
    v.description('Sent with each delivery. Values are never shown again; where this is left out they stay.'),
    v.transform((value) => new Secret(value)),
  ),
);

const changeBody = v.strictObject({ ...endpointSettings.entries, headers });
const addBody = v.strictObject({ ...changeBody.entries, ...newKeyBody });

export const endpointShown = v.strictObject({
  id: v.string(),
  application: v.string(),
  ...endpointSettings.entries,
  headers: v.pipe(v.array(v.string()), v.description('Names of the headers that are set.')),
  status: v.picklist(['enabled', 'disabled']),
  disabled: v.nullable(v.strictObject({ reason: v.picklist(['gone', 'failing', 'owner']), at: instant })),
  createdAt: instant,
  updatedAt: instant,
});

const show = ({ id, application, settings, headerNames, disabled, createdAt, updatedAt }: EndpointRow) => ({
  id,
  application,
  ...settings,
  headers: headerNames,
  status: disabled === null ? 'enabled' : 'disabled',
  disabled: disabled === null ? null : { reason: disabled.reason, at: iso(disabled.at) },
  createdAt: iso(createdAt),
  updatedAt: iso(updatedAt),
});

/** Faults `endpoint.invalid`, `egress.refused`. */
function check({ outbound }: ControlPorts, settings: EndpointSettings): Result<unknown> {
  const address = outbound.checkUrl(settings.url);
  if (!address.ok) return refuse('endpoint.invalid', [{ path: 'url', message: address.fault.message }]);
  return compileSelection(settings);
}

const changeStatus = (enable: boolean) =>
  endpoint({
    id: enable ? 'enableEndpoint' : 'disableEndpoint',
    tag: TAG,
    summary: enable ? 'Enable an endpoint' : 'Disable an endpoint',
    role: 'admin',
    method: 'POST',
    path: `${PATH}/${enable ? 'enable' : 'disable'}`,
    replies: {
      200: {
        description: enable
          ? 'It gets new messages, and what waited for it. See `replayMissing` for those that came meanwhile.'
          : 'It gets no new messages; what is on its way waits.',
        schema: endpointShown,
      },
    },
    faults: ['application.not-found', 'endpoint.not-found'],
    async handle({ ports, actor, params: { id, endpoint: name } }) {
      const found = await findEndpoint(ports, id, name);
      if (!found.ok) return found;
      const { application } = found.value;
      const at = ports.now();
      const disabled = enable ? null : ({ reason: 'owner', at } as const);
      await setDisabled(ports.db, application, name, disabled, actor, at);
      await tellChanged(ports, application, name);
      return ok({ status: 200, body: show({ ...found.value, disabled }) });
    },
  });

export const endpointResources = [
  endpoint({
    id: 'addEndpoint',
    tag: TAG,
    summary: 'Add an endpoint to an application',
    role: 'admin',
    method: 'POST',
    path: `${API}/applications/{id}/endpoints`,
    body: jsonBody(addBody),
    replies: {
      201: {
        description: 'Messages from now on go to it. Its key is read by `getEndpointKey`.',
        schema: endpointShown,
      },
    },
    faults: ['application.not-found', 'endpoint.invalid', 'endpoint.too-many', 'vault.closed'],
    async handle({ ports, actor, params: { id }, body: { headers: given, algorithm, secret, ...settings } }) {
      const found = await findApplication(ports, id);
      if (!found.ok) return found;
      const application = found.value.id;
      const checked = check(ports, settings);
      if (!checked.ok) return checked;
      if (!ports.vault.ok) return ports.vault;
      if ((await listEndpoints(ports.db, application)).length >= LIMITS.endpointsPerApplication) {
        const words = `An application has at most ${LIMITS.endpointsPerApplication} endpoints; remove one first.`;
        return fail('endpoint.too-many', words);
      }
      const key = await newKey(algorithm, secret);
      if (!key.ok) return key;
      const now = ports.now();
      const name = `ep_${crypto.randomUUID().replaceAll('-', '')}`;
      const values = given?.reveal() ?? {};
      const parts = { keys: [{ secret: key.value.reveal() }], headers: values };
      const row = {
        application,
        id: name,
        settings,
        headerNames: Object.keys(values),
        sealed: await ports.vault.value.seal(endpointContext(application, name), parts),
        disabled: null,
        createdAt: now,
        updatedAt: now,
      };
      await saveEndpoint(ports.db, row, 'endpoint.add', actor, now);
      await tellChanged(ports, application, name);
      return ok({ status: 201, body: show(row), location: `${API}/applications/${application}/endpoints/${name}` });
    },
  }),

  endpoint({
    id: 'listEndpoints',
    tag: TAG,
    summary: 'List the endpoints of an application',
    role: 'viewer',
    method: 'GET',
    path: `${API}/applications/{id}/endpoints`,
    replies: { 200: { description: 'The oldest first.', schema: listOf(endpointShown) } },
    faults: ['application.not-found'],
    async handle({ ports, params: { id } }) {
      const found = await findApplication(ports, id);
      if (!found.ok) return found;
      return ok({ status: 200, body: { items: (await listEndpoints(ports.db, found.value.id)).map(show) } });
    },
  }),

  endpoint({
    id: 'getEndpoint',
    tag: TAG,
    summary: 'Read an endpoint',
    role: 'viewer',
    method: 'GET',
    path: PATH,
    replies: { 200: { description: 'Without its key and the values of its headers.', schema: endpointShown } },
    faults: ['application.not-found', 'endpoint.not-found'],
    async handle({ ports, params: { id, endpoint: name } }) {
      const found = await findEndpoint(ports, id, name);
      return found.ok ? ok({ status: 200, body: show(found.value) }) : found;
    },
  }),

  endpoint({
    id: 'saveEndpoint',
    tag: TAG,
    summary: 'Replace the settings of an endpoint',
    role: 'admin',
    method: 'PUT',
    path: PATH,
    body: jsonBody(changeBody),
    replies: { 200: { description: 'They hold for every attempt from now on.', schema: endpointShown } },
    faults: ['application.not-found', 'endpoint.not-found', 'endpoint.invalid', 'vault.closed', 'vault.unreadable'],
    async handle({ ports, actor, params: { id, endpoint: name }, body: { headers: given, ...settings } }) {
      const found = await findEndpoint(ports, id, name);
      if (!found.ok) return found;
      const checked = check(ports, settings);
      if (!checked.ok) return checked;
      if (!ports.vault.ok) return ports.vault;
      const before = found.value;
      const row = { ...before, settings, updatedAt: ports.now() };
      if (given !== undefined) {
        const values = given.reveal();
        const { keys } = await openSealed(ports.vault.value, before, { kind: 'management', actor });
        row.sealed = await ports.vault.value.seal(endpointContext(before.application, name), { keys, headers: values });
        row.headerNames = Object.keys(values);
      }
      await saveEndpoint(ports.db, row, 'endpoint.save', actor, row.updatedAt);
      await tellChanged(ports, row.application, name);
      return ok({ status: 200, body: show(row) });
    },
  }),

  changeStatus(true),
  changeStatus(false),

  endpoint({
    id: 'removeEndpoint',
    tag: TAG,
    summary: 'Remove an endpoint with its log',
    role: 'admin',
    method: 'DELETE',
    path: PATH,
    replies: { 204: { description: 'Nothing goes to it any more.' } },
    faults: ['application.not-found', 'endpoint.not-found'],
    async handle({ ports, actor, params: { id, endpoint: name } }) {
      const found = await findEndpoint(ports, id, name);
      if (!found.ok) return found;
      const { application } = found.value;
      await removeEndpoint(ports.db, application, name, actor, ports.now());
      await ports.outbound.messages(application).changed();
      await ports.outbound.endpoint(name).remove();
      return ok({ status: 204 });
    },
  }),
];
