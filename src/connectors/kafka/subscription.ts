/**
 * `kafka.topic`: the records of a topic, as a member of a consumer group.
 *
 * Guarantee: an offset is committed only once the run of its record is durable. Where the proxy forgets the consumer
 * instance, or a session breaks off, what was not committed comes again under the same ids.
 *
 * Redpanda's proxy begins with the oldest record whatever was committed; there the cursor tells what is done with.
 * Accepted weakness: it names `LIMITS.kafkaCursorPartitions` partitions; records of others are known by their ids.
 */

import * as v from 'valibot';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import {
  commit,
  createInstance,
  deleteInstance,
  poll,
  subscribe,
  type Instance,
} from '../../drivers/kafka/consumer.ts';
import { errorCodeOf, NO_INSTANCE } from '../../drivers/kafka/proxy.ts';
import type { IncomingRecord } from '../../drivers/kafka/topics.ts';
import { defineSubscription, type SubscriptionContext } from '../kit/types.ts';
import { connection, open } from './connection.ts';
import { as, eventOf, groupName, topicName } from './records.ts';

const params = v.strictObject({
  topic: topicName,
  group: v.pipe(groupName, v.description('Its committed offsets tell where to go on. Of its own for each trigger.')),
  from: v.optional(
    v.pipe(v.picklist(['earliest', 'latest']), v.description('Where a group without offsets begins.')),
    'earliest',
  ),
  as,
});
type Params = v.InferOutput<typeof params>;
type Context = SubscriptionContext<v.InferOutput<typeof connection.settings>, v.InferOutput<typeof connection.secrets>>;

const cursorSchema = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({
    /** The name of the instance: a session that broke off has left one of that name in the group. */
    instance: v.pipe(v.string(), v.regex(/^tidegate-[0-9a-f-]{36}$/)),
    /** By partition, the offset after the last record that is done with. */
    next: v.optional(v.record(v.string(), v.number()), {}),
  }),
);

interface State {
  readonly instance: string;
  readonly next: Map<number, number>;
}

function stateOf(cursor: string | undefined): State {
  const known = v.safeParse(cursorSchema, cursor);
  if (!known.success) return { instance: `tidegate-${crypto.randomUUID()}`, next: new Map() };
  const { instance, next } = known.output;
  return { instance, next: new Map(Object.entries(next).map(([partition, offset]) => [Number(partition), offset])) };
}

/** @param next only where the proxy does not honour what is committed: the owner may set offsets of a group back */
const cursorOf = ({ instance, next }: State, isOwnPlace: boolean): string =>
  JSON.stringify({
    instance,
    ...(isOwnPlace && { next: Object.fromEntries([...next].slice(-LIMITS.kafkaCursorPartitions)) }),
  });

function note({ next }: State, { partition, offset }: IncomingRecord): void {
  // Put last, so that a cursor that cannot name all partitions names those that are in use.
  next.delete(partition);
  next.set(partition, offset + 1);
}

/** Delivers and commits what came, in turns. */
async function hand(
  instance: Instance,
  came: readonly IncomingRecord[],
  state: State,
  form: Params['as'],
  context: Context,
) {
  const isOwnPlace = instance.proxy.kind === 'redpanda';
  const fresh = isOwnPlace ? came.filter(({ partition, offset }) => offset >= (state.next.get(partition) ?? 0)) : came;
  for (let start = 0; start < fresh.length && !context.signal.aborted; start += LIMITS.kafkaEventBatch) {
    const turn = fresh.slice(start, start + LIMITS.kafkaEventBatch);
    const delivered = { ...state, next: new Map(state.next) };
    const events = turn.map((record) => {
      note(delivered, record);
      return eventOf(record, form, cursorOf(delivered, isOwnPlace));
    });
    await context.deliver(events);
    const last = new Map<number, IncomingRecord>();
    for (const record of turn) {
      note(state, record);
      last.set(record.partition, record);
    }
    const committed = await commit(instance, [...last.values()]);
    if (!committed.ok) return committed;
  }
  return ok(undefined);
}

/** Resolves after the time, or when the signal aborts. */
const pause = (milliseconds: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    signal.addEventListener('abort', done);
  });

async function follow(
  instance: Instance,
  state: State,
  given: Params,
  context: Context,
  answered: () => void,
): Promise<Result<void>> {
  let timeoutMilliseconds: number = LIMITS.kafkaFirstPollMilliseconds;
  while (!context.signal.aborted) {
    const askedAt = context.now();
    const came = await poll(instance, timeoutMilliseconds);
    if (!came.ok) return came;
    answered();
    if (came.value.length > 0) {
      const handed = await hand(instance, came.value, state, given.as, context);
      if (!handed.ok) return handed;
    } else if (context.now() - askedAt < timeoutMilliseconds / 2) {
      // Nothing, and at once: of a member without partitions, or before a record that is larger than a poll takes.
      await pause(LIMITS.kafkaIdleMilliseconds, context.signal);
    }
    timeoutMilliseconds = LIMITS.kafkaPollMilliseconds;
  }
  return ok(undefined);
}

/** One consumer instance, until it ends. @returns whether it may be made anew, since the proxy had forgotten it */
async function session(state: State, given: Params, context: Context): Promise<Result<'again' | 'over'>> {
  const { group, topic, from } = given;
  const created = await createInstance(...open(context), { group, name: state.instance, from });
  if (!created.ok) return created;
  let isKnown = false;
  const answered = (): void => {
    isKnown = true;
    context.ready();
  };
  try {
    const subscribed = await subscribe(created.value, topic);
    if (!subscribed.ok) return subscribed;
    const followed = await follow(created.value, state, given, context, answered);
    if (followed.ok) return ok('over');
    // One that never answered is kept by another proxy than the one that is asked.
    if (errorCodeOf(followed.fault) !== NO_INSTANCE) return followed;
    return isKnown ? ok('again') : ELSEWHERE;
  } finally {
    await deleteInstance(created.value);
  }
}

const ELSEWHERE = fail(
  'upstream.unavailable',
  "Kafka's proxy does not know the consumer that it has just made; give the connection the `url` of one proxy.",
);

export const topicSubscription = defineSubscription(
  {
    title: 'Records of a topic',
    delivery: 'at-least-once',
    params,
    example: { topic: 'orders', group: 'tidegate-orders', as: 'json' },
    async run(given, context) {
      if (given.from === 'latest' && context.connection.settings.proxy === 'redpanda') {
        return fail('step.params', "`from`: Redpanda's proxy knows `earliest` only.");
      }
      const state = stateOf(context.cursor);
      let ended: Result<'again' | 'over'>;
      do {
        ended = await session(state, given, context);
      } while (ended.ok && ended.value === 'again' && !context.signal.aborted);
      // An end that was asked for is none that failed.
      return ended.ok || context.signal.aborted ? ok(undefined) : ended;
    },
  },
  connection,
);
