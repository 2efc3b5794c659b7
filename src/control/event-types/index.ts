/** Event types: what applications may be told of, and what their payloads look like. */

import * as v from 'valibot';
import { API, endpoint } from '../endpoint.ts';
import { refuse } from '../issues.ts';
import { jsonBody } from '../request.ts';
import { instant, iso, isoOrNull, listOf } from '../schemas.ts';
import { compileJsonSchema } from '../../core/data/json-schema.ts';
import { fail, ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { listEventTypes, loadEventType, saveEventType, type EventTypeRow } from '../../store/outbound.ts';

const TAG = 'Event types';
const PATH = `${API}/event-types/{type}`;

const body = v.strictObject({
  description: v.optional(v.pipe(v.string(), v.maxLength(LIMITS.descriptionCharacters)), ''),
  schema: v.optional(v.pipe(v.unknown(), v.description('JSON Schema of the payload. Default: any payload.')), null),
  archived: v.optional(v.pipe(v.boolean(), v.description('Nothing new is sent of it.')), false),
});

const shown = v.strictObject({
  name: v.string(),
  description: v.string(),
  schema: v.unknown(),
  archivedAt: v.nullable(instant),
  createdAt: instant,
  updatedAt: instant,
});

const show = ({ name, description, schema, archivedAt, createdAt, updatedAt }: EventTypeRow) => ({
  name,
  description,
  schema,
  archivedAt: isoOrNull(archivedAt),
  createdAt: iso(createdAt),
  updatedAt: iso(updatedAt),
});

export const eventTypes = [
  endpoint({
    id: 'saveEventType',
    tag: TAG,
    summary: 'Make or replace an event type',
    role: 'developer',
    method: 'PUT',
    path: PATH,
    body: jsonBody(body, true),
    replies: {
      200: { description: 'It was replaced.', schema: shown },
      201: { description: 'It was made.', schema: shown },
    },
    faults: ['event-type.invalid'],
    async handle({ ports, actor, params: { type: name }, body: { description, schema, archived } }) {
      const compiled = schema === null ? undefined : compileJsonSchema(schema);
      if (compiled?.ok === false) {
        const issues = compiled.fault.issues ?? [{ path: '', message: compiled.fault.message }];
        return refuse(
          'event-type.invalid',
          issues.map(({ path, message }) => ({ path: path === '' ? 'schema' : `schema.${path}`, message })),
        );
      }
      const now = ports.now();
      const type = { name, description, schema, archivedAt: archived ? now : null };
      const { row, created } = await saveEventType(ports.db, type, actor, now);
      return ok({ status: created ? 201 : 200, body: show(row) });
    },
  }),

  endpoint({
    id: 'listEventTypes',
    tag: TAG,
    summary: 'List the event types',
    role: 'viewer',
    method: 'GET',
    path: `${API}/event-types`,
    replies: { 200: { description: 'Ordered by name, archived ones included.', schema: listOf(shown) } },
    handle: async ({ ports }) => ok({ status: 200, body: { items: (await listEventTypes(ports.db)).map(show) } }),
  }),

  endpoint({
    id: 'getEventType',
    tag: TAG,
    summary: 'Read an event type',
    role: 'viewer',
    method: 'GET',
    path: PATH,
    replies: { 200: { description: 'With its schema.', schema: shown } },
    faults: ['event-type.not-found'],
    async handle({ ports, params: { type } }) {
      const row = await loadEventType(ports.db, type);
      if (row === undefined) return fail('event-type.not-found', `There is no event type ${type}.`);
      return ok({ status: 200, body: show(row) });
    },
  }),
];
