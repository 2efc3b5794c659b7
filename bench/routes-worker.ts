/**
 * The Worker of `npm run bench -- routes`: finds routes among `?routes=` of them, static paths, parameters, rests
 * and hosts in equal parts, asked for in random order, each path a text of its own as it comes out of a URL.
 */

import { hostnameOf, pathOf } from '../src/gateway/event.ts';
import { Router } from '../src/gateway/router.ts';

const LOOKUPS = 100_000;

interface Asked {
  readonly url: string;
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
  readonly router: Router<number>;
  readonly asked: readonly Asked[];
}

function sideOf(routes: number): Side {
  const router = new Router<number>();
  for (let n = 0; n < routes; n++) SHAPES[n % SHAPES.length]?.add(router, n);
  // As many texts on each side, so that reading them costs the same.
  const asked = Array.from({ length: LOOKUPS }, (_, k): Asked => {
    const target = Math.floor(Math.random() * routes);
    const url = SHAPES[target % SHAPES.length]?.url(target, k) ?? '';
    return { url, target };
  });
  return { router, asked };
}

/** How many requests found another route than theirs. */
function wrongOf({ router, asked }: Side): number {
  let wrong = 0;
  for (const { url, target } of asked) {
    const lookup = router.find('GET', pathOf(url), hostnameOf(url));
    if (lookup.kind !== 'found' || lookup.match.target !== target) wrong++;
  }
  return wrong;
}

const sides = new Map<number, Side>();

export default {
  fetch({ url }) {
    const routes = Number(new URL(url).searchParams.get('routes'));
    const side = sides.get(routes) ?? sideOf(routes);
    sides.set(routes, side);
    return Response.json({ lookups: LOOKUPS, wrong: wrongOf(side) });
  },
} satisfies ExportedHandler;
