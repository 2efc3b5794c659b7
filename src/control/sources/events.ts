/** The events of a source: what came, what became of it, and a stream of it. */

import * as v from 'valibot';
import { API, endpoint } from '../endpoint.ts';
import type { ControlPorts } from '../ports.ts';
import { instant, iso } from '../schemas.ts';
import { RUN_STATUSES } from '../../core/engine/record.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { EVENT_STATUSES, eventId, readCursor, textOf, type EventSummary } from '../../core/inbox/event.ts';
import { LIMITS } from '../../core/limits.ts';
import type { ShownEvent } from '../../runtime/inbox-object.ts';
import { loadSource } from '../../store/sources.ts';
import { toBase64 } from '../../vault/bytes.ts';

export const TAG = 'Sources';
export const EVENTS = `${API}/sources/{name}/events` as const;

/** A sequence number, however it is written. */
export const cursor = (description: string) =>
  v.optional(
    v.pipe(
      v.string(),
      v.description(`${description} The \`cursor\` of an event, or an instant.`),
      v.check(
        (text) => readCursor(text) !== undefined,
        'Must be the `cursor` of an event, or an instant as 2026-01-31T09:30:00Z.',
      ),
      v.transform((text) => readCursor(text) ?? 0),
    ),
  );

const summary = {
  id: v.string(),
  cursor: v.pipe(v.string(), v.description('Its place in lists and streams.')),
  status: v.pipe(
    v.picklist(EVENT_STATUSES),
    v.description(
      '`accepted`: runs were started, or will be; `ignored`: no chain wanted it; `failed`: a chain that wanted it could not be started; `rejected`: it was refused.',
    ),
  ),
  pending: v.pipe(v.boolean(), v.description('Its runs are not started yet.')),
  receivedAt: instant,
  deliveryId: v.nullable(v.string()),
  type: v.nullable(v.string()),
  bytes: v.pipe(v.number(), v.integer(), v.description('Size of the body.')),
  duplicates: v.pipe(v.number(), v.integer(), v.description('How often it came again.')),
  errors: v.array(v.strictObject({ chain: v.string(), trigger: v.string(), code: v.string(), message: v.string() })),
};

const run = { run: v.string(), chain: v.string(), trigger: v.string() };

const listed = v.strictObject({ ...summary, runs: v.array(v.strictObject(run)) });

const content = {
  query: v.string(),
  headers: v.pipe(v.record(v.string(), v.string()), v.description('Without credentials.')),
  body: v.optional(v.pipe(v.string(), v.description('Where it is text.'))),
  bodyBase64: v.optional(v.pipe(v.string(), v.description('Where it is not.'))),
};

const shown = v.strictObject({
  ...summary,
  ...content,
  truncated: v.pipe(v.boolean(), v.description('Of a refused delivery only the beginning of the body is kept.')),
  verification: v.strictObject({ ok: v.boolean(), scheme: v.string(), reason: v.nullable(v.string()) }),
  runs: v.array(
    v.strictObject({
      ...run,
      status: v.pipe(v.nullable(v.picklist(RUN_STATUSES)), v.description('Null where the run is not kept any more.')),
      createdAt: v.nullable(instant),
      endedAt: v.nullable(instant),
    }),
  ),
});

/** One event of the stream. */
const streamed = v.strictObject({
  id: v.string(),
  receivedAt: instant,
  type: v.nullable(v.string()),
  deliveryId: v.string(),
  ...content,
});

const list = v.strictObject({
  status: v.optional(
    v.pipe(
      v.picklist([...EVENT_STATUSES, 'duplicate', 'pending']),
      v.description('`duplicate`: came more than once; `pending`: its runs are not started yet.'),
    ),
  ),
  type: v.optional(v.string()),
  query: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(256), v.description('A part of the body.'))),
  after: cursor('Only events after it.'),
  before: cursor('Only events before it.'),
  limit: v.optional(
    v.pipe(v.string(), v.regex(/^[1-9]\d{0,3}$/), v.transform(Number), v.maxValue(LIMITS.eventsPerPage)),
    '50',
  ),
});

/** Fault `source.not-found`: events outlive their source, but are shown to nobody then. */
export async function existing({ db }: Pick<ControlPorts, 'db'>, name: string): Promise<Result<null>> {
  const row = await loadSource(db, name);
  return row === undefined ? fail('source.not-found', `There is no webhook source named ${name}.`) : ok(null);
}

const showSummary = ({ sequence, outcome, refusal: _refusal, receivedAt, ...event }: EventSummary) => ({
  ...event,
  id: eventId(sequence),
  cursor: String(sequence),
  receivedAt: iso(receivedAt),
  ...outcome,
});

async function show(ports: ControlPorts, { summary: event, content: kept }: ShownEvent) {
  const headers = JSON.parse(kept.headers) as Record<string, string>;
  const text = textOf(kept.body, headers['content-type'] ?? null);
  const runs = await Promise.all(
    event.outcome.runs.map(async (started) => {
      const record = await ports.getRun(started.run);
      if (!record.ok) return { ...started, status: null, createdAt: null, endedAt: null };
      const { status, createdAt, endedAt } = record.value;
      return { ...started, status, createdAt: iso(createdAt), endedAt: endedAt === undefined ? null : iso(endedAt) };
    }),
  );
  return {
    ...showSummary(event),
    query: kept.query,
    headers,
    ...(text === undefined ? { bodyBase64: toBase64(kept.body) } : { body: text }),
    truncated: event.status === 'rejected' && kept.body.byteLength < event.bytes,
    verification: { ok: event.refusal === null, scheme: kept.scheme, reason: event.refusal },
    runs,
  };
}

export const sourceEvents = [
  endpoint({
    id: 'listEvents',
    tag: TAG,
    summary: 'List the events of a source, the newest first',
    role: 'viewer',
    method: 'GET',
    path: EVENTS,
    query: list,
    replies: {
      200: {
        description:
          'Give `next` as `before` for the next page; it is null on the last. With a filter a page may hold fewer than `limit`, because only so many events are looked through for one page.',
        schema: v.strictObject({ items: v.array(listed), next: v.nullable(v.string()) }),
      },
    },
    faults: ['source.not-found'],
    async handle({ ports, params: { name }, query }) {
      const known = await existing(ports, name);
      if (!known.ok) return known;
      const { limit, status, type, query: part, after, before } = query;
      const { items, next } = await ports.inbox.list(name, {
        limit,
        ...(status === undefined ? {} : { status }),
        ...(type === undefined ? {} : { type }),
        ...(part === undefined ? {} : { query: part }),
        ...(after === undefined ? {} : { after }),
        ...(before === undefined ? {} : { before }),
      });
      return ok({
        status: 200,
        body: { items: items.map(showSummary), next: next === undefined ? null : String(next) },
      });
    },
  }),

  endpoint({
    id: 'watchEvents',
    tag: TAG,
    summary: 'Listen to the events of a source',
    role: 'viewer',
    method: 'GET',
    path: `${EVENTS}/stream`,
    query: v.strictObject({ after: cursor('Begins after it; default: with what comes from now on.') }),
    replies: {
      200: {
        description:
          'Server-sent events, each with the JSON below as its data and its cursor as its id: first those after the cursor, then those that come. `Last-Event-ID` goes before `after`. Refused deliveries are left out.',
        schema: streamed,
        mediaType: 'text/event-stream',
      },
    },
    faults: ['source.not-found', 'inbox.busy'],
    async handle({ ports, params: { name }, query: { after }, request }) {
      const known = await existing(ports, name);
      if (!known.ok) return known;
      const last = readCursor(request.headers.get('last-event-id') ?? '');
      const stream = await ports.inbox.stream(name, last ?? after);
      return stream.ok ? ok({ status: 200, response: stream.value }) : stream;
    },
  }),

  endpoint({
    id: 'getEvent',
    tag: TAG,
    summary: 'Read an event with its content and its runs',
    role: 'viewer',
    method: 'GET',
    path: `${EVENTS}/{id}`,
    replies: { 200: { description: 'As it was received, without credentials.', schema: shown } },
    faults: ['source.not-found', 'event.not-found'],
    async handle({ ports, params: { name, id } }) {
      const known = await existing(ports, name);
      if (!known.ok) return known;
      const event = await ports.inbox.read(name, id);
      return event.ok ? ok({ status: 200, body: await show(ports, event.value) }) : event;
    },
  }),
];
