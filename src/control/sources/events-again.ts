/** Events once more: one by hand, or all that came to nothing. */

import * as v from 'valibot';
import { cursor, EVENTS, existing, TAG } from './events.ts';
import { endpoint } from '../endpoint.ts';
import { jsonBody } from '../request.ts';
import { fail, ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { recordAction } from '../../store/audit.ts';

const runs = v.array(v.strictObject({ run: v.string(), chain: v.string(), trigger: v.string() }));

const replayBody = v.strictObject({
  chain: v.optional(
    v.pipe(
      v.string(),
      v.description('Only this chain, whatever its trigger’s events and filter say. Default: all that want the event.'),
    ),
  ),
});

const recoverBody = v.strictObject({
  since: cursor('Events after it.'),
  before: cursor('Events before it: `next` of the previous call.'),
  limit: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIMITS.eventsPerRecover)),
    LIMITS.eventsPerRecover,
  ),
});

const KEY = /^[\x21-\x7e]{1,128}$/;

export const sourceEventsAgain = [
  endpoint({
    id: 'recoverEvents',
    tag: TAG,
    summary: 'Start anew what came to nothing',
    role: 'developer',
    method: 'POST',
    path: `${EVENTS}/recover`,
    body: jsonBody(recoverBody),
    replies: {
      200: {
        description:
          'Runs that failed, chains that could not be started, and ignored events that are wanted now, the newest first. Each failed run is made up for once, however often this is called. Call again with `next` as `before` until it is null.',
        schema: v.strictObject({
          looked: v.pipe(v.number(), v.integer(), v.description('Events that this call has looked at.')),
          recovered: v.pipe(v.number(), v.integer(), v.description('Runs that were started.')),
          items: v.array(v.strictObject({ id: v.string(), runs, error: v.nullable(v.string()) })),
          next: v.nullable(v.string()),
        }),
      },
    },
    faults: ['source.not-found'],
    async handle({ ports, actor, params: { name }, body: { since, before, limit } }) {
      if (since === undefined) {
        return fail('request.invalid', 'since: Is missing; give the instant from which on to recover.');
      }
      const known = await existing(ports, name);
      if (!known.ok) return known;
      const request = { after: since, limit, ...(before === undefined ? {} : { before }) };
      const { looked, items, next } = await ports.inbox.recover(name, request);
      const recovered = items.reduce((sum, item) => sum + item.runs.length, 0);
      await recordAction(ports.db, {
        at: ports.now(),
        actor,
        action: 'event.recover',
        subject: name,
        detail: { looked, recovered },
      });
      const shown = items.map(({ error, ...item }) => ({ ...item, error: error ?? null }));
      return ok({
        status: 200,
        body: { looked, recovered, items: shown, next: next === undefined ? null : String(next) },
      });
    },
  }),

  endpoint({
    id: 'replayEvent',
    tag: TAG,
    summary: 'Start new runs of an event',
    role: 'developer',
    method: 'POST',
    path: `${EVENTS}/{id}/replay`,
    body: jsonBody(replayBody, true),
    replies: {
      202: {
        description:
          'The runs are accepted. Each call starts new ones, unless it has the `Idempotency-Key` of an earlier call.',
        schema: v.strictObject({ runs }),
      },
    },
    faults: ['source.not-found', 'event.not-found', 'event.rejected', 'event.unwanted', 'run.busy'],
    async handle({ ports, actor, params: { name, id }, body: { chain }, request }) {
      const known = await existing(ports, name);
      if (!known.ok) return known;
      const idempotencyKey = request.headers.get('idempotency-key') ?? undefined;
      if (idempotencyKey !== undefined && !KEY.test(idempotencyKey)) {
        return fail('request.invalid', 'Idempotency-Key: Must be 1 to 128 visible characters.');
      }
      const replayed = await ports.inbox.replay(name, {
        id,
        ...(chain === undefined ? {} : { chain }),
        ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
      });
      if (!replayed.ok) return replayed;
      await recordAction(ports.db, { at: ports.now(), actor, action: 'event.replay', subject: `${name}/${id}` });
      return ok({ status: 202, body: { runs: replayed.value } });
    },
  }),
];
