/** The stage of the limits alone, without the gateway around it: what `npm run bench -- limit` measures. */

import { compileLimits, limitsFields } from '../../src/core/route/limits.ts';
import { IssueList } from '../../src/core/chain/issues.ts';
import { problemResponse } from '../../src/core/errors.ts';
import type { Env } from '../../src/env.ts';
import type { Identity } from '../../src/gateway/exchange.ts';
import { pathOf } from '../../src/gateway/event.ts';
import { admit, type Admission } from '../../src/gateway/limits/admit.ts';
import * as v from 'valibot';

export { LimiterObject } from '../../src/runtime/limiter-object.ts';

const planOf = (limit: number) =>
  compileLimits(
    v.parse(v.strictObject(limitsFields), { limits: [{ limit, period: '10s', by: 'key' }] }),
    '',
    new IssueList(),
  );

/** By path: never reached, never reached by any of 10,000 keys, and reached all the time. */
const PLANS = { '/hot': planOf(10_000_000), '/many': planOf(1_000), '/strict': planOf(1_000) } as const;
type Path = keyof typeof PLANS;
const isPath = (path: string): path is Path => Object.hasOwn(PLANS, path);

const KEYS = 10_000;
const identities = Array.from({ length: KEYS }, (_, index): Identity => ({
  kind: 'key',
  id: `key:key_${index}`,
  tenant: undefined,
  scopes: [],
}));
let requests = 0;

const configuration = {
  revision: 0,
  chains: new Map(),
  sources: new Map(),
  keys: new Map(),
  connections: new Map(),
  purges: new Map(),
  switches: new Map(),
  routes: new Map(),
  upstreams: new Map(),
};

export default {
  fetch(request, env, ctx): Response | Promise<Response> {
    const { url, method, headers } = request;
    const path = pathOf(url);
    if (!isPath(path)) return new Response('ok');
    const identity = identities[path === '/many' ? requests++ % KEYS : 0];
    const target = `route:bench${path}`;
    const receivedAt = Date.now();
    const exchange = {
      request,
      method,
      url,
      path,
      headers,
      hops: undefined,
      params: {},
      receivedAt,
      target,
      version: '',
      env,
      ctx,
      configuration,
    };
    const admission = admit(PLANS[path], exchange, identity);
    return admission instanceof Promise ? admission.then(responseOf) : responseOf(admission);
  },
} satisfies ExportedHandler<Env>;

/** With the instant of the decision, for the count of windows. */
function responseOf(admission: Admission): Response {
  const response = admission.ok ? new Response('ok') : problemResponse(admission.fault);
  for (const [name, value] of admission.headers ?? []) response.headers.set(name, value);
  response.headers.set('x-decided-at', String(Date.now()));
  return response;
}
