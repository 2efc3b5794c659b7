/** Messages to an application: send them, look at them, send them again. */

import * as v from 'valibot';
import { findApplication, findEndpoint, pageOf, pageQuery, pageSchema } from './find.ts';
import { API, endpoint } from '../endpoint.ts';
import { jsonBody } from '../request.ts';
import { instant, iso } from '../schemas.ts';
import { fail, ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { channelNames, eventTypeName } from '../../core/outbound/settings.ts';
import { recordAction } from '../../store/audit.ts';

const TAG = 'Messages';
const PATH = `${API}/applications/{id}/messages`;

const body = v.strictObject({
  eventType: eventTypeName,
  payload: v.pipe(v.unknown(), v.description('JSON, sent as it is. It must match the schema of the event type.')),
  id: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^(?!msg_)[A-Za-z0-9][A-Za-z0-9_-]*$/),
      v.maxLength(128),
      v.description('The same id twice is one message. Receivers get it as `webhook-id`. Default: a new one.'),
    ),
  ),
  channels: v.optional(channelNames),
});

const accepted = v.strictObject({
  id: v.string(),
  duplicate: v.pipe(v.boolean(), v.description('There was a message of this id; nothing is sent anew.')),
});

const summary = {
  id: v.string(),
  eventType: v.string(),
  channels: v.array(v.string()),
  endpoints: v.pipe(v.array(v.string()), v.description('Those that it was for when it was accepted.')),
  createdAt: instant,
};

const notFound = (id: string) => fail('message.not-found', `The application has no message ${id}.`);

const operation = v.strictObject({
  type: v.picklist(['endpoint.failing', 'endpoint.disabled', 'message.exhausted']),
  at: instant,
  endpoint: v.string(),
  data: v.record(v.string(), v.unknown()),
});

export const messages = [
  endpoint({
    id: 'sendMessage',
    tag: TAG,
    summary: 'Send a message to an application',
    role: 'developer',
    method: 'POST',
    path: PATH,
    body: jsonBody(body, false, LIMITS.messagePayloadBytes),
    replies: { 202: { description: 'It is on disk, and goes to every endpoint that wants it.', schema: accepted } },
    faults: ['application.not-found', 'event-type.not-found', 'event-type.archived', 'message.invalid'],
    async handle({ ports, params: { id }, body: message }) {
      const sent = await ports.outbound.send(id, message);
      if (!sent.ok) return sent;
      return ok({ status: 202, body: sent.value, location: `${API}/applications/${id}/messages/${sent.value.id}` });
    },
  }),

  endpoint({
    id: 'listMessages',
    tag: TAG,
    summary: 'List the messages of an application, the newest first',
    role: 'viewer',
    method: 'GET',
    path: PATH,
    query: v.strictObject(pageQuery),
    replies: {
      200: {
        description: 'Without payloads. `next` is null on the last page.',
        schema: pageSchema(v.strictObject(summary)),
      },
    },
    faults: ['application.not-found'],
    async handle({ ports, params: { id }, query: { limit, after } }) {
      const found = await findApplication(ports, id);
      if (!found.ok) return found;
      const items = await ports.outbound.messages(found.value.id).list(after, limit + 1);
      const page = pageOf(items, limit, (item) => ({
        id: item.id,
        eventType: item.eventType,
        channels: item.channels,
        endpoints: item.targets,
        createdAt: iso(item.createdAt),
      }));
      return ok({ status: 200, body: page });
    },
  }),

  endpoint({
    id: 'getMessage',
    tag: TAG,
    summary: 'Read a message with its payload',
    role: 'viewer',
    method: 'GET',
    path: `${PATH}/{message}`,
    replies: {
      200: { description: 'As it was accepted.', schema: v.strictObject({ ...summary, payload: v.unknown() }) },
    },
    faults: ['application.not-found', 'message.not-found'],
    async handle({ ports, params: { id, message: name } }) {
      const found = await findApplication(ports, id);
      if (!found.ok) return found;
      const message = await ports.outbound.messages(found.value.id).read(name);
      if (message === null) return notFound(name);
      const { content, targets } = message;
      const { eventType, channels, createdAt } = content;
      const payload: unknown = JSON.parse(content.payload);
      const shown = { id: name, eventType, channels, endpoints: targets, createdAt: iso(createdAt), payload };
      return ok({ status: 200, body: shown });
    },
  }),

  endpoint({
    id: 'resendMessage',
    tag: TAG,
    summary: 'Deliver a message to an endpoint once more',
    role: 'developer',
    method: 'POST',
    path: `${PATH}/{message}/endpoints/{endpoint}/resend`,
    replies: {
      202: {
        description: 'It is delivered at once, whatever came of it before.',
        schema: v.strictObject({ id: v.string() }),
      },
    },
    faults: ['application.not-found', 'endpoint.not-found', 'endpoint.disabled', 'message.not-found'],
    async handle({ ports, actor, params: { id, message: name, endpoint: target } }) {
      const found = await findEndpoint(ports, id, target);
      if (!found.ok) return found;
      const { application, disabled } = found.value;
      if (disabled !== null) return fail('endpoint.disabled', 'The endpoint is disabled; enable it first.');
      if (!(await ports.outbound.messages(application).resend(application, name, target))) return notFound(name);
      const detail = { application, endpoint: target };
      await recordAction(ports.db, { at: ports.now(), actor, action: 'message.resend', subject: name, detail });
      return ok({ status: 202, body: { id: name } });
    },
  }),

  endpoint({
    id: 'listOperationalEvents',
    tag: TAG,
    summary: 'List what happened to the endpoints of an application, the newest first',
    role: 'viewer',
    method: 'GET',
    path: `${API}/applications/{id}/operational-events`,
    query: v.strictObject(pageQuery),
    replies: { 200: { description: '`next` is null on the last page.', schema: pageSchema(operation) } },
    faults: ['application.not-found'],
    async handle({ ports, params: { id }, query: { limit, after } }) {
      const found = await findApplication(ports, id);
      if (!found.ok) return found;
      const items = await ports.outbound.messages(found.value.id).operations(after, limit + 1);
      const page = pageOf(items, limit, ({ type, at, endpoint: target, data }) => ({
        type,
        at: iso(at),
        endpoint: target,
        data: JSON.parse(data) as unknown,
      }));
      return ok({ status: 200, body: page });
    },
  }),
];
