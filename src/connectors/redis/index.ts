/** `redis.*`: any Redis, over Upstash's REST protocol; docs/bridges.md tells how one gets to speak it. */

import * as v from 'valibot';
import { commandIssue } from './commands.ts';
import { defineAction, originOf, type ActionContext, type Connector } from '../kit/types.ts';
import { createRedisDriver, type Command } from '../../drivers/redis/redis.ts';
import { jsonOf } from '../../drivers/kit/exchange.ts';
import { fail, ok, type Result } from '../../core/errors.ts';

const settings = v.strictObject({
  url: v.pipe(
    v.string(),
    v.regex(/^https?:\/\/[^\s?#@\\]+$/, 'Must be an absolute URL without user name, query and fragment.'),
    v.description('The REST address that Upstash shows, or that of a bridge.'),
  ),
});
const secrets = v.strictObject({ token: v.pipe(v.string(), v.minLength(1)) });

const connection = { settings, secrets };
type Settings = v.InferOutput<typeof settings>;
type Context = ActionContext<Settings, v.InferOutput<typeof secrets>>;

const key = v.pipe(v.string(), v.minLength(1));
const ttlSeconds = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10 * 365 * 24 * 3600));
const command = v.pipe(
  v.array(v.union([v.string(), v.number()])),
  v.minLength(1),
  v.description('The words of one command, e.g. ["HSET", "user:1", "name", "Ada"].'),
);

const open = (context: Context) =>
  createRedisDriver(
    { url: context.connection.settings.url, token: context.connection.secrets.token },
    { fetch: context.fetch, signal: context.signal, now: context.now },
  );

/** Sends one command and shapes its reply. */
async function send<T>(context: Context, words: Command, shape: (reply: unknown) => T): Promise<Result<T>> {
  const reply = await open(context).command(words);
  return reply.ok ? ok(shape(reply.value)) : reply;
}

export const redis: Connector = {
  name: 'redis',
  title: 'Redis',
  connection: {
    required: true,
    ...connection,
    origins: ({ url }: Settings) => [originOf(url)],
    probe: () => ({ action: 'command', params: { command: ['PING'] } }),
  },
  actions: {
    get: defineAction(
      {
        title: 'Get a value',
        effect: 'idempotent',
        params: v.strictObject({
          key,
          parse: v.optional(v.picklist(['text', 'json']), 'text'),
        }),
        example: { key: 'session:42', parse: 'json' },
        async run({ key: name, parse }, context) {
          const reply = await open(context).command(['GET', name]);
          if (!reply.ok) return reply;
          if (parse === 'text' || typeof reply.value !== 'string') return ok({ value: reply.value });
          const value = jsonOf('Redis', reply.value);
          return value.ok ? ok({ value: value.value }) : fail('upstream.invalid', `The value of ${name} is not JSON.`);
        },
      },
      connection,
    ),
    set: defineAction(
      {
        title: 'Set a value',
        effect: 'idempotent',
        params: v.strictObject({
          key,
          value: v.pipe(v.unknown(), v.description('A text is stored as it is, anything else as JSON.')),
          ttlSeconds: v.optional(ttlSeconds),
          ifNotExists: v.optional(
            v.pipe(v.boolean(), v.description('Leaves a value that is there; `stored` is then false.')),
          ),
        }),
        example: { key: 'session:42', value: { user: 7 }, ttlSeconds: 3600 },
        run: (params, context) =>
          send(
            context,
            [
              'SET',
              params.key,
              typeof params.value === 'string' ? params.value : (JSON.stringify(params.value) ?? 'null'),
              ...(params.ttlSeconds === undefined ? [] : ['EX', params.ttlSeconds]),
              ...(params.ifNotExists === true ? ['NX'] : []),
            ],
            (reply) => ({ stored: reply === 'OK' }),
          ),
      },
      connection,
    ),
    delete: defineAction(
      {
        title: 'Delete keys',
        effect: 'idempotent',
        params: v.strictObject({ keys: v.pipe(v.array(key), v.minLength(1), v.maxLength(1_000)) }),
        example: { keys: ['session:42'] },
        run: ({ keys }, context) => send(context, ['DEL', ...keys], (deleted) => ({ deleted })),
      },
      connection,
    ),
    increment: defineAction(
      {
        title: 'Increment a number',
        effect: 'external',
        params: v.strictObject({ key, by: v.optional(v.pipe(v.number(), v.integer()), 1) }),
        example: { key: 'visits', by: 1 },
        run: ({ key: name, by }, context) => send(context, ['INCRBY', name, by], (value) => ({ value })),
      },
      connection,
    ),
    expire: defineAction(
      {
        title: 'Let a key expire',
        effect: 'idempotent',
        params: v.strictObject({ key, ttlSeconds }),
        example: { key: 'session:42', ttlSeconds: 60 },
        run: (params, context) =>
          send(context, ['EXPIRE', params.key, params.ttlSeconds], (reply) => ({ found: reply === 1 })),
      },
      connection,
    ),
    command: defineAction(
      {
        title: 'Send a command',
        effect: 'external',
        params: v.strictObject({ command }),
        example: { command: ['HSET', 'user:1', 'name', 'Ada'] },
        run({ command: words }, context) {
          const issue = commandIssue(words);
          if (issue !== undefined) return fail('step.params', `command: ${issue}`);
          return send(context, words, (result) => ({ result }));
        },
      },
      connection,
    ),
    pipeline: defineAction(
      {
        title: 'Send several commands at once',
        effect: 'external',
        params: v.strictObject({
          commands: v.pipe(v.array(command), v.minLength(1), v.maxLength(1_000)),
          atomic: v.optional(v.pipe(v.boolean(), v.description('Together, as a MULTI/EXEC transaction.'))),
        }),
        example: {
          commands: [
            ['INCR', 'visits'],
            ['EXPIRE', 'visits', 60],
          ],
          atomic: true,
        },
        async run({ commands, atomic }, context) {
          for (const [index, words] of commands.entries()) {
            const issue = commandIssue(words);
            if (issue !== undefined) return fail('step.params', `commands[${index}]: ${issue}`);
          }
          const replies = await open(context).pipeline(commands, { atomic: atomic === true });
          return replies.ok ? ok({ results: replies.value }) : replies;
        },
      },
      connection,
    ),
  },
};
