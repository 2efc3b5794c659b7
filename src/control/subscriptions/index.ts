/** What chains are subscribed to, and how that is going. */

import * as v from 'valibot';
import { API, endpoint } from '../endpoint.ts';
import { instant, iso, isoOrNull, listOf } from '../schemas.ts';
import { ok } from '../../core/errors.ts';
import type { SubscriptionStatus } from '../../runtime/subscriptions/index.ts';
import { NO_COUNTS, SUBSCRIPTION_STATES } from '../../runtime/subscriptions/store.ts';
import { recordAction } from '../../store/audit.ts';

const TAG = 'Subscriptions';
const PATH = `${API}/subscriptions/{chain}/{trigger}`;

const mishap = { at: instant, code: v.string(), message: v.string() };

const shown = v.strictObject({
  chain: v.string(),
  trigger: v.string(),
  to: v.string(),
  connection: v.nullable(v.string()),
  delivery: v.picklist(['at-least-once', 'at-most-once']),
  state: v.pipe(
    v.picklist([...SUBSCRIPTION_STATES, 'unknown']),
    v.description(
      '`opening`; `open`: the other side has confirmed it; `waiting`: to be opened again; `ended`: by the other side, until it is restarted; `unknown`: its object did not answer, or has not begun.',
    ),
  ),
  since: v.nullable(instant),
  opensAt: v.pipe(v.nullable(instant), v.description('When it is opened again, while it waits.')),
  lastEventAt: v.nullable(instant),
  error: v.pipe(v.nullable(v.strictObject(mishap)), v.description('Why it last ended.')),
  failedEvent: v.pipe(
    v.nullable(v.strictObject({ ...mishap, id: v.nullable(v.string()) })),
    v.description('The last event that could not start a run.'),
  ),
  cursor: v.pipe(v.nullable(v.string()), v.description('Where it goes on, in the words of the other side.')),
  counts: v.pipe(
    v.strictObject({
      events: v.number(),
      runs: v.number(),
      duplicates: v.number(),
      filtered: v.number(),
      failed: v.number(),
    }),
    v.description('Since the trigger listens to this; some seconds behind after a crash.'),
  ),
});

function show({ facts, connection, chain, trigger, to, delivery }: SubscriptionStatus) {
  return {
    ...{ chain, trigger, to, connection: connection ?? null, delivery },
    state: facts?.state ?? 'unknown',
    since: isoOrNull(facts?.since),
    opensAt: facts?.state === 'waiting' ? iso(facts.reopenAt) : null,
    lastEventAt: isoOrNull(facts?.lastEventAt),
    error: facts?.error ? { ...facts.error, at: iso(facts.error.at) } : null,
    failedEvent: facts?.failedEvent ? { ...facts.failedEvent, at: iso(facts.failedEvent.at) } : null,
    cursor: facts?.cursor ?? null,
    counts: facts?.counts ?? NO_COUNTS,
  };
}

export const subscriptions = [
  endpoint({
    id: 'listSubscriptions',
    tag: TAG,
    summary: 'List the subscriptions of all active chains',
    role: 'viewer',
    method: 'GET',
    path: `${API}/subscriptions`,
    replies: { 200: { description: 'Ordered by chain and trigger.', schema: listOf(shown) } },
    async handle({ ports }) {
      const all = await ports.subscriptions.list();
      return ok({ status: 200, body: { items: all.map(show) } });
    },
  }),

  endpoint({
    id: 'getSubscription',
    tag: TAG,
    summary: 'Read how a subscription is going',
    role: 'viewer',
    method: 'GET',
    path: PATH,
    replies: { 200: { description: 'As it is now.', schema: shown } },
    faults: ['subscription.not-found'],
    async handle({ ports, params }) {
      const status = await ports.subscriptions.read(params);
      return status.ok ? ok({ status: 200, body: show(status.value) }) : status;
    },
  }),

  endpoint({
    id: 'restartSubscription',
    tag: TAG,
    summary: 'Open a subscription anew',
    role: 'developer',
    method: 'POST',
    path: `${PATH}/restart`,
    query: v.strictObject({
      cursor: v.optional(
        v.pipe(
          v.picklist(['keep', 'forget']),
          v.description('`forget`: it goes on with what comes from now on. Default: where it was.'),
        ),
        'keep',
      ),
    }),
    replies: { 200: { description: 'It is being opened, also where the other side had ended it.', schema: shown } },
    faults: ['subscription.not-found'],
    async handle({ ports, actor, params, query: { cursor } }) {
      const status = await ports.subscriptions.restart(params, cursor === 'forget');
      if (!status.ok) return status;
      const subject = `${params.chain}/${params.trigger}`;
      const detail = { cursor };
      await recordAction(ports.db, { at: ports.now(), actor, action: 'subscription.restart', subject, detail });
      return ok({ status: 200, body: show(status.value) });
    },
  }),
];
