/** In a file of its own: the loop that reports belongs to the request that has started it. */

import { waitOnExecutionContext } from 'cloudflare:test';
import { expect, it } from 'vitest';
import { exchangeOf, gatewayEnv, newTarget, planOf } from './fixtures.ts';
import type { Ask } from '../../../../src/core/policy/limiter.ts';
import type { Env } from '../../../../src/env.ts';
import { admit } from '../../../../src/gateway/limits/admit.ts';

it('an isolate reports what it has spent and returns the rest when the lease ends, without another request', async () => {
  const told: Ask[] = [];
  const recording = {
    ...gatewayEnv,
    LIMITER: {
      getByName: (name: string) => ({
        limit: (asks: readonly Ask[]) => {
          told.push(...asks);
          return gatewayEnv.LIMITER.getByName(name).limit(asks);
        },
      }),
    },
  } as unknown as Env;
  const plan = planOf({ limits: [{ limit: 1_000, period: '1s', by: 'route' }] });
  const exchange = exchangeOf({ target: newTarget(), env: recording });
  await admit(plan, exchange, undefined);
  await waitOnExecutionContext(exchange.ctx);
  const [question, ...reports] = told;
  expect(question).toMatchObject({ need: 1, want: 4, settle: [] });
  const settled = reports.flatMap(({ settle }) => settle);
  expect(settled.flatMap(({ used }) => used.filter((_, index) => index % 2 === 1))).toEqual([1]);
  expect(settled.at(-1)?.returned).toBe(4);
});
