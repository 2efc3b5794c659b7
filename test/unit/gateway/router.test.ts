import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Router } from '../../../src/gateway/router.ts';

/** Each route leads to its own `METHOD path`. */
function routerOf(...routes: string[]): Router<string> {
  const router = new Router<string>();
  for (const route of routes) {
    const [method = '', path = ''] = route.split(' ');
    router.add(method, path, route);
  }
  return router;
}
const find = (router: Router<string>, route: string): unknown => {
  const [method = '', path = ''] = route.split(' ');
  const lookup = router.find(method, path);
  if (lookup.kind === 'found') return [lookup.match.target, { ...lookup.match.params }];
  return lookup.kind === 'method' ? lookup.allowed.toSorted() : undefined;
};

const router = routerOf(
  'GET /',
  'GET /orders',
  'POST /orders',
  'GET /orders/{id}',
  'GET /orders/open',
  'POST /orders/{id}/items/{item}',
  'GET /{shop}/orders/{id}',
);

describe('finds', () => {
  it.each([
    ['GET /', 'GET /', {}],
    ['POST /orders', 'POST /orders', {}],
    ['GET /orders/A1', 'GET /orders/{id}', { id: 'A1' }],
    ['GET /orders/open', 'GET /orders/open', {}],
    ['GET /orders/opened', 'GET /orders/{id}', { id: 'opened' }],
    ['POST /orders/A1/items/7', 'POST /orders/{id}/items/{item}', { id: 'A1', item: '7' }],
    ['GET /north/orders/A1', 'GET /{shop}/orders/{id}', { shop: 'north', id: 'A1' }],
    ['GET /orders/orders/A1', 'GET /{shop}/orders/{id}', { shop: 'orders', id: 'A1' }],
  ])('%s', (asked, target, params) => {
    expect(find(router, asked)).toEqual([target, params]);
  });

  it('literals before parameters at every segment, going back where a literal leads nowhere', () => {
    const both = routerOf('GET /a/{x}/end', 'GET /{y}/b/end', 'GET /a/b/{z}');
    expect(find(both, 'GET /a/b/end')).toEqual(['GET /a/b/{z}', { z: 'end' }]);
    expect(find(both, 'GET /c/b/end')).toEqual(['GET /{y}/b/end', { y: 'c' }]);
    expect(find(both, 'GET /a/c/end')).toEqual(['GET /a/{x}/end', { x: 'c' }]);
  });

  it('the parameter where the literal does not take the method', () => {
    const both = routerOf('GET /a/b', 'POST /a/{x}', 'GET /p/{x}/c', 'POST /{y}/q/c');
    expect(find(both, 'POST /a/b')).toEqual(['POST /a/{x}', { x: 'b' }]);
    expect(find(both, 'POST /p/q/c')).toEqual(['POST /{y}/q/c', { y: 'p' }]);
    expect(find(both, 'PUT /p/q/c')).toEqual(['GET', 'POST']);
  });

  it('the names of each route, where two methods name one segment differently', () => {
    const both = routerOf('GET /a/{id}', 'PUT /a/{name}');
    expect(find(both, 'PUT /a/x')).toEqual(['PUT /a/{name}', { name: 'x' }]);
  });
});

describe('parameters', () => {
  it.each([
    ['A%20b', 'A b'],
    ['%E2%82%AC', '€'],
    ['a%2Fb', 'a/b'],
    ['%2e%2e', '..'],
    ['a+b', 'a+b'],
    ['__proto__', '__proto__'],
    ['{id}', '{id}'],
  ])('%s is read as %s', (text, value) => {
    expect(find(router, `GET /orders/${text}`)).toEqual(['GET /orders/{id}', { id: value }]);
  });

  it('have no prototype that a name could reach', () => {
    const lookup = router.find('GET', '/orders/A1');
    expect(lookup.kind === 'found' && lookup.match.params['toString']).toBeUndefined();
  });
});

describe('refuses', () => {
  it.each([
    'GET /nothing',
    'GET /orders/',
    'GET //orders',
    'GET /orders//items',
    'POST /orders//items/7',
    'GET /orders/A1/',
    'GET /ORDERS',
    'GET ',
    'GET /orders/%',
    'GET /orders/%zz',
    'GET /orders/%c3%28',
    'GET /orders/%ff',
  ])('%s', (asked) => {
    expect(find(router, asked)).toBeUndefined();
  });

  it.each([
    ['PUT /orders', ['GET', 'POST']],
    ['DELETE /orders/A1', ['GET']],
    ['DELETE /orders/open', ['GET']],
    ['GET /orders/A1/items/7', ['POST']],
    ['get /orders', ['GET', 'POST']],
  ])('%s, and names the methods that are there', (asked, allowed) => {
    expect(find(router, asked)).toEqual(allowed);
  });
});

describe('a rest', () => {
  const rest = routerOf(
    'GET /files/{rest*}',
    'GET /files/{id}/info',
    'GET /files/list',
    '* /api/{rest*}',
    'GET /api/v1',
  );

  it.each([
    ['GET /files/a', { rest: 'a' }],
    ['GET /files/a/b/c', { rest: 'a/b/c' }],
    ['GET /files/a/info/x', { rest: 'a/info/x' }],
    ['GET /files/a//b/', { rest: 'a//b/' }],
    ['GET /files/', { rest: '' }],
    ['GET /files', { rest: '' }],
  ])('takes what is left of %s', (asked, params) => {
    expect(find(rest, asked)).toEqual(['GET /files/{rest*}', params]);
  });

  it('comes after everything that is more exact', () => {
    expect(find(rest, 'GET /files/list')).toEqual(['GET /files/list', {}]);
    expect(find(rest, 'GET /files/7/info')).toEqual(['GET /files/{id}/info', { id: '7' }]);
    expect(find(rest, 'GET /api/v1')).toEqual(['GET /api/v1', {}]);
  });

  it('takes every method where its own is *', () => {
    for (const method of ['GET', 'POST', 'PURGE']) {
      expect(find(rest, `${method} /api/v1/x`)).toEqual(['* /api/{rest*}', { rest: 'v1/x' }]);
    }
    expect(find(rest, 'POST /api/v1')).toEqual(['* /api/{rest*}', { rest: 'v1' }]);
  });

  it.each(['GET /filesystem', 'GET /file', 'GET /files%2Fa', 'GET //files/a', 'GET /files/%zz'])(
    'does not take %s',
    (asked) => {
      expect(find(rest, asked)).toBeUndefined();
    },
  );

  it('gives its value also as it was received', () => {
    const lookup = rest.find('GET', '/files/a%2Fb/c');
    expect(lookup).toMatchObject({ match: { params: { rest: 'a/b/c' }, values: ['a%2Fb/c'] } });
  });
});

describe('a host', () => {
  const hosts = new Router<string>();
  hosts.add('GET', '/a', 'everywhere');
  hosts.add('GET', '/b', 'everywhere');
  hosts.add('GET', '/a', 'exact', 'api.example.com');
  hosts.add('GET', '/a', 'near', '*.eu.example.com');
  hosts.add('GET', '/a', 'wide', '*.example.com');
  hosts.add('POST', '/c', 'posted', '*.example.com');
  const on = (host: string, path = '/a', method = 'GET'): unknown => {
    const lookup = hosts.find(method, path, host);
    return lookup.kind === 'found' ? lookup.match.target : lookup;
  };

  it.each([
    ['api.example.com', 'exact'],
    ['www.example.com', 'wide'],
    ['a.b.example.com', 'wide'],
    ['x.eu.example.com', 'near'],
    ['example.com', 'everywhere'],
    ['badexample.com', 'everywhere'],
    ['api.example.com.evil.test', 'everywhere'],
    ['', 'everywhere'],
  ])('%s leads to the route that is %s', (host, target) => {
    expect(on(host)).toBe(target);
  });

  it('without the path leaves it to the routes of every host', () => {
    expect(on('api.example.com', '/b')).toBe('everywhere');
    expect(on('api.example.com', '/c')).toEqual({ kind: 'method', allowed: ['POST'] });
    expect(on('example.com', '/c')).toEqual({ kind: 'missing' });
  });
});

describe('any routes', () => {
  interface Route {
    readonly host: string | undefined;
    readonly method: string;
    readonly path: string;
  }

  const RANKS = { literal: 'a', parameter: 'b', rest: 'c' };

  /** How near a route is to a path, as a text that sorts; undefined where it does not match. */
  function nearness(pattern: string, path: string): string | undefined {
    const asked = path.slice(1).split('/');
    const segments = pattern.slice(1).split('/');
    let rank = '';
    for (const [index, segment] of segments.entries()) {
      if (segment.endsWith('*}')) return rank + RANKS.rest;
      const literal = segment === asked[index];
      if (!literal && (!segment.startsWith('{') || (asked[index] ?? '') === '')) return undefined;
      rank += literal ? RANKS.literal : RANKS.parameter;
    }
    return asked.length === segments.length ? rank : undefined;
  }

  function hostNearness(route: string | undefined, host: string): string | undefined {
    if (route === undefined) return 'z';
    if (route === host) return 'a';
    return route.startsWith('*') && host.slice(1).includes(route.slice(1)) && host.endsWith(route.slice(1))
      ? `b${100 - route.length}`
      : undefined;
  }

  function nearest(routes: readonly Route[], method: string, path: string, host: string): Route | undefined {
    const ranked = routes.flatMap((route) => {
      const hostRank = hostNearness(route.host, host);
      const pathRank = nearness(route.path, path);
      if (hostRank === undefined || pathRank === undefined) return [];
      if (route.method !== method && route.method !== '*') return [];
      return [{ route, rank: `${hostRank} ${pathRank} ${route.method === method ? 'a' : 'b'}` }];
    });
    return ranked.toSorted((a, b) => (a.rank < b.rank ? -1 : 1))[0]?.route;
  }

  // Few letters, so that routes share beginnings; `ÿ` and `€` need one unit and more than a byte.
  const segment = fc.constantFrom('a', 'b', 'ab', 'ba', 'abc', 'ÿ', '€', 'a-long-segment');
  const pattern = fc
    .tuple(fc.array(fc.oneof(segment, fc.constant('{p}')), { maxLength: 4 }), fc.boolean())
    .map(([segments, rest]) => `/${[...segments, ...(rest ? ['{rest*}'] : [])].join('/')}`);
  const method = fc.constantFrom('GET', 'POST', '*');
  const hosts = fc.constantFrom(undefined, undefined, 'x.test', 'a.x.test', '*.x.test', '*.a.x.test');
  const asked = fc
    .array(fc.oneof(segment, fc.constant('')), { maxLength: 5 })
    .map((segments) => `/${segments.join('/')}`);
  const askedHost = fc.constantFrom('', 'x.test', 'a.x.test', 'b.a.x.test', 'other.test');

  it('are found as a search of the whole list finds them', () => {
    const routes = fc.uniqueArray(fc.record({ host: hosts, method, path: pattern }), {
      maxLength: 60,
      selector: ({ host, method: verb, path }) => `${host} ${verb} ${path}`,
    });
    fc.assert(
      fc.property(routes, fc.array(fc.tuple(asked, askedHost), { maxLength: 30 }), (list, requests) => {
        const built = new Router<Route>();
        for (const route of list) built.add(route.method, route.path, route, route.host);
        for (const [path, host] of requests) {
          const lookup = built.find('GET', path, host);
          expect(lookup.kind === 'found' ? lookup.match.target : undefined).toBe(nearest(list, 'GET', path, host));
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

it('stays right and fast with ten thousand routes', () => {
  const many = new Router<number>();
  for (let n = 0; n < 5_000; n++) {
    many.add('GET', `/static/path/${n}`, n);
    many.add('GET', `/group-${n % 50}/{id}/part-${n}`, n);
  }
  const startedAt = performance.now();
  for (let n = 0; n < 5_000; n++) {
    expect(many.find('GET', `/static/path/${n}`)).toMatchObject({ match: { target: n } });
    expect(many.find('GET', `/group-${n % 50}/x/part-${n}`)).toMatchObject({ match: { target: n } });
  }
  // A scan of the list would take minutes; the bound is wide enough for a loaded machine.
  expect(performance.now() - startedAt).toBeLessThan(5_000);
});
