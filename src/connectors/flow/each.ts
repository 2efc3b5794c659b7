/** `flow.each`: steps for every item of a list. */

import * as v from 'valibot';
import { LIMITS } from '../../core/limits.ts';
import { ok } from '../../core/errors.ts';
import { defineAction } from '../kit/types.ts';

const entries = {
  in: v.pipe(v.array(v.unknown()), v.description('The list.')),
  concurrency: v.optional(
    v.pipe(
      v.number(),
      v.integer(),
      v.minValue(1),
      v.maxValue(LIMITS.eachConcurrency),
      v.description('Items that are under way at a time.'),
    ),
    LIMITS.eachConcurrencyUsual,
  ),
  batch: v.optional(
    v.pipe(
      v.number(),
      v.integer(),
      v.minValue(1),
      v.maxValue(LIMITS.eachItems),
      v.description('Hands the items over in lists of that many; the last may be shorter.'),
    ),
  ),
  onItemError: v.optional(
    v.pipe(
      v.picklist(['stop', 'continue', 'collect']),
      v.description(
        'When an item fails: `stop` starts no more items and fails the step; `continue` goes on and succeeds, with the failures in `errors`; `collect` goes on with the other items and then fails.',
      ),
    ),
    'stop',
  ),
};

/** What is left of `with` for the run: the rest belongs to the items. */
export const itemParams = v.strictObject(entries);

export const each = defineAction({
  title: 'Run steps for each item of a list',
  effect: 'pure',
  control: 'each',
  params: v.strictObject({
    ...entries,
    as: v.optional(v.pipe(v.string(), v.description('What expressions inside call the item.')), 'item'),
    steps: v.pipe(
      v.record(v.string(), v.unknown()),
      v.description('The steps for each item, written like those of a chain. They see the item and its `index`.'),
    ),
    output: v.optional(
      v.pipe(
        v.unknown(),
        v.description('Template of what an item gives. Default: the output of its only step, or of all steps by id.'),
      ),
    ),
  }),
  evaluated: itemParams,
  example: {
    in: '{{ input.items }}',
    concurrency: 5,
    steps: { reserve: { use: 'http.post', with: { url: 'https://stock.example/reserve', json: '{{ item }}' } } },
  },
  // The engine runs the items.
  run: () => ok(null),
});
