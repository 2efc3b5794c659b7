import { describe, expect, it } from 'vitest';
import { compileRoute } from '../../../src/core/route/compile.ts';
import { allowsOrigin } from '../../../src/core/route/cors.ts';
import { isPlainPath } from '../../../src/core/route/path.ts';
import type { RoutePlan } from '../../../src/core/route/plan.ts';

type Fields = Readonly<Record<string, unknown>>;

const minimal = { name: 'orders', path: '/orders/{id}', upstream: 'shop' };

function plan(fields: Fields): RoutePlan {
  const compiled = compileRoute({ ...minimal, ...fields });
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.fault.issues));
  return compiled.value;
}

const mistakes = (fields: Fields): unknown => {
  const compiled = compileRoute({ ...minimal, ...fields });
  return compiled.ok ? [] : compiled.fault.issues?.map(({ path, message }) => `${path}: ${message}`);
};

it('a route needs a key unless it says otherwise, and answers every host and method', () => {
  expect(plan({})).toMatchObject({
    policies: { auth: { mode: 'any', rules: [{ type: 'key' }] } },
    entries: [{ hosts: [], methods: ['*'], path: '/orders/{id}', version: { name: undefined, upstream: 'shop' } }],
  });
});

describe('refused, with the place and the fix', () => {
  it.each<[Fields, RegExp]>([
    [{ path: '/_/api' }, /^path: .*belong to the gateway/],
    [{ path: '/hooks/x' }, /^path: .*belong to the gateway/],
    [{ path: '/a/{rest*}/b' }, /^path: .*only at the end/],
    [{ path: '/a/../b' }, /^path: .*cannot be a segment/],
    [{ path: '/{a}/{a}' }, /^path: .*twice/],
    [{ pathh: '/x' }, /^pathh: .*[Dd]id you mean "path"/],
    [{ hosts: ['API.example.com'] }, /^hosts\.?\[?0/],
    [{ hosts: ['example.com:80'] }, /^hosts/],
    [{ methods: ['FETCH'] }, /^methods/],
    [{ timeout: '5 seconds' }, /^timeout/],
    [{ bodyLimitBytes: -1 }, /^bodyLimitBytes/],
    [{ request: { path: '/x/{nothing}' } }, /^request\.path: The path of the route has no parameter \{nothing\}/],
    [{ request: { path: '/x?y=1' } }, /^request\.path: .*cannot stand in a path/],
    [{ request: { headers: { set: { 'content-length': '1' } } } }, /^request\.headers: .*set by the gateway/],
    [
      { request: { headers: { set: { 'x-a': '{{ requst.method }}' } } } },
      /^request\.headers\.set\.x-a: .*Did you mean "request"/,
    ],
    [{ request: { headers: { set: { 'x-a': '{{ response.status }}' } } } }, /There is no "response"/],
    [{ response: { body: '{{ ( }}' } }, /^response\.body/],
    [{ cors: { origins: '*', credentials: true } }, /^cors\.credentials/],
    [{ cors: { origins: ['app.example'] } }, /^cors\.origins\.0: .*scheme and host/],
    [{ cors: { origins: ['https://app.example/'] } }, /^cors\.origins\.0/],
    [{ versions: { by: 'path', list: { 1: {} } } }, /^path: .*must hold \{version\}/],
    [{ versions: { by: 'host', list: { 1: {} } } }, /^versions\.list\.1\.hosts: .*name its hosts/],
    [
      { versions: { by: 'header', default: '3', list: { 1: {}, 2: {} } } },
      /^versions\.default: There is no version "3"/,
    ],
    [{ versions: { by: 'header', list: { 1: { sunset: 'tomorrow' } } } }, /^versions\.list\.1\.sunset/],
    [{ versions: { by: 'header', list: { 1: { link: 'javascript:alert(1)' } } } }, /^versions\.list\.1\.link/],
  ])('%j', (fields, expected) => {
    expect(mistakes(fields)).toContainEqual(expect.stringMatching(expected));
  });
});

describe('versions', () => {
  it('by path are paths of their own, and the default has the path without one', () => {
    const { entries } = plan({
      path: '/v{version}/orders'.replace('v{version}', '{version}'),
      versions: { by: 'path', default: 'v2', list: { v1: { upstream: 'old' }, v2: {} } },
    });
    expect(entries.map(({ path, version }) => [path, 'by' in version ? '' : version.upstream])).toEqual([
      ['/v1/orders', 'old'],
      ['/v2/orders', 'shop'],
      ['/orders', 'shop'],
    ]);
  });

  it('by host have the hosts of each', () => {
    const list = { 1: { hosts: ['v1.example.com'] }, 2: { hosts: ['v2.example.com'] } };
    expect(plan({ versions: { by: 'host', list } }).entries.map(({ hosts }) => hosts)).toEqual([
      ['v1.example.com'],
      ['v2.example.com'],
    ]);
  });

  it('tell of their end by RFC 9745, RFC 8594 and a link', () => {
    const list = {
      1: { deprecated: '2026-01-01T00:00:00Z', sunset: '2026-12-31T23:59:59Z', link: 'https://docs.example/v2' },
    };
    const [entry] = plan({ versions: { by: 'header', list } }).entries;
    const version = entry?.version;
    expect(version !== undefined && 'by' in version && version.versions.get('1')?.notices).toEqual([
      ['deprecation', '@1767225600'],
      ['sunset', 'Thu, 31 Dec 2026 23:59:59 GMT'],
      ['link', '<https://docs.example/v2>; rel="deprecation"; type="text/html"'],
    ]);
  });
});

describe('an origin', () => {
  const { cors } = plan({ cors: { origins: ['https://app.example', 'https://*.app.example'] } }).policies;
  it.each([
    ['https://app.example', true],
    ['https://a.app.example', true],
    ['https://a.b.app.example', true],
    ['http://app.example', false],
    ['https://app.example.evil.test', false],
    ['https://evilapp.example', false],
    ['https://.app.example', false],
    ['https://app.example:8443', false],
    ['null', false],
    ['', false],
  ])('%s may call: %s', (origin, expected) => {
    expect(cors !== undefined && allowsOrigin(cors, origin)).toBe(expected);
  });
});

describe('a path', () => {
  it.each([
    ['/a/b', true],
    ['/.well-known/x', true],
    ['/a/..b/c..', true],
    ['/a/...', true],
    ['/a/../b', false],
    ['/a/..', false],
    ['/./a', false],
    ['/a/%2e%2E/b', false],
    ['/a/.%2e/b', false],
    ['/a/..;x/b', false],
    ['/a\\..\\b', false],
    ['/a/..%5cb', false],
    ['/a%00b', false],
  ])('%s says the same to everybody: %s', (path, expected) => {
    expect(isPlainPath(path)).toBe(expected);
  });
});
