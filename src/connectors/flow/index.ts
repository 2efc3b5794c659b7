/** The actions that steer the run itself. */

import * as v from 'valibot';
import { fail, ok } from '../../core/errors.ts';
import { each } from './each.ts';
import { approvalLink, call, wait } from './waiting.ts';
import { defineAction, type Connector } from '../kit/types.ts';

const steps = v.array(v.pipe(v.string(), v.description('Id of a step.')));
const failureStatus = v.optional(
  v.pipe(
    v.number(),
    v.integer(),
    v.minValue(400),
    v.maxValue(599),
    v.description('Status of the answer. Default 500.'),
  ),
);

export const flow: Connector = {
  name: 'flow',
  title: 'Flow',
  actions: {
    switch: defineAction({
      title: 'Choose which steps run',
      effect: 'pure',
      control: 'switch',
      params: v.strictObject({
        cases: v.pipe(
          v.array(
            v.strictObject({
              when: v.pipe(v.string(), v.description('One expression; the first case that is true is taken.')),
              then: v.pipe(steps, v.description('The steps that run then.')),
            }),
          ),
          v.minLength(1),
        ),
        otherwise: v.optional(v.pipe(steps, v.description('The steps that run when no case is true.'))),
      }),
      example: { cases: [{ when: '{{ input.total > 100 }}', then: ['approve'] }], otherwise: ['book'] },
      // The engine takes the branch; nothing is left to do.
      run: () => ok(null),
    }),
    each,
    wait,
    call,
    'approval-link': approvalLink,
    respond: defineAction({
      title: 'Answer the caller and go on',
      effect: 'pure',
      control: 'respond',
      params: v.strictObject({
        status: v.optional(v.pipe(v.number(), v.integer(), v.minValue(200), v.maxValue(599)), 200),
        headers: v.optional(
          v.record(v.pipe(v.string(), v.regex(/^[A-Za-z0-9-]+$/)), v.pipe(v.string(), v.regex(/^[^\r\n\0]*$/))),
          {},
        ),
        body: v.optional(v.pipe(v.unknown(), v.description('JSON, or a text as it is where a content type is given.'))),
      }),
      example: { status: 201, body: { id: '{{ steps.order.rows[0].id }}' } },
      run: (params) => ok(params),
    }),
    fail: defineAction({
      title: 'End the run as failed',
      effect: 'pure',
      control: 'fail',
      params: v.strictObject({
        message: v.pipe(v.string(), v.minLength(1), v.description('What the caller reads.')),
        code: v.optional(v.pipe(v.string(), v.description('A code of your own, for the caller.'))),
        status: failureStatus,
        data: v.optional(v.unknown()),
      }),
      example: { message: 'There is no order {{ input.id }}.', status: 404 },
      run: ({ message, code, status: answered, data }) =>
        fail('run.failed', message, {
          ...(answered === undefined ? {} : { status: answered }),
          data: { ...(code === undefined ? {} : { code }), ...(data === undefined ? {} : { data }) },
        }),
    }),
  },
};
