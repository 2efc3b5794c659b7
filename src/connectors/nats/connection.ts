/** How a server of NATS is reached, and with what it is told who we are. */

import * as v from 'valibot';
import { originOf, type ActionContext, type ConnectionFacts, type SubscriptionContext } from '../kit/types.ts';
import { JetStream } from '../../drivers/nats/jetstream.ts';
import { socketOf, webSocketUrlOf } from '../../drivers/nats/line.ts';
import type { NatsSession } from '../../drivers/nats/session.ts';
import { withNats } from '../../drivers/nats/use.ts';
import type { Result } from '../../core/errors.ts';

const settings = v.strictObject({
  url: v.pipe(
    v.string(),
    v.regex(
      /^(?:wss?:\/\/[^\s?#@\\]+|(?:nats|tls):\/\/[^\s/?#@\\]+\/?)$/,
      'Must be wss://host, tls://host:port, nats://host:port or ws://host, without user name, query and fragment.',
    ),
    v.description('`wss` and `tls` are encrypted, `ws` and `nats` are not. The port is 443 or 80, or else 4222.'),
  ),
  inboxPrefix: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[\w-]+(?:\.[\w-]+)*$/, 'Must be a subject without wildcards.'),
      v.description('Begins the subjects of replies, for an account that may not listen on `_INBOX.>`.'),
    ),
  ),
  domain: v.optional(v.pipe(v.string(), v.regex(/^[\w-]+$/), v.description('The JetStream domain.'))),
});

const text = v.optional(v.pipe(v.string(), v.minLength(1)));

const secrets = v.pipe(
  v.strictObject({
    user: text,
    password: text,
    token: text,
    seed: v.optional(v.pipe(v.string(), v.minLength(1), v.description('The seed of an nkey: `SU…`.'))),
    creds: v.optional(
      v.pipe(
        v.string(),
        v.regex(/BEGIN NATS USER JWT[^]*BEGIN USER NKEY SEED/, 'Must be a file of creds, with its JWT and its seed.'),
        v.description('The content of a `.creds` file.'),
      ),
    ),
  }),
  v.check(
    ({ user, token, seed, creds }) => [user, token, seed, creds].filter((one) => one !== undefined).length === 1,
    'Give one of user (with its password), token, seed and creds.',
  ),
  v.check(
    ({ user, password }) => (user === undefined) === (password === undefined),
    'user and password stand together.',
  ),
);

export const connection = { settings, secrets };
type Settings = v.InferOutput<typeof settings>;
type Secrets = v.InferOutput<typeof secrets>;
export type Context = ActionContext<Settings, Secrets>;
export type Listening = SubscriptionContext<Settings, Secrets>;

export const facts: ConnectionFacts<Settings, Secrets> = {
  required: true,
  ...connection,
  probe: () => ({ action: 'ping', params: {} }),
  origins: ({ url }) => {
    const web = webSocketUrlOf(url);
    return web === undefined ? [] : [originOf(web)];
  },
  sockets: ({ url }) => {
    const host = socketOf(url);
    return host === undefined ? [] : [host];
  },
};

type Wire = Pick<Context, 'fetch' | 'connect' | 'connection' | 'signal'>;

/** @param maximumBytes that the session may receive; `Infinity` for one that goes on forever */
export function inSession<T>(
  wire: Wire,
  use: (session: NatsSession) => Promise<T>,
  maximumBytes?: number,
): Promise<Result<T>> {
  const { fetch, connect, signal } = wire;
  const { settings: at, secrets: credentials } = wire.connection;
  const target = { url: at.url, credentials, inboxPrefix: at.inboxPrefix, maximumBytes };
  return withNats(target, { fetch, connect, signal }, use);
}

export const withJetStream = <T>(
  wire: Wire,
  use: (jetstream: JetStream) => Promise<T>,
  maximumBytes?: number,
): Promise<Result<T>> =>
  inSession(wire, (session) => use(new JetStream(session, wire.connection.settings.domain)), maximumBytes);
