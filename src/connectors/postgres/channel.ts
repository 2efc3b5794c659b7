/** `postgres.channel`: what is sent by NOTIFY, over TCP. */

import * as v from 'valibot';
import { connection, transportOf } from './connection.ts';
import { defineSubscription, type SubscribedEvent } from '../kit/types.ts';
import { parseJson } from '../../core/data/exact-json.ts';
import { fail } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { addressOf, MALFORMED } from '../../drivers/postgres/driver.ts';
import { listen, type Notification } from '../../drivers/postgres/listen.ts';

const bytes = new TextEncoder();

const channelName = v.pipe(
  v.string(),
  v.minLength(1),
  v.check((name) => !name.includes('\0'), 'Must not hold a NUL.'),
  v.check(
    (name) => bytes.encode(name).length <= LIMITS.postgresChannelBytes,
    `Must have at most ${LIMITS.postgresChannelBytes} bytes: Postgres cuts longer names.`,
  ),
);

const eventOf = ({ channel: name, payload }: Notification): SubscribedEvent => {
  const read = parseJson(payload, 'last');
  return { body: read.ok ? read.value : payload, headers: { channel: name } };
};

export const channel = defineSubscription(
  {
    title: 'Listen to channels (LISTEN, NOTIFY)',
    delivery: 'at-most-once',
    params: v.strictObject({
      channels: v.pipe(
        v.array(channelName),
        v.minLength(1),
        v.maxLength(LIMITS.postgresChannels),
        v.description('Their exact names: `NOTIFY Orders` sends to `orders`, `NOTIFY "Orders"` to `Orders`.'),
      ),
    }),
    example: { channels: ['orders'] },
    run({ channels }, context) {
      const { settings, secrets } = context.connection;
      if (transportOf(settings, secrets) !== 'tcp') {
        const message = 'LISTEN needs a session of its own: give a connection with `transport` "tcp".';
        return Promise.resolve(fail('connection.invalid', message));
      }
      const address = addressOf(secrets.connectionString ?? '');
      if (address === undefined) return Promise.resolve({ ok: false, fault: MALFORMED });
      return listen({ ...address, tls: settings.tls }, [...new Set(channels)], {
        connect: context.connect,
        signal: context.signal,
        ready: () => context.ready(),
        deliver: (notifications) => context.deliver(notifications.map(eventOf)),
      });
    },
  },
  connection,
);
