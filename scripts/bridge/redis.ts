/**
 * Redis over HTTP, in the protocol of @upstash/redis.
 *
 * Callers share one connection, so that commands which change or hold that connection are refused: a
 * `SELECT` of one caller would move all others to another database, a `BLPOP` would make them wait.
 */

import type { Server } from 'node:http';
import { BridgeError, createBridge, type BridgeAnswer, type BridgeCall } from './http.ts';
import { createRedisConnection, RedisError, type RedisConnection, type Reply } from './resp.ts';

export interface RedisBridgeOptions {
  readonly url: string;
  readonly token: string;
  readonly timeoutMilliseconds?: number;
}

const REPLY_BYTES = 64 * 1024 * 1024;
const PIPELINE_COMMANDS = 10_000;

const REFUSED = new Set(
  (
    'auth hello select swapdb client quit reset multi exec discard watch unwatch subscribe psubscribe ssubscribe ' +
    'unsubscribe punsubscribe sunsubscribe monitor sync psync replconf replicaof slaveof failover shutdown debug ' +
    'blpop brpop brpoplpush blmove blmpop bzpopmin bzpopmax bzmpop wait waitaof config acl module migrate cluster ' +
    'save bgsave bgrewriteaof'
  ).split(' '),
);

export function createRedisBridge(options: RedisBridgeOptions): Server {
  const connection = createRedisConnection({
    url: options.url,
    timeoutMilliseconds: options.timeoutMilliseconds ?? 30_000,
    replyBytes: REPLY_BYTES,
  });
  const server = createBridge({
    token: options.token,
    failure: (message) => ({ error: message }),
    answer: (call) => answer(connection, call),
  });
  server.once('close', () => connection.close());
  return server;
}

async function answer(connection: RedisConnection, call: BridgeCall): Promise<BridgeAnswer> {
  const base64 = call.headers['upstash-encoding'] === 'base64';
  const written = (reply: Reply): { readonly result: unknown } | { readonly error: string } =>
    reply instanceof RedisError ? { error: reply.message } : { result: resultOf(reply, base64) };
  const send = (commands: readonly (readonly string[])[]): Promise<readonly Reply[]> =>
    connection.send(commands).catch((error: unknown) => {
      throw new BridgeError(503, error instanceof Error ? error.message : 'Redis failed.');
    });

  if (call.path === '/') {
    const [reply = null] = await send([commandOf(call.body)]);
    return { status: reply instanceof RedisError ? 400 : 200, body: written(reply) };
  }
  if (call.path === '/pipeline') return { status: 200, body: (await send(commandsOf(call.body))).map(written) };
  if (call.path === '/multi-exec') {
    const replies = await send([['MULTI'], ...commandsOf(call.body), ['EXEC']]);
    const results = replies.at(-1);
    if (Array.isArray(results)) return { status: 200, body: results.map(written) };
    // EXECABORT: one of the commands could not be queued, and none ran.
    const cause = replies.find((reply) => reply instanceof RedisError);
    return { status: 400, body: { error: cause?.message ?? 'The transaction was refused.' } };
  }
  throw new BridgeError(404, 'Use /, /pipeline or /multi-exec.');
}

function commandsOf(body: unknown): string[][] {
  if (!Array.isArray(body) || body.length === 0) throw new BridgeError(400, 'Send an array of commands.');
  if (body.length > PIPELINE_COMMANDS) throw new BridgeError(400, `Send at most ${PIPELINE_COMMANDS} commands.`);
  return body.map(commandOf);
}

function commandOf(body: unknown): string[] {
  if (!Array.isArray(body) || body.length === 0) throw new BridgeError(400, 'Send a command as an array of its words.');
  const command = body.map((part: unknown) => {
    if (typeof part === 'string' || typeof part === 'number' || typeof part === 'boolean') return String(part);
    throw new BridgeError(400, 'A command consists of texts, numbers and booleans.');
  });
  const name = (command[0] ?? '').toLowerCase();
  const blocks = (name === 'xread' || name === 'xreadgroup') && command.some((part) => part.toLowerCase() === 'block');
  if (REFUSED.has(name) || blocks) throw new BridgeError(400, `ERR the bridge does not pass on ${name.toUpperCase()}`);
  return command;
}

/** Values are base64 where the caller asked for it; `OK` stays, as @upstash/redis expects. */
function resultOf(reply: Reply, base64: boolean): unknown {
  if (Array.isArray(reply)) return reply.map((item: Reply) => resultOf(item, base64));
  if (reply instanceof RedisError) return reply.message;
  if (typeof reply === 'bigint') return String(reply);
  if (reply === 'OK' || reply === null || typeof reply === 'number') return reply;
  if (typeof reply === 'string') return base64 ? Buffer.from(reply).toString('base64') : reply;
  return Buffer.isBuffer(reply) ? reply.toString(base64 ? 'base64' : 'utf8') : null;
}
