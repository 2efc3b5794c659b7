/**
 * What a chain may listen to: channels (Pub/Sub), and streams as a consumer of a group. Over TCP.
 *
 * Guarantee of `stream`: an entry is acknowledged only once its run is durable; what this consumer, or a dead one of
 * the same group, left unacknowledged is delivered again. Accepted weakness of `channel`: what is published while
 * nobody listens, or while deliveries lag so far behind that the server cuts the session, is lost.
 */

import * as v from 'valibot';
import { refusalOf } from './commands.ts';
import { addressOf, connection } from './connection.ts';
import { claimOf, readOf, type Entry } from './shapes.ts';
import { key } from './values.ts';
import { defineSubscription, type SubscribedEvent, type Subscription, type SubscriptionContext } from '../kit/types.ts';
import { fail, fault, FaultError, faultOf, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { redisFault } from '../../drivers/redis/driver.ts';
import { Push, RedisError, type Command, type Reply } from '../../drivers/redis/resp.ts';
import { isLost, RedisSession, type SessionOptions } from '../../drivers/redis/session.ts';
import { shown } from '../../drivers/redis/tcp.ts';

type Settings = v.InferOutput<typeof connection.settings>;
type Secrets = v.InferOutput<typeof connection.secrets>;
type Context = SubscriptionContext<Settings, Secrets>;

/** The session for as long as `listen` runs. That the signal or the other side ends it is no fault. */
async function withSession(
  context: Context,
  commands: readonly string[],
  options: SessionOptions,
  listen: (session: RedisSession, ready: () => void) => Promise<void>,
): Promise<Result<void>> {
  const { signal, connect } = context;
  const address = addressOf(context.connection);
  if (!address.ok) return address;
  for (const name of commands) {
    const issue = refusalOf([name], context.connection.settings);
    if (issue !== undefined) return fail('connection.invalid', issue);
  }
  let session: RedisSession | undefined;
  let isReady = false;
  const ready = (): void => {
    isReady = true;
    context.ready();
  };
  try {
    session = await RedisSession.open(address.value, { connect, signal }, { ...options, maximumBytes: Infinity });
    await listen(session, ready);
    return ok(undefined);
  } catch (thrown) {
    if (signal.aborted || (isReady && isLost(thrown))) return ok(undefined);
    return { ok: false, fault: faultOf(thrown) };
  } finally {
    session?.close();
  }
}

/** @throws FaultError for a command that fails, or that is not answered in time */
async function ask(session: RedisSession, command: Command, waitMilliseconds = 0): Promise<unknown> {
  session.write([command]);
  const reply = await session.next(waitMilliseconds + LIMITS.redisAnswerMilliseconds);
  if (reply === undefined) throw silent();
  if (reply instanceof RedisError) throw new FaultError(redisFault(reply.message));
  return shown(reply, false);
}

const silent = (): FaultError => new FaultError(fault('upstream.timeout', 'Redis does not answer any more.'));

const channelParams = v.pipe(
  v.strictObject({
    channels: v.optional(v.pipe(v.array(key), v.maxLength(1_000)), []),
    patterns: v.optional(
      v.pipe(v.array(key), v.maxLength(100), v.description('Channels by pattern, e.g. `orders.*`.')),
      [],
    ),
    parse: v.optional(
      v.pipe(
        v.picklist(['text', 'json', 'base64']),
        v.description('What a message becomes; with `json` one that is none stays text.'),
      ),
      'text',
    ),
  }),
  v.check(({ channels, patterns }) => channels.length + patterns.length > 0, 'Name a channel or a pattern.'),
);

type Parse = v.InferOutput<typeof channelParams>['parse'];

function bodyOf(message: Reply, parse: Parse): unknown {
  const text = shown(message, parse === 'base64');
  if (parse !== 'json' || typeof text !== 'string') return text;
  try {
    const value: unknown = JSON.parse(text);
    return value;
  } catch {
    return text;
  }
}

/** Undefined for what is no message, as the answer to SUBSCRIBE is not. */
function messageOf(push: Push, parse: Parse): SubscribedEvent | undefined {
  const [kind, ...rest] = push.items.map((item) => shown(item, false));
  const isByPattern = kind === 'pmessage';
  if (kind !== 'message' && !isByPattern) return undefined;
  const [pattern, channel] = isByPattern ? rest : [undefined, rest[0]];
  return {
    body: bodyOf(push.items.at(-1) ?? null, parse),
    headers: { channel: String(channel), ...(pattern !== undefined && { pattern: String(pattern) }) },
  };
}

async function listenToChannels(
  { channels, patterns, parse }: v.InferOutput<typeof channelParams>,
  session: RedisSession,
  ready: () => void,
  deliver: Context['deliver'],
): Promise<void> {
  session.write([
    ...(channels.length > 0 ? [['SUBSCRIBE', ...channels]] : []),
    ...(patterns.length > 0 ? [['PSUBSCRIBE', ...patterns]] : []),
  ]);
  let unconfirmed = channels.length + patterns.length;
  let isAsked = false;
  for (;;) {
    const isWaiting = unconfirmed > 0 || isAsked;
    const first = await session.next(isWaiting ? LIMITS.redisAnswerMilliseconds : LIMITS.redisIdleMilliseconds);
    if (first === undefined) {
      if (isWaiting) throw silent();
      // Otherwise a server that vanished would never be missed.
      session.write([['PING']]);
      isAsked = true;
      continue;
    }
    isAsked = false;
    const events: SubscribedEvent[] = [];
    for (const reply of [first, ...session.received()]) {
      if (reply instanceof RedisError) throw new FaultError(redisFault(reply.message));
      if (!(reply instanceof Push)) continue;
      const event = messageOf(reply, parse);
      if (event !== undefined) events.push(event);
      else if ((unconfirmed -= 1) === 0) ready();
    }
    if (events.length > 0) await deliver(events);
  }
}

const streamParams = v.strictObject({
  stream: key,
  group: v.pipe(key, v.description('A group of consumers; made where it is missing.')),
  consumer: v.optional(key, 'tidegate'),
  from: v.optional(v.pipe(v.picklist(['new', 'start']), v.description('Where a group begins that is made.')), 'new'),
  batch: v.optional(
    v.pipe(
      v.number(),
      v.integer(),
      v.minValue(1),
      v.maxValue(LIMITS.redisStreamEntries),
      v.description('Entries that are taken at a time.'),
    ),
    100,
  ),
  claimAfterSeconds: v.optional(
    v.pipe(
      v.number(),
      v.integer(),
      v.minValue(1),
      v.maxValue(7 * 24 * 3600),
      v.description('When entries that another consumer of the group took and did not acknowledge are taken over.'),
    ),
    300,
  ),
});

type StreamParams = v.InferOutput<typeof streamParams>;

const isWhole = (entry: Entry): entry is Entry & { fields: object } => entry.fields !== null;

/** Delivers, then acknowledges; what is left of entries that were deleted is acknowledged, too. */
async function take(
  entries: readonly Entry[],
  { stream, group }: StreamParams,
  session: RedisSession,
  deliver: Context['deliver'],
): Promise<void> {
  if (entries.length === 0) return;
  const events = entries.filter(isWhole).map(({ id, fields }) => ({ id, body: fields, headers: { stream, group } }));
  if (events.length > 0) await deliver(events);
  await ask(session, ['XACK', stream, group, ...entries.map(({ id }) => id)]);
}

async function claim(params: StreamParams, session: RedisSession, deliver: Context['deliver']): Promise<void> {
  const { stream, group, consumer, batch, claimAfterSeconds } = params;
  let next = '0-0';
  do {
    const idle = claimAfterSeconds * 1_000;
    const claimed = claimOf(await ask(session, ['XAUTOCLAIM', stream, group, consumer, idle, next, 'COUNT', batch]));
    await take(claimed.entries, params, session, deliver);
    next = claimed.next;
  } while (next !== '0-0');
}

async function makeGroup({ stream, group, from }: StreamParams, session: RedisSession): Promise<void> {
  const command = ['XGROUP', 'CREATE', stream, group, from === 'new' ? '$' : '0', 'MKSTREAM'];
  const [reply] = await session.send([command]);
  if (reply instanceof RedisError && !reply.message.startsWith('BUSYGROUP')) {
    throw new FaultError(redisFault(reply.message));
  }
}

async function listenToStream(
  params: StreamParams,
  session: RedisSession,
  ready: () => void,
  { deliver, now, signal }: Context,
): Promise<void> {
  const { stream, group, consumer, batch, claimAfterSeconds } = params;
  await makeGroup(params, session);
  ready();
  const read = async (from: '0' | '>', block: number): Promise<Entry[]> => {
    const wait = block === 0 ? [] : ['BLOCK', block];
    const words = ['XREADGROUP', 'GROUP', group, consumer, 'COUNT', batch, ...wait, 'STREAMS', stream, from];
    return readOf(await ask(session, words, block));
  };
  // What this consumer took before it was cut off.
  for (let left = await read('0', 0); left.length > 0; left = await read('0', 0)) {
    await take(left, params, session, deliver);
  }
  const period = Math.min(claimAfterSeconds * 1_000, LIMITS.redisIdleMilliseconds);
  let claimAt = now();
  while (!signal.aborted) {
    if (now() >= claimAt) {
      await claim(params, session, deliver);
      claimAt = now() + period;
    }
    await take(await read('>', period), params, session, deliver);
  }
}

export const subscriptions: Readonly<Record<string, Subscription>> = {
  channel: defineSubscription(
    {
      title: 'Messages of channels',
      delivery: 'at-most-once',
      params: channelParams,
      example: { channels: ['orders'], parse: 'json' },
      run: (params, context) =>
        withSession(context, ['SUBSCRIBE', 'PSUBSCRIBE'], { protocol: 3 }, (session, ready) =>
          listenToChannels(params, session, ready, (events) => context.deliver(events)),
        ),
    },
    connection,
  ),
  stream: defineSubscription(
    {
      title: 'Entries of a stream',
      delivery: 'at-least-once',
      params: streamParams,
      example: { stream: 'orders', group: 'tidegate', from: 'start' },
      run: (params, context) =>
        withSession(context, ['XREADGROUP', 'XACK', 'XAUTOCLAIM', 'XGROUP'], {}, (session, ready) =>
          listenToStream(params, session, ready, context),
        ),
    },
    connection,
  ),
};
