/**
 * Finding the route of a request among 10, 1,000 and 10,000: static paths, parameters, rests and hosts in
 * equal parts, asked for in random order, each path a text of its own as it comes out of a URL.
 */

import { Router } from '../src/gateway/router.ts';

const ROUNDS = 15;
const LOOKUPS = 100_000;

interface Asked {
  readonly url: string;
  readonly host: string;
  readonly target: number;
}

/** Shapes of routes as APIs have them, with a request for each: `n` is the route, `k` the request. */
const SHAPES: readonly {
  readonly add: (router: Router<number>, n: number) => void;
  readonly url: (n: number, k: number) => string;
}[] = [
  {
    add: (router, n) => router.add('GET', `/v1/resources-${n}/list`, n),
    url: (n, k) => `https://gate.example/v1/resources-${n}/list?page=${k}`,
  },
  {
    add: (router, n) => router.add('GET', `/v1/things-${n}/{id}`, n),
    url: (n, k) => `https://gate.example/v1/things-${n}/${k}`,
  },
  {
    add: (router, n) => router.add('GET', `/v1/shops/{shop}/orders-${n}/{id}`, n),
    url: (n, k) => `https://gate.example/v1/shops/north/orders-${n}/${k}`,
  },
  {
    add: (router, n) => router.add('*', `/files-${n}/{rest*}`, n),
    url: (n, k) => `https://gate.example/files-${n}/a/b/${k}.txt`,
  },
  {
    add: (router, n) => router.add('GET', '/tenants/{id}', n, `tenant-${n}.example`),
    url: (n, k) => `https://tenant-${n}.example/tenants/${k}`,
  },
];

interface Side {
  readonly routes: number;
  readonly router: Router<number>;
  readonly asked: readonly Asked[];
  readonly nanoseconds: number[];
}

function sideOf(routes: number): Side {
  const router = new Router<number>();
  for (let n = 0; n < routes; n++) SHAPES[n % SHAPES.length]?.add(router, n);
  // As many texts on each side, so that reading them costs the same.
  const asked = Array.from({ length: LOOKUPS }, (_, k): Asked => {
    const target = Math.floor(Math.random() * routes);
    const url = SHAPES[target % SHAPES.length]?.url(target, k) ?? '';
    return { url, host: new URL(url).hostname, target };
  });
  return { routes, router, asked, nanoseconds: [] };
}

function round({ router, asked, nanoseconds }: Side): void {
  let wrong = 0;
  const startedAt = performance.now();
  for (const { url, host, target } of asked) {
    const start = url.indexOf('/', 8);
    const query = url.indexOf('?', start);
    const lookup = router.find('GET', url.slice(start, query === -1 ? url.length : query), host);
    if (lookup.kind !== 'found' || lookup.match.target !== target) wrong++;
  }
  nanoseconds.push(((performance.now() - startedAt) / asked.length) * 1e6);
  if (wrong > 0) throw new Error(`${wrong} requests found another route than theirs`);
}

const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

export async function routes(): Promise<void> {
  const sides = [10, 1_000, 10_000].map(sideOf);
  for (const side of sides) for (let warm = 0; warm < 3; warm++) round(side);
  for (const side of sides) side.nanoseconds.length = 0;
  for (let n = 0; n < ROUNDS; n++) for (const side of sides) round(side);
  const [few, ...more] = sides.map(({ routes: count, nanoseconds }) => ({ count, nanoseconds: median(nanoseconds) }));
  if (few === undefined) return;
  for (const { count, nanoseconds } of [few, ...more])
    console.log(`${count} routes: ${nanoseconds.toFixed(0)} ns a look-up`);
  for (const { count, nanoseconds } of more) {
    console.log(`RATIO routes ${count}/${few.count} ${(nanoseconds / few.nanoseconds).toFixed(2)}`);
  }
}
