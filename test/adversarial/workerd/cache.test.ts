/** Attack row 51: the same URL with two keys. */

import { describe, expect, it } from 'vitest';
import { cachePlan, fresh, identity, testOrigin, type Call } from '../../workerd/gateway/cache/fixtures.ts';

/** An origin that answers each caller with what it knows of it, and calls that shareable. */
const careless = (more: HeadersInit = {}) =>
  testOrigin((request) => {
    const seen = ['authorization', 'x-api-key', 'cookie', 'x-caller'].map((name) => request.headers.get(name) ?? '');
    return new Response(`secret of ${seen.join('')}`, {
      headers: { 'cache-control': 'public, max-age=3600', ...Object.fromEntries(new Headers(more)) },
    });
  });

/** What two callers get who take turns. */
async function inTurn(one: Call, other: Call, more: HeadersInit = {}): Promise<readonly string[]> {
  const origin = careless(more);
  const path = fresh();
  const texts: string[] = [];
  for (const call of [one, other, one, other]) texts.push((await origin.call(path, call)).text);
  return texts;
}

const ALICE = 'secret of alice';
const BOB = 'secret of bob';

describe('the same URL, two keys', () => {
  it.each<[string, (name: string) => Call]>([
    ['API keys that the gateway knows', (name) => ({ identity: identity(name), headers: { 'x-caller': name } })],
    ['API keys that only the upstream knows', (name) => ({ headers: { 'x-api-key': name } })],
    ['tokens that only the upstream knows', (name) => ({ headers: { authorization: name } })],
    ['cookies', (name) => ({ headers: { cookie: name } })],
    ['cookies behind one API key', (name) => ({ identity: identity('app'), headers: { cookie: name } })],
    ['names that look alike', (name) => ({ identity: identity(`"],["${name}`), headers: { 'x-caller': name } })],
    [
      'a tenant for all, but no tenant of their own',
      (name) => ({ plan: cachePlan({ scope: 'tenant' }), identity: identity(name), headers: { 'x-caller': name } }),
    ],
    [
      'two tenants',
      (name) => ({
        plan: cachePlan({ scope: 'tenant' }),
        identity: identity(name, name),
        headers: { 'x-caller': name },
      }),
    ],
    [
      'a route that disobeys its origin',
      (name) => ({
        plan: cachePlan({ ttl: '1h', respectOrigin: false }),
        identity: identity(name),
        headers: { 'x-caller': name },
      }),
    ],
  ])('never shares by %s', async (_, callOf) => {
    expect(await inTurn(callOf('alice'), callOf('bob'))).toEqual([ALICE, BOB, ALICE, BOB]);
  });

  it('gives nothing of one caller to two who ask at the same moment', async () => {
    const origin = careless();
    const path = fresh();
    const names = Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? 'alice' : 'bob'));
    const texts = await Promise.all(
      names.map((name) => origin.call(path, { identity: identity(name), headers: { 'x-caller': name } })),
    );
    expect(texts.map(({ text }) => text)).toEqual(names.map((name) => `secret of ${name}`));
    expect(origin.requests).toHaveLength(2);
  });

  it('gives a stranger nothing that belongs to a caller, by no header, method or range', async () => {
    const origin = careless({ etag: '"1"' });
    const path = fresh();
    await origin.call(path, { identity: identity('alice'), headers: { 'x-caller': 'alice' } });
    const conditional = { 'if-none-match': '"1"', 'cache-control': 'only-if-cached' };
    expect((await origin.call(path, { headers: conditional })).status).toBe(504);
    expect((await origin.call(path, { method: 'HEAD' })).how).toBe('fwd=miss');
    for (const headers of [{ range: 'bytes=0-' }, { 'cache-control': 'max-stale' }]) {
      expect((await origin.call(path, { headers })).text).toBe('secret of ');
    }
  });
});
