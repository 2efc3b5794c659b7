/** Hashes, lists, sets and sorted sets. */

import * as v from 'valibot';
import { connection, send } from './connection.ts';
import { key, wordOf } from './values.ts';
import { defineAction, type Action } from '../kit/types.ts';
import { objectOf, pairsOf } from './shapes.ts';

const names = v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(1_000));
const items = v.pipe(
  v.array(v.unknown()),
  v.minLength(1),
  v.maxLength(1_000),
  v.description('A text is stored as it is, anything else as JSON.'),
);
const side = v.optional(v.picklist(['left', 'right']), 'right');
const index = v.pipe(v.number(), v.integer());
const count = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(10_000));

const hashes: Readonly<Record<string, Action>> = {
  hashSet: defineAction(
    {
      title: 'Set fields of a hash',
      effect: 'idempotent',
      params: v.strictObject({
        key,
        fields: v.pipe(
          v.record(v.string(), v.unknown()),
          v.check((fields) => Object.keys(fields).length > 0, 'Name at least one field.'),
          v.description('A text is stored as it is, anything else as JSON.'),
        ),
      }),
      example: { key: 'user:1', fields: { name: 'Ada', visits: 3 } },
      run: ({ key: name, fields }, context) =>
        send(
          context,
          ['HSET', name, ...Object.entries(fields).flatMap(([field, value]) => [field, wordOf(value)])],
          (added) => ({ added }),
        ),
    },
    connection,
  ),
  hashGet: defineAction(
    {
      title: 'Get fields of a hash',
      effect: 'idempotent',
      params: v.strictObject({ key, fields: v.optional(v.pipe(names, v.description('Default: all of them.'))) }),
      example: { key: 'user:1', fields: ['name'] },
      run: ({ key: name, fields }, context) =>
        fields === undefined
          ? send(context, ['HGETALL', name], (reply) => ({ fields: Object.fromEntries(pairsOf(reply)) }))
          : send(context, ['HMGET', name, ...fields], (reply) => ({ fields: objectOf(fields, reply) })),
    },
    connection,
  ),
  hashDelete: defineAction(
    {
      title: 'Delete fields of a hash',
      effect: 'idempotent',
      params: v.strictObject({ key, fields: names }),
      example: { key: 'user:1', fields: ['visits'] },
      run: ({ key: name, fields }, context) => send(context, ['HDEL', name, ...fields], (deleted) => ({ deleted })),
    },
    connection,
  ),
};

const lists: Readonly<Record<string, Action>> = {
  listPush: defineAction(
    {
      title: 'Add to a list',
      effect: 'external',
      params: v.strictObject({ key, values: items, side }),
      example: { key: 'jobs', values: ['first', { id: 2 }] },
      run: ({ key: name, values, side: end }, context) =>
        send(context, [end === 'left' ? 'LPUSH' : 'RPUSH', name, ...values.map(wordOf)], (length) => ({ length })),
    },
    connection,
  ),
  listPop: defineAction(
    {
      title: 'Take from a list',
      effect: 'external',
      params: v.strictObject({
        key,
        side: v.optional(v.picklist(['left', 'right']), 'left'),
        count: v.optional(count, 1),
      }),
      example: { key: 'jobs', count: 10 },
      run: ({ key: name, side: end, count: most }, context) =>
        send(context, [end === 'left' ? 'LPOP' : 'RPOP', name, most], (values) => ({ values: values ?? [] })),
    },
    connection,
  ),
  listRange: defineAction(
    {
      title: 'Read a list',
      effect: 'idempotent',
      params: v.strictObject({ key, from: v.optional(index, 0), to: v.optional(index, -1) }),
      example: { key: 'jobs', from: 0, to: 9 },
      run: ({ key: name, from, to }, context) => send(context, ['LRANGE', name, from, to], (values) => ({ values })),
    },
    connection,
  ),
};

const sets: Readonly<Record<string, Action>> = {
  setAdd: defineAction(
    {
      title: 'Add to a set',
      effect: 'idempotent',
      params: v.strictObject({ key, members: items }),
      example: { key: 'tags', members: ['new', 'red'] },
      run: ({ key: name, members }, context) =>
        send(context, ['SADD', name, ...members.map(wordOf)], (added) => ({ added })),
    },
    connection,
  ),
  setRemove: defineAction(
    {
      title: 'Remove from a set',
      effect: 'idempotent',
      params: v.strictObject({ key, members: items }),
      example: { key: 'tags', members: ['red'] },
      run: ({ key: name, members }, context) =>
        send(context, ['SREM', name, ...members.map(wordOf)], (removed) => ({ removed })),
    },
    connection,
  ),
  setMembers: defineAction(
    {
      title: 'Read a set',
      effect: 'idempotent',
      params: v.strictObject({ key }),
      example: { key: 'tags' },
      run: ({ key: name }, context) => send(context, ['SMEMBERS', name], (members) => ({ members })),
    },
    connection,
  ),
};

/** A bound of scores, `(` in front excludes it. */
const bound = v.union([v.number(), v.pipe(v.string(), v.regex(/^\(?[+-]?(?:inf|\d+(?:\.\d+)?)$/, 'Must be a score.'))]);

const sortedSets: Readonly<Record<string, Action>> = {
  sortedSetAdd: defineAction(
    {
      title: 'Set scores in a sorted set',
      effect: 'idempotent',
      params: v.strictObject({
        key,
        members: v.pipe(
          v.array(v.strictObject({ member: v.string(), score: v.number() })),
          v.minLength(1),
          v.maxLength(1_000),
        ),
      }),
      example: { key: 'scores', members: [{ member: 'Ada', score: 12.5 }] },
      run: ({ key: name, members }, context) =>
        send(context, ['ZADD', name, ...members.flatMap(({ member, score }) => [score, member])], (added) => ({
          added,
        })),
    },
    connection,
  ),
  sortedSetRange: defineAction(
    {
      title: 'Read a sorted set',
      effect: 'idempotent',
      params: v.strictObject({
        key,
        by: v.optional(v.picklist(['rank', 'score']), 'rank'),
        from: v.optional(bound),
        to: v.optional(bound),
        reverse: v.optional(v.pipe(v.boolean(), v.description('The highest first; ranks count from there.')), false),
        count: v.optional(v.pipe(count, v.description('With `by: score`.'))),
      }),
      example: { key: 'scores', from: 0, to: 9, reverse: true },
      run({ key: name, by, from, to, reverse, count: most }, context) {
        const [lowest, highest] = by === 'rank' ? [0, -1] : ['-inf', '+inf'];
        const bounds = [from ?? lowest, to ?? highest];
        const words = [
          ...(by === 'score' ? ['BYSCORE'] : []),
          ...(reverse ? ['REV'] : []),
          ...(by === 'score' && most !== undefined ? ['LIMIT', 0, most] : []),
        ];
        // With REV Redis takes the higher score first.
        const ordered = by === 'score' && reverse ? bounds.toReversed() : bounds;
        return send(context, ['ZRANGE', name, ...ordered, ...words, 'WITHSCORES'], (reply) => ({
          members: pairsOf(reply).map(([member, score]) => ({ member, score: scoreOf(score) })),
        }));
      },
    },
    connection,
  ),
  sortedSetRemove: defineAction(
    {
      title: 'Remove from a sorted set',
      effect: 'idempotent',
      params: v.strictObject({ key, members: names }),
      example: { key: 'scores', members: ['Ada'] },
      run: ({ key: name, members }, context) => send(context, ['ZREM', name, ...members], (removed) => ({ removed })),
    },
    connection,
  ),
};

/** Infinite ones stay `inf` and `-inf`: JSON has no number for them. */
const scoreOf = (score: string): number | string => (Number.isFinite(Number(score)) ? Number(score) : score);

export const collections: Readonly<Record<string, Action>> = { ...hashes, ...lists, ...sets, ...sortedSets };
