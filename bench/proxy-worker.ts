/** Forwarding alone, without the gateway in front of it: one side of `npm run bench -- proxy`. */

import { compilePool, type PoolPlan } from '../src/core/route/upstream.ts';
import { pathOf } from '../src/gateway/event.ts';
import type { Exchange } from '../src/gateway/exchange.ts';
import { forward } from '../src/gateway/proxy/forward.ts';
import type { Configuration } from '../src/runtime/configuration.ts';
import type { Env } from '../src/env.ts';

let plan: PoolPlan | undefined;

function planOf(upstream: string): PoolPlan {
  const compiled = compilePool({ name: 'bench', targets: [{ url: upstream }] });
  if (!compiled.ok) throw new Error(compiled.fault.message);
  return compiled.value;
}

const configuration: Configuration = {
  revision: 1,
  chains: new Map(),
  routes: new Map(),
  upstreams: new Map(),
  sources: new Map(),
  keys: new Map(),
  connections: new Map(),
  purges: new Map(),
  switches: new Map(),
};

export default {
  fetch(request, env, ctx) {
    const { url, method, headers } = request;
    const path = pathOf(url);
    const receivedAt = Date.now();
    plan ??= planOf(env.UPSTREAM);
    const known = { request, method, url, path, headers, hops: undefined, receivedAt, env, ctx, configuration };
    const exchange: Exchange = { ...known, params: {}, target: 'route:bench', version: '' };
    return forward(plan, exchange, { path: url.slice(url.indexOf('/', url.indexOf('//') + 2)) });
  },
} satisfies ExportedHandler<Env & { readonly UPSTREAM: string }>;
