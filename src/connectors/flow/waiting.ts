/** `flow.wait` and `flow.call`: a step that waits for something outside of its run. */

import * as v from 'valibot';
import { ok } from '../../core/errors.ts';
import { defineAction } from '../kit/types.ts';

export const waitParams = v.strictObject({
  for: v.optional(v.pipe(v.string(), v.examples(['90s', '3d']), v.description('Waits that long.'))),
  until: v.optional(
    v.pipe(
      v.union([v.string(), v.number()]),
      v.examples(['2026-01-31T09:00:00Z']),
      v.description('Waits until an instant: ISO 8601, or unix milliseconds.'),
    ),
  ),
  event: v.optional(
    v.pipe(v.string(), v.minLength(1), v.maxLength(256), v.description('Waits for an event of this name.')),
  ),
  key: v.optional(
    v.pipe(
      v.union([v.string(), v.number()]),
      v.description('Only an event with this key counts, e.g. the number of the order.'),
    ),
  ),
  approval: v.optional(
    v.pipe(
      v.strictObject({
        message: v.optional(v.pipe(v.string(), v.maxLength(2_000), v.description('What the approver reads.'))),
      }),
      v.description('Waits for somebody to approve or reject.'),
    ),
  ),
  timeout: v.optional(
    v.pipe(
      v.string(),
      v.examples(['3d']),
      v.description('How long it waits for an event or an approval; then the step fails with `wait.timeout`.'),
    ),
  ),
});

export const wait = defineAction({
  title: 'Wait for a time, an event or an approval',
  effect: 'pure',
  control: 'wait',
  params: waitParams,
  example: { event: 'parcel.delivered', key: '{{ input.parcel }}', timeout: '14d' },
  run: () => ok(null),
});

export const approvalLink = defineAction({
  title: 'Make the link by which an approval is given',
  effect: 'pure',
  params: v.strictObject({
    step: v.pipe(v.string(), v.description('The `flow.wait` step that waits for the approval.')),
    to: v.optional(
      v.pipe(v.string(), v.maxLength(200), v.description('For whom the link is; recorded with the decision.')),
    ),
  }),
  example: { step: 'approval', to: 'ada@example.com' },
  run: async ({ step, to }, context) => {
    const link = await context.approvalLink(step, to);
    return link.ok ? ok({ url: link.value }) : link;
  },
});

export const callParams = v.strictObject({
  chain: v.pipe(v.string(), v.minLength(1), v.description('Name of the chain.')),
  input: v.optional(v.pipe(v.unknown(), v.description('Its input.'))),
});

export const call = defineAction({
  title: 'Run another chain and wait for its output',
  effect: 'pure',
  control: 'call',
  params: callParams,
  example: { chain: 'book-invoice', input: { order: '{{ input.id }}' } },
  run: () => ok(null),
});
