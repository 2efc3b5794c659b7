import { env } from 'cloudflare:workers';
import { describe, expect, it } from 'vitest';
import { cachePlan, fresh, identity, reply, SITE, testOrigin } from './fixtures.ts';
import { reloadConfiguration } from '../../../../src/runtime/configuration.ts';
import { addPurges } from '../../../../src/store/purges.ts';

const MINUTE = { 'cache-control': 'max-age=60' };
const plan = cachePlan();

describe('who shares', () => {
  it('gives a caller what it was given before, and no other caller', async () => {
    const origin = testOrigin(reply('one', MINUTE), reply('two', MINUTE));
    const path = fresh();
    const [first, again, other] = [
      await origin.call(path, { identity: identity('a') }),
      await origin.call(path, { identity: identity('a') }),
      await origin.call(path, { identity: identity('b') }),
    ];
    expect([first.text, again.text, other.text]).toEqual(['one', 'one', 'two']);
    expect([first.how, again.how, other.how]).toEqual([
      'fwd=miss; stored',
      expect.stringMatching(/^hit; ttl=\d+$/),
      'fwd=miss; stored',
    ]);
  });

  it('tells people apart who come with one key and tokens of their own', async () => {
    const origin = testOrigin(reply('one', MINUTE), reply('two', MINUTE));
    const path = fresh();
    const as = (cookie: string) => origin.call(path, { identity: identity('app'), headers: { cookie } });
    expect([(await as('user=1')).text, (await as('user=2')).text, (await as('user=1')).text]).toEqual([
      'one',
      'two',
      'one',
    ]);
  });

  it('shares within a tenant where the route says so, and not beyond', async () => {
    const origin = testOrigin(reply('one', MINUTE), reply('two', MINUTE));
    const path = fresh();
    const as = (id: string, tenant: string) =>
      origin.call(path, { plan: cachePlan({ scope: 'tenant' }), identity: identity(id, tenant) });
    expect([(await as('a', 'x')).text, (await as('b', 'x')).text, (await as('c', 'y')).text]).toEqual([
      'one',
      'one',
      'two',
    ]);
  });

  it('RFC 9111 §3.5: a credential that nobody has checked goes past the cache', async () => {
    const origin = testOrigin(reply('one', MINUTE), reply('two', MINUTE));
    const path = fresh();
    await origin.call(path, { headers: { authorization: 'Bearer one' } });
    const second = await origin.call(path, { headers: { 'x-api-key': 'two' } });
    expect([second.text, second.how]).toEqual(['two', 'fwd=bypass; detail=credentials']);
  });

  it('RFC 9111 §3.5: a public route stores the answer to a credential only where the origin allows it', async () => {
    const open = cachePlan({ scope: 'public' });
    const closed = testOrigin(reply('one', MINUTE), reply('two', MINUTE));
    const path = fresh();
    const headers = { authorization: 'Bearer one' };
    expect((await closed.call(path, { plan: open, headers })).how).toBe('fwd=miss; detail=authorization');
    expect((await closed.call(path, { plan: open })).text).toBe('two');

    const allowing = testOrigin(reply('three', { 'cache-control': 'public, max-age=60' }));
    const shared = fresh();
    await allowing.call(shared, { plan: open, headers });
    expect((await allowing.call(shared, { plan: open })).how).toMatch(/^hit/);
  });

  it('RFC 9111 §5.2.2.7: private is stored for its own caller, and for nobody who shares', async () => {
    const header = { 'cache-control': 'private, max-age=60' };
    const [path, shared] = [fresh(), fresh()];
    const origin = testOrigin(reply('one', header));
    await origin.call(path, { identity: identity('a') });
    expect((await origin.call(path, { identity: identity('a') })).how).toMatch(/^hit/);
    await origin.call(shared);
    expect((await origin.call(shared)).how).not.toMatch(/^hit/);
  });

  it('never stores a cookie that the origin sets, unless the route says so for its own caller', async () => {
    const origin = testOrigin(() => reply('one', { ...MINUTE, 'set-cookie': 'session=1' }));
    const [path, own] = [fresh(), fresh()];
    const caller = identity('a');
    await origin.call(path, { identity: caller });
    expect((await origin.call(path, { identity: caller })).how).not.toMatch(/^hit/);
    const withCookies = cachePlan({ cookies: true });
    await origin.call(own, { plan: withCookies, identity: caller });
    const again = await origin.call(own, { plan: withCookies, identity: caller });
    expect([again.how, again.headers.getSetCookie()]).toEqual([expect.stringMatching(/^hit/), ['session=1']]);
    await origin.call(own, { plan: withCookies });
    expect((await origin.call(own, { plan: withCookies })).how).not.toMatch(/^hit/);
  });
});

describe('storing', () => {
  it.each([
    ['§5.2.2.5: no-store', { 'cache-control': 'no-store, max-age=60' }],
    ['§4.1: Vary: *', { ...MINUTE, vary: '*' }],
    ['§3: nothing that says how long it is fresh', {}],
    ['a stream of events', { ...MINUTE, 'content-type': 'text/event-stream' }],
  ])('RFC 9111 refuses %s', async (_, headers) => {
    const origin = testOrigin(() => reply('one', headers));
    const path = fresh();
    await origin.call(path);
    await origin.call(path);
    expect(origin.requests).toHaveLength(2);
  });

  it('RFC 9111 §3.3: a body that broke off is not stored', async () => {
    const origin = testOrigin(
      () => {
        let sent = false;
        const body = new ReadableStream<Uint8Array>({
          pull(controller) {
            if (sent) controller.error(new Error('gone'));
            else controller.enqueue(new TextEncoder().encode('half'));
            sent = true;
          },
        });
        return new Response(body, { headers: MINUTE });
      },
      reply('whole', MINUTE),
    );
    const path = fresh();
    await expect(origin.call(path)).rejects.toThrow('gone');
    expect((await origin.call(path)).text).toBe('whole');
  });

  it('a body over the bound of the route reaches its caller and is not stored', async () => {
    const small = cachePlan({ maxBytes: 10 });
    const origin = testOrigin(
      () => new Response(new Blob(['x'.repeat(5), 'y'.repeat(50)]).stream(), { headers: MINUTE }),
    );
    const path = fresh();
    expect((await origin.call(path, { plan: small })).text).toHaveLength(55);
    expect((await origin.call(path, { plan: small })).how).toBe('fwd=miss');
  });

  it('RFC 9111 §5.2.1.5: a request with no-store leaves nothing behind', async () => {
    const origin = testOrigin(reply('one', MINUTE), reply('two', MINUTE));
    const path = fresh();
    await origin.call(path, { headers: { 'cache-control': 'no-store' } });
    expect((await origin.call(path)).text).toBe('two');
  });

  it('the time of the route stands in place of what the origin says', async () => {
    const origin = testOrigin(reply('one', { 'cache-control': 'max-age=1', age: '30' }));
    const long = cachePlan({ ttl: '1h' });
    const path = fresh();
    await origin.call(path, { plan: long });
    expect((await origin.call(path, { plan: long, later: 3_500_000 })).how).toMatch(/^hit/);
    expect((await origin.call(path, { plan: long, later: 3_700_000 })).how).not.toMatch(/^hit/);
  });

  it('RFC 9111 §4.1: Vary chooses by the headers of the request', async () => {
    const origin = testOrigin((request) =>
      reply(request.headers.get('accept-language') ?? 'none', { ...MINUTE, vary: 'Accept-Language' }),
    );
    const path = fresh();
    const inLanguage = async (language: string) => {
      const { text, how } = await origin.call(path, { headers: { 'accept-language': language } });
      return [text, how.split(';')[0]];
    };
    expect([await inLanguage('de'), await inLanguage('en'), await inLanguage('de'), await inLanguage('en')]).toEqual([
      ['de', 'fwd=miss'],
      ['en', 'fwd=miss'],
      ['de', 'hit'],
      ['en', 'hit'],
    ]);
    expect((await origin.call(path)).text).toBe('none');
  });

  it('a version of the API has responses of its own', async () => {
    const origin = testOrigin(reply('one', MINUTE), reply('two', MINUTE));
    const path = fresh();
    expect((await origin.call(path, { version: 'v1' })).text).toBe('one');
    expect((await origin.call(path, { version: 'v2' })).text).toBe('two');
  });

  it('query parameters that do not count choose no other response', async () => {
    const origin = testOrigin((request) => reply(new URL(request.url).search, MINUTE));
    const counted = cachePlan({ query: ['page'] });
    const path = fresh();
    await origin.call(`${path}?page=1&utm=x`, { plan: counted });
    expect((await origin.call(`${path}?utm=y&page=1`, { plan: counted })).how).toMatch(/^hit/);
    expect((await origin.call(`${path}?page=2`, { plan: counted })).text).toBe('?page=2');
  });
});

describe('reuse', () => {
  it('RFC 9111 §5.1: Age says how old the response is', async () => {
    const origin = testOrigin(reply('one', { ...MINUTE, age: '7' }));
    const path = fresh();
    await origin.call(path);
    expect((await origin.call(path, { later: 10_000 })).headers.get('age')).toBe('17');
  });

  it.each([
    ['§5.2.1.1: max-age', 'max-age=5', 10_000],
    ['§5.2.1.3: min-fresh', 'min-fresh=55', 10_000],
    ['§5.2.1.4: no-cache', 'no-cache', 0],
  ])('RFC 9111 %s makes the cache ask the origin', async (_, header, later) => {
    const origin = testOrigin(reply('one', MINUTE), reply('two', MINUTE));
    const path = fresh();
    await origin.call(path);
    expect((await origin.call(path, { headers: { 'cache-control': header }, later })).text).toBe('two');
  });

  it('RFC 9111 §5.2.1.2: max-stale takes a stale response', async () => {
    const origin = testOrigin(reply('one', { ...MINUTE, etag: '"1"' }), reply('two', MINUTE));
    const path = fresh();
    await origin.call(path);
    const stale = { headers: { 'cache-control': 'max-stale=30' } };
    expect((await origin.call(path, { ...stale, later: 80_000 })).text).toBe('one');
    expect((await origin.call(path, { ...stale, later: 100_000 })).text).toBe('two');
  });

  it('RFC 9111 §5.2.1.7: only-if-cached is answered by 504 where nothing is stored', async () => {
    const origin = testOrigin(reply('one', MINUTE));
    const path = fresh();
    const only = { headers: { 'cache-control': 'only-if-cached' } };
    const missing = await origin.call(path, only);
    expect([missing.status, origin.requests.length]).toEqual([504, 0]);
    await origin.call(path);
    expect((await origin.call(path, only)).text).toBe('one');
  });

  it('RFC 9111 §4.3: a stale response is validated, and a 304 makes it fresh again', async () => {
    const origin = testOrigin(
      reply('one', { ...MINUTE, etag: '"1"', 'x-seen': 'first' }),
      () => new Response(null, { status: 304, headers: { ...MINUTE, etag: '"1"', 'x-seen': 'second' } }),
    );
    const path = fresh();
    await origin.call(path);
    const validated = await origin.call(path, { later: 61_000 });
    expect(origin.requests[1]?.headers.get('if-none-match')).toBe('"1"');
    expect([validated.status, validated.text, validated.how]).toEqual([
      200,
      'one',
      'fwd=stale; fwd-status=304; stored',
    ]);
    const after = await origin.call(path);
    expect([after.how, after.headers.get('x-seen')]).toEqual([expect.stringMatching(/^hit/), 'second']);
  });

  it('RFC 9111 §4.3.3: a 304 about another response is not believed', async () => {
    const origin = testOrigin(
      reply('one', { 'cache-control': 'no-cache', etag: '"1"' }),
      () => new Response(null, { status: 304, headers: { etag: '"2"' } }),
      reply('two', MINUTE),
    );
    const path = fresh();
    await origin.call(path);
    expect((await origin.call(path)).text).toBe('two');
    expect(origin.requests[2]?.headers.has('if-none-match')).toBe(false);
  });

  it('RFC 9111 §4.3.2: If-None-Match is answered from the cache', async () => {
    const origin = testOrigin(reply('one', { ...MINUTE, etag: '"1"' }));
    const path = fresh();
    const first = await origin.call(path, { headers: { 'if-none-match': '"1"' } });
    expect([first.status, origin.requests[0]?.headers.has('if-none-match')]).toEqual([200, false]);
    const again = await origin.call(path, { headers: { 'if-none-match': 'W/"1", "9"' } });
    expect([again.status, again.text, again.headers.get('etag')]).toEqual([304, '', '"1"']);
    expect((await origin.call(path, { headers: { 'if-none-match': '"9"' } })).status).toBe(200);
  });

  it('RFC 9111 §4: HEAD is answered by a stored GET', async () => {
    const origin = testOrigin(reply('four', MINUTE));
    const path = fresh();
    await origin.call(path);
    const head = await origin.call(path, { method: 'HEAD' });
    expect([head.text, head.headers.get('content-length'), origin.requests.length]).toEqual(['', '4', 1]);
  });

  it('RFC 9110 §14.2: a range is cut from a whole stored response, and else passes by', async () => {
    const origin = testOrigin((request) =>
      request.headers.has('range') ? new Response('23', { status: 206, headers: MINUTE }) : reply('0123456789', MINUTE),
    );
    const path = fresh();
    const range = { headers: { range: 'bytes=2-3' } };
    expect((await origin.call(path, range)).how).toBe('fwd=miss');
    await origin.call(path);
    const cut = await origin.call(path, range);
    expect([cut.status, cut.text, cut.headers.get('content-range'), origin.requests.length]).toEqual([
      206,
      '23',
      'bytes 2-3/10',
      2,
    ]);
    expect((await origin.call(path, { headers: { range: 'bytes=20-' } })).status).toBe(416);
  });

  it('RFC 5861 §3: a stale response is given at once while it is asked for anew', async () => {
    const origin = testOrigin(reply('one', MINUTE), reply('two', MINUTE));
    const tolerant = cachePlan({ staleWhileRevalidate: '30s' });
    const path = fresh();
    await origin.call(path, { plan: tolerant });
    const stale = await origin.call(path, { plan: tolerant, later: 70_000 });
    expect([stale.text, stale.how]).toEqual(['one', 'hit; ttl=-10']);
    expect((await origin.call(path, { plan: tolerant })).text).toBe('two');
    expect(origin.requests).toHaveLength(2);
  });

  it('RFC 5861 §4: a stale response stands in for an origin that fails, but not for ever', async () => {
    const origin = testOrigin(reply('one', MINUTE), reply('broken', {}, 503));
    const tolerant = cachePlan({ staleIfError: '30s' });
    const path = fresh();
    await origin.call(path, { plan: tolerant });
    const held = await origin.call(path, {
      plan: cachePlan({ staleIfError: '30s' }),
      later: 0,
      headers: { 'cache-control': 'no-cache' },
    });
    expect([held.text, held.how]).toEqual(['one', 'hit; detail=stale-if-error; fwd=request; fwd-status=503']);
  });

  it('RFC 9111 §5.2.2.2: must-revalidate is never given away stale', async () => {
    const header = { 'cache-control': 'max-age=0, must-revalidate, stale-if-error=60', etag: '"1"' };
    const origin = testOrigin(reply('one', header), reply('broken', {}, 503), () => {
      throw new Error('unreachable');
    });
    const path = fresh();
    await origin.call(path, { plan });
    expect((await origin.call(path)).status).toBe(503);
    expect((await origin.call(path)).status).toBe(504);
  });

  it('a route whose origin fails without anything stored says so', async () => {
    const origin = testOrigin(() => {
      throw new Error('unreachable');
    });
    await expect(origin.call(fresh())).rejects.toThrow('unreachable');
  });
});

describe('invalidation', () => {
  it.each(['POST', 'PUT', 'DELETE', 'PATCH'])(
    'RFC 9111 §4.4: a successful %s makes what is stored of its address stale',
    async (method) => {
      const origin = testOrigin(reply('one', MINUTE), reply('done'), reply('two', MINUTE));
      const path = fresh();
      await origin.call(path, { identity: identity('a') });
      await origin.call(path, { method, identity: identity('b') });
      expect((await origin.call(path, { identity: identity('a') })).text).toBe('two');
    },
  );

  it('RFC 9111 §4.4: Location is invalidated too, only within the same origin', async () => {
    const [list, item] = [fresh(), fresh()];
    const origin = testOrigin(reply('item', MINUTE), reply('', { location: item }, 201), reply('new', MINUTE));
    await origin.call(item);
    await origin.call(list, { method: 'POST' });
    expect((await origin.call(item)).text).toBe('new');
    origin.replies = [reply('', { location: `https://elsewhere.test${item}` }, 201)];
    await origin.call(list, { method: 'POST' });
    expect((await origin.call(item)).how).toMatch(/^hit/);
  });

  it('RFC 9111 §4.4: neither a failure nor a safe method invalidates', async () => {
    const origin = testOrigin(reply('one', MINUTE), reply('no', {}, 422), reply('fine'));
    const path = fresh();
    await origin.call(path);
    await origin.call(path, { method: 'POST' });
    await origin.call(path, { method: 'OPTIONS' });
    expect((await origin.call(path)).how).toMatch(/^hit/);
  });
});

describe('purges', () => {
  const purge = (scope: string) => addPurges(env.DB, [scope], 'test', Date.now());
  const tagged = cachePlan({ tags: ['orders', 'order-{{ params.id }}'] });

  it.each([
    ['a tag of the route', 'tag:order-7', true],
    ['a tag that the origin gave', 'tag:given', true],
    ['its target', 'target:route:test', true],
    ['everything', '*', true],
    ['a tag of another', 'tag:order-8', false],
    ['another target', 'target:route:other', false],
  ])('by %s', async (_, scope, goes) => {
    const origin = testOrigin(reply('one', { ...MINUTE, 'cache-tag': 'given, more' }), reply('two', MINUTE));
    const path = fresh();
    const call = { plan: tagged, params: { id: '7' } };
    const first = await origin.call(path, call);
    expect(first.headers.has('cache-tag')).toBe(false);
    await purge(scope);
    expect((await origin.call(path, call)).text).toBe(goes ? 'two' : 'one');
  });

  it('what cannot be told by what to purge it is not stored', async () => {
    const origin = testOrigin(reply('one', MINUTE));
    const path = fresh();
    expect((await origin.call(path, { plan: tagged })).how).toBe('fwd=miss; detail=tags');
  });

  it('by address, whatever the query', async () => {
    const origin = testOrigin(reply('one', MINUTE), reply('two', MINUTE));
    const path = fresh();
    await origin.call(`${path}?page=1`);
    await purge(`url:${SITE}${path}`);
    expect((await origin.call(`${path}?page=1`)).text).toBe('two');
  });

  it('what was under way during a purge is stale, too', async () => {
    const origin = testOrigin(reply('two', MINUTE));
    const path = fresh();
    const call = { plan: tagged, params: { id: '7' } };
    const before = await reloadConfiguration(env);
    await purge('tag:orders');
    await origin.call(path, { ...call, configuration: before });
    origin.replies = [reply('three', MINUTE)];
    expect((await origin.call(path, call)).text).toBe('three');
  });
});
