/** Applications: the owner's customers, to whose endpoints webhooks go. */

import * as v from 'valibot';
import { deliveries } from './deliveries.ts';
import { endpointResources } from './endpoints.ts';
import { findApplication, pageSchema } from './find.ts';
import { keyResources } from './keys.ts';
import { messages } from './messages.ts';
import { API, endpoint } from '../endpoint.ts';
import { jsonBody } from '../request.ts';
import { instant, iso } from '../schemas.ts';
import { ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import {
  addApplication,
  APPLICATION_ID,
  listApplications,
  removeApplication,
  saveApplication,
  type ApplicationRow,
} from '../../store/outbound.ts';
import { listEndpoints } from '../../store/outbound-endpoints.ts';

const TAG = 'Applications';
const PATH = `${API}/applications/{id}`;

const body = v.strictObject({
  name: v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(LIMITS.labelCharacters)),
  uid: v.optional(
    v.nullable(
      v.pipe(
        v.string(),
        v.regex(/^(?!app_)[A-Za-z0-9][A-Za-z0-9_-]*$/),
        v.maxLength(128),
        v.description('Your own name of the customer. It may stand in every address in place of the id.'),
      ),
    ),
    null,
  ),
});

const shown = v.strictObject({
  id: v.string(),
  uid: v.nullable(v.string()),
  name: v.string(),
  createdAt: instant,
  updatedAt: instant,
});

const show = ({ id, uid, name, createdAt, updatedAt }: ApplicationRow) => ({
  id,
  uid,
  name,
  createdAt: iso(createdAt),
  updatedAt: iso(updatedAt),
});

const listQuery = v.strictObject({
  limit: v.optional(
    v.pipe(v.string(), v.regex(/^[1-9]\d{0,3}$/), v.transform(Number), v.maxValue(LIMITS.runsPerPage)),
    '50',
  ),
  after: v.optional(v.pipe(v.string(), v.description('`next` of the previous page.')), ''),
});

export const applications = [
  endpoint({
    id: 'addApplication',
    tag: TAG,
    summary: 'Make an application',
    role: 'admin',
    method: 'POST',
    path: `${API}/applications`,
    body: jsonBody(body),
    replies: { 201: { description: 'It has no endpoints yet.', schema: shown } },
    faults: ['application.taken'],
    async handle({ ports, actor, body: { name, uid } }) {
      const now = ports.now();
      const id = APPLICATION_ID + crypto.randomUUID().replaceAll('-', '');
      const row = { id, uid, name, createdAt: now, updatedAt: now };
      const added = await addApplication(ports.db, row, actor);
      return added.ok ? ok({ status: 201, body: show(row), location: `${API}/applications/${id}` }) : added;
    },
  }),

  endpoint({
    id: 'listApplications',
    tag: TAG,
    summary: 'List the applications',
    role: 'viewer',
    method: 'GET',
    path: `${API}/applications`,
    query: listQuery,
    replies: { 200: { description: 'Ordered by id. `next` is null on the last page.', schema: pageSchema(shown) } },
    async handle({ ports, query: { limit, after } }) {
      const rows = await listApplications(ports.db, after, limit + 1);
      const items = rows.slice(0, limit);
      const next = rows.length > limit ? (items.at(-1)?.id ?? null) : null;
      return ok({ status: 200, body: { items: items.map(show), next } });
    },
  }),

  endpoint({
    id: 'getApplication',
    tag: TAG,
    summary: 'Read an application',
    role: 'viewer',
    method: 'GET',
    path: PATH,
    replies: { 200: { description: 'By its id or uid.', schema: shown } },
    faults: ['application.not-found'],
    async handle({ ports, params: { id } }) {
      const found = await findApplication(ports, id);
      return found.ok ? ok({ status: 200, body: show(found.value) }) : found;
    },
  }),

  endpoint({
    id: 'saveApplication',
    tag: TAG,
    summary: 'Change an application',
    role: 'admin',
    method: 'PUT',
    path: PATH,
    body: jsonBody(body),
    replies: { 200: { description: 'It was changed.', schema: shown } },
    faults: ['application.not-found', 'application.taken'],
    async handle({ ports, actor, params: { id }, body: { name, uid } }) {
      const found = await findApplication(ports, id);
      if (!found.ok) return found;
      const row = { ...found.value, name, uid, updatedAt: ports.now() };
      const saved = await saveApplication(ports.db, row, actor);
      return saved.ok ? ok({ status: 200, body: show(row) }) : saved;
    },
  }),

  endpoint({
    id: 'removeApplication',
    tag: TAG,
    summary: 'Remove an application with its endpoints, messages and log',
    role: 'admin',
    method: 'DELETE',
    path: PATH,
    replies: { 204: { description: 'Nothing of it is delivered any more.' } },
    faults: ['application.not-found'],
    async handle({ ports, actor, params: { id } }) {
      const found = await findApplication(ports, id);
      if (!found.ok) return found;
      const application = found.value.id;
      const endpoints = await listEndpoints(ports.db, application);
      await removeApplication(ports.db, application, actor, ports.now());
      await ports.outbound.messages(application).remove();
      await Promise.all(endpoints.map((row) => ports.outbound.endpoint(row.id).remove()));
      return ok({ status: 204 });
    },
  }),

  ...endpointResources,
  ...keyResources,
  ...messages,
  ...deliveries,
];
