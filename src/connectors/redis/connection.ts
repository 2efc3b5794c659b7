/** How a Redis is reached: over TCP, or over HTTP (Upstash's REST protocol, or a bridge that speaks it). */

import * as v from 'valibot';
import { NEVER, refusalOf } from './commands.ts';
import { originOf, type ActionContext, type ConnectionFacts, type OpenConnection } from '../kit/types.ts';
import { fail, faultOf, ok, type Result } from '../../core/errors.ts';
import type { RedisDriver, ReplyOptions } from '../../drivers/redis/driver.ts';
import { createHttpDriver } from '../../drivers/redis/http.ts';
import type { Command } from '../../drivers/redis/resp.ts';
import type { RedisAddress } from '../../drivers/redis/session.ts';
import { createTcpDriver } from '../../drivers/redis/tcp.ts';

const commandNames = v.pipe(
  v.array(v.pipe(v.string(), v.regex(/^[a-z][\w.-]{0,63}$/i, 'Must be the name of a command.'))),
  v.maxLength(200),
);

const URL_FORM =
  /^(?:https?:\/\/[^\s?#@\\]+|rediss?:\/\/(?:[^\s:/?#@\\[\]%]+|\[[\da-f:.]+\])(?::\d{1,5})?(?:\/\d{0,5})?)$/i;

const settings = v.strictObject({
  url: v.pipe(
    v.string(),
    v.regex(
      URL_FORM,
      'Must be an absolute URL (rediss, redis, https or http) without user name, query and fragment; a path of redis:// is the number of a database.',
    ),
    v.description(
      'Over TCP `rediss://host:port/database` (TLS) or `redis://…` (in the clear); over HTTP the REST address that Upstash shows, or that of a bridge.',
    ),
  ),
  allow: v.optional(
    v.pipe(
      commandNames,
      v.check(
        (names) => !names.some((name) => NEVER.has(name.toLowerCase())),
        `No connection may allow ${[...NEVER].join(', ').toUpperCase()}.`,
      ),
      v.description(
        'Commands that `command`, `pipeline` and `transaction` may send beyond the usual, e.g. `JSON.GET`.',
      ),
    ),
  ),
  refuse: v.optional(
    v.pipe(
      commandNames,
      v.description('Commands that no action may send over this connection, e.g. `DEL`, `EVALSHA`.'),
    ),
  ),
});

const text = v.pipe(v.string(), v.minLength(1));

/** Checked as a whole when a connection is opened. */
const secrets = v.strictObject({
  token: v.optional(v.pipe(text, v.description('Over HTTP, required.'))),
  user: v.optional(v.pipe(text, v.description('Over TCP: a user of the ACL; the default one without.'))),
  password: v.optional(v.pipe(text, v.description('Over TCP, where the server asks for one.'))),
});

export const connection = { settings, secrets };
type Settings = v.InferOutput<typeof settings>;
type Secrets = v.InferOutput<typeof secrets>;
export type Context = ActionContext<Settings, Secrets>;

/** Undefined for an address of HTTP. */
function socketOf({ url }: Settings): Pick<RedisAddress, 'hostname' | 'port' | 'tls' | 'database'> | undefined {
  const parsed = URL.parse(url);
  if (parsed === null || !/^rediss?:$/.test(parsed.protocol)) return undefined;
  const { hostname, port, protocol, pathname } = parsed;
  return { hostname, port: Number(port || 6379), tls: protocol === 'rediss:', database: Number(pathname.slice(1)) };
}

export const isTcp = (of: Settings): boolean => socketOf(of) !== undefined;

const PING: Command = ['PING'];

export const facts: ConnectionFacts<Settings, Secrets> = {
  required: true,
  ...connection,
  origins: (of) => (isTcp(of) ? [] : [originOf(of.url)]),
  sockets(of) {
    const socket = socketOf(of);
    return socket === undefined ? [] : [{ hostname: socket.hostname, port: socket.port }];
  },
  probe: (of) => (refusalOf(PING, of) === undefined ? { action: 'command', params: { command: PING } } : undefined),
};

/** Where a session over TCP goes, with its login. Fault `connection.invalid`. */
export function addressOf({ settings: of, secrets }: OpenConnection<Settings, Secrets>): Result<RedisAddress> {
  const socket = socketOf(of);
  if (socket === undefined) return fail('connection.invalid', '`url`: this needs an address of redis:// or rediss://.');
  const { token, user, password } = secrets;
  if (token !== undefined)
    return fail('connection.invalid', '`token` is for HTTP; over TCP give `user` and `password`.');
  if (user !== undefined && password === undefined) return fail('connection.invalid', '`user` needs a `password`.');
  return ok({ ...socket, user, password });
}

export function open({ connection: opened, fetch, connect, signal, now }: Context): Result<RedisDriver> {
  const { settings: of, secrets } = opened;
  if (isTcp(of)) {
    const address = addressOf(opened);
    return address.ok ? ok(createTcpDriver(address.value, { connect, signal })) : address;
  }
  const { token, user, password } = secrets;
  if (token === undefined || user !== undefined || password !== undefined) {
    return fail('connection.invalid', 'Over HTTP give a `token`, and no `user` and `password`.');
  }
  return ok(createHttpDriver({ url: of.url, token }, { fetch, signal, now }));
}

/**
 * Sends a command of an action.
 * @param shape the output of the reply; may throw a FaultError where it is not what the command gives
 */
export async function send<T>(
  context: Context,
  command: Command,
  shape: (reply: unknown) => T,
  options: ReplyOptions = {},
): Promise<Result<T>> {
  const issue = refusalOf(command, context.connection.settings);
  if (issue !== undefined) return fail('step.params', issue);
  const driver = open(context);
  if (!driver.ok) return driver;
  const reply = await driver.value.command(command, options);
  if (!reply.ok) return reply;
  try {
    return ok(shape(reply.value));
  } catch (thrown) {
    return { ok: false, fault: faultOf(thrown) };
  }
}
