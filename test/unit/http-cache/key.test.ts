import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { keyOf, partitionOf, type Caller, type CacheScope } from '../../../src/core/http-cache/key.ts';

const SITE = { version: '', origin: 'https://api.test', headers: new Headers() };

const text = fc.oneof(fc.string(), fc.constantFrom('', '"', ',', '","', '["', '\\', 'identity', 'tenant', 'public'));
const identityOf = fc.record({ id: text, tenant: fc.option(text, { nil: undefined }) });
const place = fc.record({ target: text, path: text, search: fc.string().map((query) => `?${query}`) });
const counted = fc.oneof(fc.constant('all' as const), fc.array(text, { maxLength: 3 }));

const keyFor = (
  scope: CacheScope,
  caller: Caller,
  where: { target: string; path: string; search: string },
  query: 'all' | readonly string[] = 'all',
) => {
  const partition = partitionOf(scope, caller);
  return partition && keyOf(partition, { ...SITE, ...where }, query, []);
};
const plain = (identity: Caller['identity']): Caller => ({ identity, headers: new Headers() });

describe('isolation', () => {
  it('two identities never have the same key, whatever their names and tenants, and whatever they ask for', () => {
    fc.assert(
      fc.property(identityOf, identityOf, place, place, counted, (one, other, here, there, query) => {
        fc.pre(one.id !== other.id);
        const keys = [keyFor('identity', plain(one), here, query), keyFor('identity', plain(one), there, query)];
        expect(keys).not.toContain(keyFor('identity', plain(other), here, query));
      }),
    );
  });

  it('two tenants never have the same key, and nobody without a tenant has that of one', () => {
    fc.assert(
      fc.property(identityOf, identityOf, place, (one, other, where) => {
        fc.pre(one.tenant !== other.tenant && one.id !== other.id);
        expect(keyFor('tenant', plain(one), where)).not.toBe(keyFor('tenant', plain(other), where));
      }),
    );
  });

  it('no key of one scope is one of another', () => {
    fc.assert(
      fc.property(identityOf, place, (who, where) => {
        const callers: [CacheScope, Caller][] = [
          ['identity', plain(who)],
          ['tenant', plain({ ...who, tenant: who.id })],
          ['public', plain(who)],
          ['identity', plain(undefined)],
        ];
        expect(new Set(callers.map(([scope, caller]) => keyFor(scope, caller, where))).size).toBe(callers.length);
      }),
    );
  });

  it('two targets or paths never have the same key', () => {
    fc.assert(
      fc.property(place, place, (here, there) => {
        fc.pre(here.target !== there.target || here.path !== there.path || here.search !== there.search);
        expect(keyFor('public', plain(undefined), here)).not.toBe(keyFor('public', plain(undefined), there));
      }),
    );
  });

  it.each(['authorization', 'cookie', 'x-api-key', 'proxy-authorization', 'cf-access-jwt-assertion'])(
    'nobody who shows %s unchecked has a key, unless everybody shares',
    (name) => {
      const headers = new Headers({ [name]: 'x' });
      expect(partitionOf('identity', { identity: undefined, headers })).toBeUndefined();
      expect(partitionOf('tenant', { identity: undefined, headers })).toBeUndefined();
      expect(partitionOf('public', { identity: undefined, headers })?.shared).toBe(true);
    },
  );
});

describe('query', () => {
  const where = { target: 't', path: '/' };
  const key = (search: string, query: 'all' | readonly string[]) =>
    keyFor('public', plain(undefined), { ...where, search }, query);

  it('parameters that do not count, and their order, make no difference', () => {
    expect(key('?a=1&b=2', ['a', 'b'])).toBe(key('?b=2&x=3&a=1', ['a', 'b']));
    expect(key('?x=3', ['a'])).toBe(key('', ['a']));
  });

  it('values that count do, repeated ones too', () => {
    expect(key('?a=1', ['a'])).not.toBe(key('?a=2', ['a']));
    expect(key('?a=1&a=2', ['a'])).not.toBe(key('?a=1', ['a']));
    expect(key('?a=', ['a'])).not.toBe(key('', ['a']));
    expect(key('?a=1', ['a', 'b'])).not.toBe(key('?b=1', ['a', 'b']));
  });
});
