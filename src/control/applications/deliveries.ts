/** The delivery log of an endpoint, its figures, and what delivers anew. */

import * as v from 'valibot';
import { findApplication, findEndpoint, pageOf, pageQuery, pageSchema } from './find.ts';
import { API, endpoint } from '../endpoint.ts';
import type { ControlPorts } from '../ports.ts';
import { jsonBody } from '../request.ts';
import { instant, iso, isoOrNull } from '../schemas.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import type { Attempt } from '../../runtime/outbound/delivery.ts';
import type { Progress } from '../../runtime/outbound/objects.ts';
import type { Delivery, DeliveryState } from '../../runtime/outbound/delivery-store.ts';
import { recordAction } from '../../store/audit.ts';
import { listEndpoints, type EndpointRow } from '../../store/outbound-endpoints.ts';

const TAG = 'Deliveries';
const PATH = `${API}/applications/{id}/endpoints/{endpoint}`;

const STATUSES = ['pending', 'delivered', 'failed'] as const;

const attempt = v.strictObject({
  at: instant,
  milliseconds: v.number(),
  status: v.nullable(v.pipe(v.number(), v.description('Null where no reply came.'))),
  error: v.nullable(v.string()),
  headers: v.record(v.string(), v.string()),
  body: v.pipe(v.string(), v.description('The beginning of the reply’s body.')),
});

const delivery = v.strictObject({
  message: v.string(),
  eventType: v.string(),
  status: v.picklist(STATUSES),
  nextAttemptAt: v.nullable(instant),
  attempts: v.array(attempt),
  /** Of the message. */
  createdAt: instant,
});

const showAttempt = ({ at, milliseconds, status, error, headers, body }: Attempt) => ({
  at: iso(at),
  milliseconds,
  status: status ?? null,
  error: error ?? null,
  headers: headers ?? {},
  body: body ?? '',
});

const statusOf = (state: DeliveryState) => (state === 'new' || state === 'retry' ? 'pending' : state);

const show = ({ message, eventType, state, nextAt, attempts, createdAt }: Delivery) => ({
  message,
  eventType,
  status: statusOf(state),
  nextAttemptAt: isoOrNull(nextAt),
  attempts: attempts.map(showAttempt),
  createdAt: iso(createdAt),
});

const listQuery = v.strictObject({
  ...pageQuery,
  status: v.optional(v.picklist(['delivered', 'failed'])),
});

const period = v.strictObject({
  since: v.pipe(instant, v.description('Messages accepted from then on.')),
  until: v.optional(v.pipe(instant, v.description('And before then. Default: now.'))),
});

const progress = v.strictObject({
  count: v.pipe(v.number(), v.description('Deliveries that begin anew.')),
  next: v.nullable(v.pipe(instant, v.description('Call again with this as `since`, where it is not null.'))),
});

/** A job on the messages of a period. */
const job = (
  facts: {
    readonly id: string;
    readonly path: 'recover' | 'replay-missing';
    readonly summary: string;
    readonly action: string;
  },
  work: (ports: ControlPorts, row: EndpointRow, since: number, until: number) => Promise<Progress>,
) =>
  endpoint({
    id: facts.id,
    tag: TAG,
    summary: facts.summary,
    role: 'developer',
    method: 'POST',
    path: `${PATH}/${facts.path}`,
    body: jsonBody(period),
    replies: { 202: { description: 'They are delivered from now on.', schema: progress } },
    faults: ['application.not-found', 'endpoint.not-found', 'endpoint.disabled'],
    async handle({ ports, actor, params: { id, endpoint: name }, body: { since, until } }) {
      const found = await findEndpoint(ports, id, name);
      if (!found.ok) return found;
      const row = found.value;
      if (row.disabled !== null) return fail('endpoint.disabled', 'The endpoint is disabled; enable it first.');
      const to = until === undefined ? ports.now() + 1 : Date.parse(until);
      const done = await work(ports, row, Date.parse(since), to);
      const detail = { application: row.application, since, ...(until !== undefined && { until }), count: done.count };
      await recordAction(ports.db, { at: ports.now(), actor, action: facts.action, subject: row.id, detail });
      return ok({ status: 202, body: { count: done.count, next: isoOrNull(done.next) } });
    },
  });

export const deliveries = [
  endpoint({
    id: 'listDeliveries',
    tag: TAG,
    summary: 'List the deliveries to an endpoint, the newest message first',
    role: 'viewer',
    method: 'GET',
    path: `${PATH}/deliveries`,
    query: listQuery,
    replies: {
      200: { description: 'With their attempts. `next` is null on the last page.', schema: pageSchema(delivery) },
    },
    faults: ['application.not-found', 'endpoint.not-found'],
    async handle({ ports, params: { id, endpoint: name }, query: { limit, after, status } }) {
      const found = await findEndpoint(ports, id, name);
      if (!found.ok) return found;
      const items = await ports.outbound.endpoint(name).list(after, status, limit + 1);
      return ok({ status: 200, body: pageOf(items, limit, show) });
    },
  }),

  endpoint({
    id: 'listDeliveriesOfMessage',
    tag: TAG,
    summary: 'List the deliveries of a message',
    role: 'viewer',
    method: 'GET',
    path: `${API}/applications/{id}/messages/{message}/deliveries`,
    replies: {
      200: {
        description: 'One for each endpoint that it came to.',
        schema: v.strictObject({ items: v.array(v.strictObject({ endpoint: v.string(), ...delivery.entries })) }),
      },
    },
    faults: ['application.not-found', 'message.not-found'],
    async handle({ ports, params: { id, message } }) {
      const items = await deliveriesOf(ports, id, message);
      return items.ok ? ok({ status: 200, body: { items: items.value } }) : items;
    },
  }),

  job(
    {
      id: 'recoverDeliveries',
      path: 'recover',
      summary: 'Deliver everything anew that failed for good',
      action: 'endpoint.recover',
    },
    ({ outbound }, row, since, until) => outbound.endpoint(row.id).recover(since, until),
  ),

  job(
    {
      id: 'replayMissing',
      path: 'replay-missing',
      summary: 'Deliver what the endpoint would get today and never got',
      action: 'endpoint.replay-missing',
    },
    ({ outbound }, { application, id }, since, until) =>
      outbound.messages(application).replayMissing(application, id, since, until),
  ),

  endpoint({
    id: 'getEndpointStatistics',
    tag: TAG,
    summary: 'Read the figures of an endpoint',
    role: 'viewer',
    method: 'GET',
    path: `${PATH}/statistics`,
    query: v.strictObject({
      hours: v.optional(v.pipe(v.string(), v.regex(/^[1-9]\d{0,2}$/), v.transform(Number), v.maxValue(720)), '24'),
    }),
    replies: {
      200: {
        description: 'By hour, the oldest first; hours without attempts are left out.',
        schema: v.strictObject({
          waiting: v.pipe(v.number(), v.description('Deliveries that are still to be tried.')),
          failingSince: v.nullable(instant),
          circuit: v.picklist(['closed', 'open', 'half-open']),
          hours: v.array(
            v.strictObject({
              hour: instant,
              attempts: v.number(),
              delivered: v.number(),
              failed: v.pipe(v.number(), v.description('Deliveries whose schedule was used up.')),
              averageMilliseconds: v.number(),
            }),
          ),
        }),
      },
    },
    faults: ['application.not-found', 'endpoint.not-found'],
    async handle({ ports, params: { id, endpoint: name }, query: { hours } }) {
      const found = await findEndpoint(ports, id, name);
      if (!found.ok) return found;
      const figures = await ports.outbound.endpoint(name).figures(ports.now() - hours * 3_600_000);
      const { waiting, failingSince, circuit } = figures;
      const shown = figures.hours.map(({ hour, attempts, delivered, failed, milliseconds }) => ({
        hour: iso(hour),
        attempts,
        delivered,
        failed,
        averageMilliseconds: attempts === 0 ? 0 : Math.round(milliseconds / attempts),
      }));
      return ok({ status: 200, body: { waiting, failingSince: isoOrNull(failingSince), circuit, hours: shown } });
    },
  }),
];

/** Also of endpoints that the message came to later, by a replay. */
async function deliveriesOf(ports: ControlPorts, id: string, message: string): Promise<Result<readonly unknown[]>> {
  const found = await findApplication(ports, id);
  if (!found.ok) return found;
  const application = found.value.id;
  const sequence = await ports.outbound.messages(application).sequenceOf(message);
  if (sequence === null) return fail('message.not-found', `The application has no message ${message}.`);
  const endpoints = await listEndpoints(ports.db, application);
  const delivered = await Promise.all(
    endpoints.map(async (row) => {
      const one = await ports.outbound.endpoint(row.id).delivery(sequence);
      return one === null ? [] : [{ endpoint: row.id, ...show(one) }];
    }),
  );
  return ok(delivered.flat());
}
