/** What `data` does with lists: the schemas; the work is done in `core/data/items`. */

import * as v from 'valibot';
import { asList, few, figures, groupBy, keys, path } from '../kit/data-schemas.ts';
import { tableOf } from '../kit/table.ts';
import { defineAction } from '../kit/types.ts';
import { aggregate } from '../../core/data/items/aggregate.ts';
import { filterItems } from '../../core/data/items/filter.ts';
import { dedupeItems, joinItems } from '../../core/data/items/join.ts';
import { sortItems } from '../../core/data/items/sort.ts';
import { LIMITS } from '../../core/limits.ts';

const list = (what: string) => v.pipe(v.array(v.unknown()), v.maxLength(LIMITS.dataItems), v.description(what));
const items = list('The list.');

const aggregateAction = defineAction({
  title: 'Compute figures, for all items or for each group',
  effect: 'pure',
  connection: 'none',
  params: v.strictObject({
    in: items,
    by: groupBy,
    figures,
  }),
  example: {
    in: [
      { country: 'DE', total: 10.1 },
      { country: 'FR', total: 5 },
      { country: 'DE', total: 0.2 },
    ],
    by: { country: 'country' },
    figures: { orders: { op: 'count' }, revenue: { op: 'sum', of: 'total' } },
  },
  run: ({ in: given, by, figures: wanted }) => aggregate(given, wanted, by),
});

const scalar = v.union([v.string(), v.number(), v.boolean(), v.null()]);
const limit = v.optional(v.union([v.number(), v.string()]));

const condition = tableOf(
  v.union([
    scalar,
    v.strictObject({
      eq: v.optional(v.unknown()),
      ne: v.optional(v.unknown()),
      gt: limit,
      gte: limit,
      lt: limit,
      lte: limit,
      in: v.optional(v.array(v.unknown())),
      notIn: v.optional(v.array(v.unknown())),
      contains: v.optional(v.unknown()),
      startsWith: v.optional(v.string()),
      endsWith: v.optional(v.string()),
      exists: v.optional(v.boolean()),
    }),
  ]),
);

const filter = defineAction({
  title: 'Keep the items that meet a condition',
  effect: 'pure',
  connection: 'none',
  params: v.strictObject({
    in: items,
    where: v.pipe(
      v.union([condition, few(condition)]),
      v.description(
        'What must hold, by path: a value that is equal, or tests. All of one object must hold; of a list of objects, one.',
      ),
    ),
  }),
  example: {
    in: [
      { id: 1, total: 120, customer: { vip: true } },
      { id: 2, total: 80, customer: { vip: true } },
    ],
    where: { 'customer.vip': true, total: { gte: 100 } },
  },
  run: ({ in: given, where }) => filterItems(given, where),
});

const sortKey = v.union([
  path,
  v.strictObject({
    path,
    order: v.optional(v.picklist(['asc', 'desc'])),
    missing: v.optional(v.pipe(v.picklist(['first', 'last']), v.description('Default: last, whatever the order.'))),
    locale: v.optional(v.pipe(v.string(), v.description('A language whose order texts follow, e.g. `sv`.'))),
    numeric: v.optional(v.pipe(v.boolean(), v.description('Digits in a text count as a number: `a9` before `a10`.'))),
    ignoreCase: v.optional(v.boolean()),
  }),
]);

const sort = defineAction({
  title: 'Put items in order',
  effect: 'pure',
  connection: 'none',
  params: v.strictObject({
    in: items,
    by: v.optional(
      v.pipe(
        v.union([sortKey, few(sortKey)]),
        v.description('A path, or several keys of which the first counts most. Default: the item itself.'),
      ),
      '$',
    ),
  }),
  example: {
    in: [{ name: 'Zoë' }, { name: 'ada' }, { name: 'Bob' }],
    by: [{ path: 'name', locale: 'en' }],
  },
  run: ({ in: given, by }) =>
    sortItems(
      given,
      asList<v.InferOutput<typeof sortKey>>(by).map((key) => (typeof key === 'string' ? { path: key } : key)),
    ),
});

const join = defineAction({
  title: 'Join two lists by keys',
  effect: 'pure',
  connection: 'none',
  params: v.strictObject({
    left: list('The first list.'),
    right: list('The second list.'),
    on: v.pipe(
      v.union([keys, v.strictObject({ left: keys, right: keys })]),
      v.description('The paths that must be equal, together or for each side. Null and missing equal nothing.'),
    ),
    type: v.optional(v.picklist(['inner', 'left', 'full']), 'inner'),
    rows: v.optional(
      v.pipe(
        v.picklist(['pairs', 'merged']),
        v.description('`pairs`: `{ left, right }`, null where there is none. `merged`: one object; the left wins.'),
      ),
      'pairs',
    ),
  }),
  example: {
    left: [{ id: 1, customerId: 'a' }],
    right: [{ id: 'a', name: 'Ada' }],
    on: { left: 'customerId', right: 'id' },
    type: 'left',
  },
  run({ left, right, on, type, rows }) {
    const sides = typeof on === 'string' || Array.isArray(on) ? { left: on, right: on } : on;
    const both = { left: asList<string>(sides.left), right: asList<string>(sides.right) };
    return joinItems({ left, right, on: both, type, rows });
  },
});

const dedupe = defineAction({
  title: 'Leave out items that repeat',
  effect: 'pure',
  connection: 'none',
  params: v.strictObject({
    in: items,
    by: v.optional(v.pipe(keys, v.description('What makes two items the same. Default: the whole item.')), '$'),
    keep: v.optional(v.picklist(['first', 'last']), 'first'),
  }),
  example: { in: [{ id: 1 }, { id: 2 }, { id: 1 }], by: 'id', keep: 'last' },
  run: ({ in: given, by, keep }) => dedupeItems(given, asList<string>(by), keep),
});

export const itemActions = { aggregate: aggregateAction, filter, sort, join, dedupe };
