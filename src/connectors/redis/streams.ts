/** Streams, and consumer groups that read them. */

import * as v from 'valibot';
import { connection, send } from './connection.ts';
import { entriesOf, readOf } from './shapes.ts';
import { key, wordOf } from './values.ts';
import { defineAction, type Action } from '../kit/types.ts';

const id = v.pipe(v.string(), v.regex(/^\d{1,20}(?:-\d{1,20})?$/, 'Must be the id of an entry, e.g. 1526919030474-0.'));
const count = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10_000));
const bound = (edge: '-' | '+') =>
  v.optional(
    v.pipe(v.string(), v.regex(/^(?:[-+]|\(?\d{1,20}(?:-\d{1,20})?)$/, 'Must be an id, "(" and an id, "-" or "+".')),
    edge,
  );

export const streams: Readonly<Record<string, Action>> = {
  streamAdd: defineAction(
    {
      title: 'Add to a stream',
      effect: 'external',
      params: v.strictObject({
        stream: key,
        fields: v.pipe(
          v.record(v.string(), v.unknown()),
          v.check((fields) => Object.keys(fields).length > 0, 'Name at least one field.'),
          v.description('A text is stored as it is, anything else as JSON.'),
        ),
        maximumLength: v.optional(
          v.pipe(v.number(), v.integer(), v.minValue(1), v.description('About so many of the newest entries stay.')),
        ),
      }),
      example: { stream: 'orders', fields: { id: 42, state: 'paid' }, maximumLength: 10_000 },
      run: ({ stream, fields, maximumLength }, context) =>
        send(
          context,
          [
            'XADD',
            stream,
            ...(maximumLength === undefined ? [] : ['MAXLEN', '~', maximumLength]),
            '*',
            ...Object.entries(fields).flatMap(([field, value]) => [field, wordOf(value)]),
          ],
          (reply) => ({ id: reply }),
        ),
    },
    connection,
  ),
  streamRange: defineAction(
    {
      title: 'Read a stream',
      effect: 'idempotent',
      params: v.strictObject({
        stream: key,
        from: bound('-'),
        to: bound('+'),
        count: v.optional(count, 100),
        reverse: v.optional(v.pipe(v.boolean(), v.description('The newest first.')), false),
      }),
      example: { stream: 'orders', count: 10, reverse: true },
      run: ({ stream, from, to, count: most, reverse }, context) =>
        send(
          context,
          reverse ? ['XREVRANGE', stream, to, from, 'COUNT', most] : ['XRANGE', stream, from, to, 'COUNT', most],
          (reply) => ({ entries: entriesOf(reply) }),
        ),
    },
    connection,
  ),
  streamReadGroup: defineAction(
    {
      title: 'Read a stream as a consumer of a group',
      effect: 'external',
      params: v.strictObject({
        stream: key,
        group: key,
        consumer: key,
        count: v.optional(count, 100),
        pending: v.optional(
          v.pipe(v.boolean(), v.description('What this consumer has got before and not acknowledged.')),
          false,
        ),
      }),
      example: { stream: 'orders', group: 'billing', consumer: 'nightly', count: 10 },
      run: ({ stream, group, consumer, count: most, pending }, context) =>
        send(
          context,
          ['XREADGROUP', 'GROUP', group, consumer, 'COUNT', most, 'STREAMS', stream, pending ? '0' : '>'],
          (reply) => ({ entries: readOf(reply) }),
        ),
    },
    connection,
  ),
  streamAcknowledge: defineAction(
    {
      title: 'Acknowledge entries of a stream',
      effect: 'idempotent',
      params: v.strictObject({
        stream: key,
        group: key,
        ids: v.pipe(v.array(id), v.minLength(1), v.maxLength(10_000)),
      }),
      example: { stream: 'orders', group: 'billing', ids: ['1526919030474-0'] },
      run: ({ stream, group, ids }, context) =>
        send(context, ['XACK', stream, group, ...ids], (acknowledged) => ({ acknowledged })),
    },
    connection,
  ),
};
