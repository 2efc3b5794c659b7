/** Commands as their author wrote them: one, several, a transaction, a script. */

import * as v from 'valibot';
import { commandIssue } from './commands.ts';
import { connection, isTcp, open, send, type Context } from './connection.ts';
import { key } from './values.ts';
import { defineAction, type Action } from '../kit/types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import type { Command } from '../../drivers/redis/resp.ts';

const bytes = v.pipe(
  v.strictObject({ base64: v.pipe(v.string(), v.base64('Must be base64 with padding.')) }),
  v.transform(({ base64 }) => Buffer.from(base64, 'base64')),
);

const command = v.pipe(
  v.array(v.union([v.string(), v.number(), bytes])),
  v.minLength(1),
  v.description(
    'The words of one command, e.g. ["HSET", "user:1", "name", "Ada"]; bytes as {"base64": "…"}, over TCP.',
  ),
);
const commands = v.pipe(v.array(command), v.minLength(1), v.maxLength(1_000));

const encoding = v.optional(
  v.pipe(
    v.picklist(['text', 'base64']),
    v.description('What becomes of texts in the reply; with `base64` of all but `OK`.'),
  ),
  'text',
);

/** Fault `step.params` for the first command that may not be sent. */
function checked(list: readonly Command[], path: (index: number) => string, context: Context): Result<undefined> {
  const { settings } = context.connection;
  for (const [index, words] of list.entries()) {
    const issue = commandIssue(words, settings, isTcp(settings));
    if (issue !== undefined) return fail('step.params', `${path(index)}: ${issue}`);
  }
  return ok(undefined);
}

const watched = v.strictObject({
  key,
  command: v.optional(v.pipe(command, v.description('What is asked, default ["GET", key].'))),
  equals: v.pipe(v.union([v.string(), v.number(), v.null()]), v.description('The reply with which it takes place.')),
});

type Watched = v.InferOutput<typeof watched>;

async function transact(
  list: readonly Command[],
  watch: readonly Watched[],
  context: Context,
): Promise<Result<unknown>> {
  const expected = watch.map((each) => ({ ...each, command: each.command ?? ['GET', each.key] }));
  const asked = expected.map((each) => each.command);
  const wrong = [
    checked(list, (index) => `commands[${index}]`, context),
    checked(asked, (index) => `watch[${index}].command`, context),
  ].find((result) => !result.ok);
  if (wrong !== undefined) return wrong;
  const driver = open(context);
  if (!driver.ok) return driver;
  const results = await driver.value.transaction(expected, list);
  if (!results.ok) return results;
  return ok({ committed: results.value !== undefined, results: results.value ?? [] });
}

const scriptParams = v.strictObject({
  script: v.pipe(
    v.string(),
    v.minLength(1),
    v.description('Lua, without expressions: values come in by `keys` (KEYS) and `arguments` (ARGV).'),
  ),
  keys: v.optional(v.pipe(v.array(key), v.maxLength(1_000)), []),
  arguments: v.optional(v.pipe(v.array(v.union([v.string(), v.number()])), v.maxLength(1_000)), []),
});

async function evaluate(params: v.InferOutput<typeof scriptParams>, context: Context): Promise<Result<unknown>> {
  const { script, keys, arguments: values } = params;
  // What is put together from data is code of whoever sent the data.
  if (!isObject(context.written) || context.written['script'] !== script) {
    return fail('step.params', 'script: must be there as it is written; pass values by `keys` and `arguments`.');
  }
  const more = [keys.length, ...keys, ...values];
  const result = await send(context, ['EVALSHA', await sha1(script), ...more], (reply) => ({ result: reply }));
  const isUnknown = !result.ok && isObject(result.fault.data) && result.fault.data['error'] === 'NOSCRIPT';
  // It did not run. Sent whole, it is also kept for the next time.
  return isUnknown ? send(context, ['EVAL', script, ...more], (reply) => ({ result: reply })) : result;
}

async function sha1(script: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-1', new TextEncoder().encode(script));
  return Buffer.from(digest).toString('hex');
}

export const scripts: Readonly<Record<string, Action>> = {
  command: defineAction(
    {
      title: 'Send a command',
      effect: 'external',
      params: v.strictObject({ command, encoding }),
      example: { command: ['HSET', 'user:1', 'name', 'Ada'] },
      run({ command: words, encoding: as }, context) {
        const wrong = checked([words], () => 'command', context);
        if (!wrong.ok) return wrong;
        return send(context, words, (result) => ({ result }), { binary: as === 'base64' });
      },
    },
    connection,
  ),
  pipeline: defineAction(
    {
      title: 'Send several commands at once',
      effect: 'external',
      params: v.strictObject({
        commands,
        atomic: v.optional(v.pipe(v.boolean(), v.description('Together, as a MULTI/EXEC transaction.'))),
        encoding,
      }),
      example: {
        commands: [
          ['INCR', 'visits'],
          ['EXPIRE', 'visits', 60],
        ],
        atomic: true,
      },
      async run({ commands: list, atomic = false, encoding: as }, context) {
        const wrong = checked(list, (index) => `commands[${index}]`, context);
        if (!wrong.ok) return wrong;
        const driver = open(context);
        if (!driver.ok) return driver;
        const replies = await driver.value.pipeline(list, { atomic, binary: as === 'base64' });
        return replies.ok ? ok({ results: replies.value }) : replies;
      },
    },
    connection,
  ),
  transaction: defineAction(
    {
      title: 'Run a transaction, if nothing has changed',
      effect: 'external',
      params: v.strictObject({
        commands,
        watch: v.optional(
          v.pipe(
            v.array(watched),
            v.maxLength(100),
            v.description('What must be so, and stay so, for any of it to run; else `committed` is false. Over TCP.'),
          ),
          [],
        ),
      }),
      example: {
        watch: [{ key: 'stock:7', equals: '3' }],
        commands: [
          ['DECR', 'stock:7'],
          ['RPUSH', 'orders', '42'],
        ],
      },
      run: ({ commands: list, watch }, context) => transact(list, watch, context),
    },
    connection,
  ),
  eval: defineAction(
    {
      title: 'Run a script',
      effect: 'external',
      params: scriptParams,
      example: { script: "return redis.call('INCRBY', KEYS[1], ARGV[1])", keys: ['visits'], arguments: [2] },
      run: evaluate,
    },
    connection,
  ),
};
