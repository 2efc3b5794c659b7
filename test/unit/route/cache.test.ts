import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { IssueList } from '../../../src/core/chain/issues.ts';
import { cachePolicy, compileCache } from '../../../src/core/route/cache.ts';
import { compileIdempotency, idempotencyPolicy, parseIdempotencyKey } from '../../../src/core/route/idempotency.ts';

describe('cache', () => {
  const compile = (document: v.InferInput<typeof cachePolicy>) => {
    const issues = new IssueList();
    return { plan: compileCache(v.parse(cachePolicy, document), 'cache', issues), issues: issues.all };
  };

  it('keeps each caller apart where the author says nothing', () => {
    const { plan, issues } = compile({});
    expect(plan).toMatchObject({
      scope: 'identity',
      query: 'all',
      respectOrigin: true,
      heuristic: false,
      cookies: false,
    });
    expect(issues).toEqual([]);
  });

  it('puts names in order, so that their order in the document chooses no other key', () => {
    const { plan } = compile({ vary: ['X-B', 'x-a', 'x-b'], query: ['b', 'a', 'b'], ttl: '1m' });
    expect([plan.vary, plan.query, plan.ttlMilliseconds]).toEqual([['x-a', 'x-b'], ['a', 'b'], 60_000]);
  });

  it.each<[string, v.InferInput<typeof cachePolicy>, string]>([
    ['cookies that many would get', { scope: 'public', cookies: true }, 'cache.cookies'],
    ['a time without end', { ttl: '400d' }, 'cache.ttl'],
    ['to disobey the origin without a time of its own', { respectOrigin: false }, 'cache.ttl'],
    ['a part as a whole', { statuses: [200, 206] }, 'cache.statuses.1'],
    ['a tag of what is not there', { tags: ['{{ steps.order.id }}'] }, 'cache.tags.0'],
    ['a tag that cannot be read', { tags: ['order-{{ params.id'] }, 'cache.tags.0'],
  ])('refuses %s', (_, document, path) => {
    expect(compile(document).issues.map((issue) => issue.path)).toEqual([path]);
  });

  it.each([
    { ttl: 'soon' },
    { scope: 'all' },
    { vary: ['a b'] },
    { maxBytes: 1e9 },
    { tags: [''] },
    { methods: ['POST'] },
  ])('refuses %j', (document) => expect(v.is(cachePolicy, document)).toBe(false));
});

describe('idempotency', () => {
  const compile = (document: v.InferInput<typeof idempotencyPolicy>) => {
    const issues = new IssueList();
    return {
      plan: compileIdempotency(v.parse(idempotencyPolicy, document), 'idempotency', issues),
      issues: issues.all,
    };
  };

  it('keeps everything but failures that may pass', () => {
    const { plan } = compile({});
    expect([200, 302, 404, 422].filter((status) => plan.isRetryable(status))).toEqual([]);
    expect([408, 429, 500, 503, 599].every((status) => plan.isRetryable(status))).toBe(true);
  });

  it('refuses a time that is shorter than a request may take, or without end', () => {
    expect(compile({ ttl: '1s' }).issues).toHaveLength(1);
    expect(compile({ ttl: '400d' }).issues).toHaveLength(1);
    expect(v.is(idempotencyPolicy, { methods: ['GET'] })).toBe(false);
    expect(v.is(idempotencyPolicy, { retryable: ['600'] })).toBe(false);
  });

  it.each([
    ['"8e03978e-40d5-43dd-bc93-6894a57f9324"', '8e03978e-40d5-43dd-bc93-6894a57f9324'],
    ['8e03978e-40d5-43dd-bc93-6894a57f9324', '8e03978e-40d5-43dd-bc93-6894a57f9324'],
    [String.raw`"a \"b\" \\"`, String.raw`a "b" \ `.trim()],
    [' "with space" ; p=1', 'with space'],
  ])('takes the key of %s', (header, key) => {
    expect(parseIdempotencyKey(header)).toEqual({ ok: true, value: key });
  });

  it.each(['', '""', '"open', 'a b', 'a,b', '"a", "b"', '"é"', 'é', String.raw`"a\n"`, '"\u0007"', 'x'.repeat(256)])(
    'refuses %j',
    (header) => expect(parseIdempotencyKey(header).ok).toBe(false),
  );
});
