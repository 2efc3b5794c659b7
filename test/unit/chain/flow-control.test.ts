import { describe, expect, it } from 'vitest';
import { compileChain } from '../../../src/core/chain/compile.ts';
import { flowOf } from '../../../src/core/chain/flow-control.ts';
import { buildCatalogue } from '../../../src/connectors/kit/catalogue.ts';
import { connectors } from '../../../src/connectors/index.ts';
import { LIMITS } from '../../../src/core/limits.ts';

const catalogue = buildCatalogue(connectors);

/** The flow of a run of a chain with these fields. */
async function flow(fields: object, input: unknown, more: { receivedAt?: number; again?: boolean } = {}) {
  const compiled = compileChain({ name: 'orders', mode: 'durable', steps: {}, output: 1, ...fields }, catalogue);
  if (!compiled.ok) throw new Error(compiled.fault.message);
  if (compiled.value.flow === undefined) throw new Error('no flow control');
  const { receivedAt = 0, again = false } = more;
  const event = { type: 'manual', params: {}, query: {}, headers: {}, body: input, receivedAt } as const;
  return flowOf(compiled.value.flow, { chain: 'orders', event, input, idempotent: !again, debounced: !again });
}

const key = '{{ input.customer }}';

describe('runs with the same key meet in one object', () => {
  it('where all keys are the same, and others need not', async () => {
    const fields = { concurrency: { limit: 2, key }, throttle: { limit: 1, period: '1s', key } };
    const [ada, again, bob] = [
      await flow(fields, { customer: 'ada' }),
      await flow(fields, { customer: 'ada', more: 1 }, { receivedAt: 9_000 }),
      await flow(fields, { customer: 'bob' }),
    ];
    expect(again.shardKey).toBe(ada.shardKey);
    expect(bob.shardKey).not.toBe(ada.shardKey);
  });

  it.each([
    [
      'keys that differ',
      { concurrency: { limit: 2, key }, throttle: { limit: 1, period: '1s', key: '{{ input.shop }}' } },
    ],
    [
      'a limit for the whole chain beside one for each key',
      { concurrency: { limit: 2, key }, throttle: { limit: 1, period: '1s' } },
    ],
    ['no key', { concurrency: { limit: 2 } }],
  ])('with %s, all runs of the chain do', async (_what, fields) => {
    const one = await flow(fields, { customer: 'ada', shop: 1 });
    const other = await flow(fields, { customer: 'bob', shop: 2 });
    expect(one.shardKey).toBe(other.shardKey);
  });

  it('a text and a number are two keys', async () => {
    const fields = { concurrency: { limit: 1, key } };
    expect((await flow(fields, { customer: '1' })).shardKey).not.toBe((await flow(fields, { customer: 1 })).shardKey);
  });
});

it('the flow of a run has its keys and the times of the document', async () => {
  const fields = {
    throttle: { limit: 5, period: '1m', burst: 2, key },
    debounce: { period: '10s', maximum: '1m', key },
    idempotency: { period: '1d', key: '{{ input.customer }}' },
    priority: '{{ input.vip ? 50 : 0 }}',
  };
  expect((await flow(fields, { customer: 'ada', vip: true })).flow).toEqual({
    chain: 'orders',
    throttle: { key: '"ada"', limit: 5, burst: 2, periodMilliseconds: 60_000 },
    debounce: { key: '"ada"', periodMilliseconds: 10_000, maximumMilliseconds: 60_000 },
    idempotency: { key: '"ada"', periodMilliseconds: 86_400_000 },
    priority: 50,
  });
});

it('a run that is asked for again is neither the same as the first nor held back for a newer one', async () => {
  const fields = { debounce: { period: '10s', key }, idempotency: { period: '1d', key } };
  const first = await flow(fields, { customer: 'ada' });
  const again = await flow(fields, { customer: 'ada' }, { again: true });
  expect(again).toEqual({ shardKey: first.shardKey, flow: { chain: 'orders', priority: 0 } });
});

describe('a flow that cannot be told is the failure of the run', () => {
  it.each([
    ['a missing key', { concurrency: { limit: 1, key } }, {}, 'expression.missing', /^concurrency\.key: /],
    [
      'a key of much text',
      { throttle: { limit: 1, period: '1s', key } },
      { customer: 'x'.repeat(LIMITS.flowKeyCharacters) },
      'expression.bounds',
      /^throttle\.key: /,
    ],
    [
      'a priority that is no number',
      { concurrency: { limit: 1 }, priority: '{{ input.vip }}' },
      { vip: 'yes' },
      'expression.failed',
      /^priority: must give a number/,
    ],
    [
      'a key over the time of receipt',
      { order: { strategy: 'fifo', key: '{{ trigger.receivedAt }}' } },
      {},
      'expression.missing',
      /^order\.key: /,
    ],
  ])('%s', async (_what, fields, input, code, message) => {
    expect((await flow(fields, input)).flow).toEqual({
      fault: expect.objectContaining({ code, message: expect.stringMatching(message) }),
    });
  });

  it('but a priority beyond the bounds is the bound', async () => {
    const fields = { concurrency: { limit: 1 }, priority: '{{ input.n }}' };
    expect((await flow(fields, { n: 1e9 })).flow).toMatchObject({ priority: LIMITS.flowPriority });
    expect((await flow(fields, { n: -1e9 })).flow).toMatchObject({ priority: -LIMITS.flowPriority });
  });
});
