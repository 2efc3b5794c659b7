import { describe, expect, it } from 'vitest';
import { compilePool, type PoolPlan } from '../../../src/core/route/upstream.ts';

const TARGETS = [{ url: 'https://a.example/base/' }, { url: 'https://b.example', weight: 3 }];

function planOf(document: Readonly<Record<string, unknown>>): PoolPlan {
  const plan = compilePool({ name: 'orders', targets: TARGETS, ...document });
  if (!plan.ok) throw new Error(plan.fault.message);
  return plan.value;
}

function pathsOf(document: Readonly<Record<string, unknown>>): readonly string[] {
  const plan = compilePool({ name: 'orders', targets: TARGETS, ...document });
  return plan.ok ? [] : (plan.fault.issues ?? []).map(({ path }) => path);
}

describe('the document of a pool', () => {
  it.each([
    ['no target', { targets: [] }, 'targets'],
    ['a target without a host', { targets: [{ url: 'https://' }] }, 'targets.0.url'],
    ['another scheme', { targets: [{ url: 'ftp://a.example' }] }, 'targets.0.url'],
    ['a password', { targets: [{ url: 'https://u:p@a.example' }] }, 'targets.0.url'],
    ['a query', { targets: [{ url: 'https://a.example/?a=1' }] }, 'targets.0.url'],
    ['a fragment', { targets: [{ url: 'https://a.example/#a' }] }, 'targets.0.url'],
    ['a target twice', { targets: [...TARGETS, { url: 'https://a.example/base' }] }, 'targets.2.url'],
    ['a weight of 0', { targets: [{ url: 'https://a.example', weight: 0 }] }, 'targets.0.weight'],
    ['a balance that nobody knows', { balance: 'round' }, 'balance'],
    ['sticky without a key', { balance: 'sticky' }, 'by'],
    ['a key without sticky', { by: 'ip' }, 'by'],
    ['a key of another kind', { balance: 'sticky', by: 'query:x' }, 'by'],
    ['a key that refers to nothing', { balance: 'sticky', by: '{{ steps.a }}' }, 'by'],
    ['a key by chance', { balance: 'sticky', by: '{{ $random() }}' }, 'by'],
    ['a check without a path', { health: { active: {} } }, 'health.active.path'],
    [
      'a check more often than each second',
      { health: { active: { path: '/', interval: '999ms' } } },
      'health.active.interval',
    ],
    [
      'a check longer than its interval',
      { health: { active: { path: '/', timeout: '11s' } } },
      'health.active.timeout',
    ],
    ['a status that is none', { health: { active: { path: '/', statuses: ['6xx'] } } }, 'health.active.statuses.0'],
    ['one attempt as a retry', { retries: { attempts: 1 } }, 'retries.attempts'],
    ['a retry for what is no reason', { retries: { on: ['500'] } }, 'retries.on.0'],
    ['no time at all', { timeout: { headers: '0s' } }, 'timeout.headers'],
    ['more time than there may be', { timeout: { total: '16m' } }, 'timeout.total'],
    ['a field that nobody knows', { retry: {} }, 'retry'],
  ])('with %s is refused, at the field', (_what, document, path) => {
    expect(pathsOf(document)).toContain(path);
  });

  it('gives addresses without a slash at the end, and usual values', () => {
    const plan = planOf({});
    expect(plan).toMatchObject({
      urls: ['https://a.example/base', 'https://b.example'],
      weights: [1, 3],
      balance: 'weighted',
      headersTimeoutMilliseconds: 30_000,
      retries: undefined,
      breaker: undefined,
      forwarded: 'replace',
    });
    expect([...plan.failures]).toEqual([502, 503, 504]);
  });

  it('ejects targets by default where there are several, and never the only one', () => {
    expect(planOf({}).ejection?.failuresInARow).toBe(5);
    const alone = { targets: [{ url: 'https://a.example' }], health: { passive: {} } };
    expect(planOf(alone).ejection).toBeUndefined();
  });

  it.each([
    ['ip', { kind: 'ip' }],
    ['header:X-Tenant', { kind: 'header', name: 'x-tenant' }],
    ['cookie:Session', { kind: 'cookie', name: 'Session' }],
    ['{{ request.params.id }}', { kind: 'expression' }],
    ['tenant-{{ request.params.id }}', { kind: 'expression' }],
  ])('takes %s as the key of sticky', (by, key) => {
    expect(planOf({ balance: 'sticky', by }).by).toMatchObject(key);
  });
});
