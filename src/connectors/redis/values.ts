/** Strings, counters, and keys as such. */

import * as v from 'valibot';
import { connection, send, type Context } from './connection.ts';
import { defineAction, type Action } from '../kit/types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { jsonOf } from '../../drivers/kit/exchange.ts';

export const key = v.pipe(v.string(), v.minLength(1));
const ttlSeconds = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10 * 365 * 24 * 3600));

/** A text as it is, anything else as JSON. */
export const wordOf = (value: unknown): string =>
  typeof value === 'string' ? value : (JSON.stringify(value) ?? 'null');

async function get(name: string, parse: 'text' | 'json' | 'base64', context: Context): Promise<Result<unknown>> {
  const reply = await send(context, ['GET', name], (value) => value, { binary: parse === 'base64' });
  if (!reply.ok || parse !== 'json' || typeof reply.value !== 'string') return reply;
  const value = jsonOf('Redis', reply.value);
  return value.ok ? value : fail('upstream.invalid', `The value of ${name} is not JSON.`);
}

const setParams = v.strictObject({
  key,
  value: v.optional(v.pipe(v.unknown(), v.description('A text is stored as it is, anything else as JSON.'))),
  base64: v.optional(
    v.pipe(
      v.string(),
      v.base64('Must be base64 with padding.'),
      v.description('In place of `value`: bytes. Over TCP.'),
    ),
  ),
  ttlSeconds: v.optional(ttlSeconds),
  ifNotExists: v.optional(v.pipe(v.boolean(), v.description('Leaves a value that is there; `stored` is then false.'))),
});

function set(params: v.InferOutput<typeof setParams>, context: Context): Promise<Result<unknown>> | Result<unknown> {
  const { value, base64, ttlSeconds: seconds, ifNotExists } = params;
  if ((value === undefined) === (base64 === undefined)) {
    return fail('step.params', 'Give exactly one of `value` and `base64`.');
  }
  const word = base64 === undefined ? wordOf(value) : Buffer.from(base64, 'base64');
  const more = [...(seconds === undefined ? [] : ['EX', seconds]), ...(ifNotExists === true ? ['NX'] : [])];
  return send(context, ['SET', params.key, word, ...more], (reply) => ({ stored: reply === 'OK' }));
}

export const values: Readonly<Record<string, Action>> = {
  get: defineAction(
    {
      title: 'Get a value',
      effect: 'idempotent',
      params: v.strictObject({ key, parse: v.optional(v.picklist(['text', 'json', 'base64']), 'text') }),
      example: { key: 'session:42', parse: 'json' },
      async run({ key: name, parse }, context) {
        const value = await get(name, parse, context);
        return value.ok ? ok({ value: value.value }) : value;
      },
    },
    connection,
  ),
  set: defineAction(
    {
      title: 'Set a value',
      effect: 'idempotent',
      params: setParams,
      example: { key: 'session:42', value: { user: 7 }, ttlSeconds: 3600 },
      run: set,
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
};
