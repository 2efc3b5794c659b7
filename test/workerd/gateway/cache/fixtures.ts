/** The stage by itself: an exchange made by hand, and an origin that counts what it is asked. */

import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { throughCache } from '../../../../src/gateway/cache/stage.ts';
import type { Exchange, Identity } from '../../../../src/gateway/exchange.ts';
import { IssueList } from '../../../../src/core/chain/issues.ts';
import { cachePolicy, compileCache, type CachePlan } from '../../../../src/core/route/cache.ts';
import { reloadConfiguration, type Configuration } from '../../../../src/runtime/configuration.ts';
import * as v from 'valibot';
import '../fixtures.ts';

export const SITE = 'https://api.test';

export function cachePlan(document: v.InferInput<typeof cachePolicy> = {}): CachePlan {
  const issues = new IssueList();
  const plan = compileCache(v.parse(cachePolicy, document), 'cache', issues);
  if (issues.all.length > 0) throw new Error(JSON.stringify(issues.all));
  return plan;
}

export const identity = (id: string, tenant?: string): Identity => ({
  kind: 'key',
  id: `key:${id}`,
  tenant,
  scopes: [],
});

export interface Call {
  readonly plan?: CachePlan;
  readonly identity?: Identity | undefined;
  readonly method?: string;
  readonly headers?: HeadersInit;
  readonly target?: string;
  readonly version?: string;
  readonly params?: Record<string, string>;
  /** How far the clock of the request is ahead. */
  readonly later?: number;
  readonly configuration?: Configuration;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** `Cache-Status`, without the name of the cache. */
  readonly how: string;
}

export type Reply = Response | ((request: Request) => Response | Promise<Response>);

export interface TestOrigin {
  readonly requests: Request[];
  /** What it answers from now on; the last reply stands for all that follow. */
  replies: Reply[];
  call(path: string, call?: Call): Promise<Answer>;
}

export function testOrigin(...replies: Reply[]): TestOrigin {
  const requests: Request[] = [];
  const origin: TestOrigin = {
    requests,
    replies,
    async call(path, call = {}) {
      const ctx = createExecutionContext();
      const response = await through(
        exchangeOf(path, call, ctx, call.configuration ?? (await reloadConfiguration(env))),
        call,
        async (request) => {
          requests.push(request);
          const reply = origin.replies.length > 1 ? origin.replies.shift() : origin.replies[0];
          if (reply === undefined) throw new Error('the origin has nothing to say');
          return reply instanceof Response ? reply.clone() : reply(request);
        },
      );
      const text = await response.text();
      await waitOnExecutionContext(ctx);
      const how = (response.headers.get('cache-status') ?? '').replace(/^.*Tidegate; /, '');
      return { status: response.status, headers: response.headers, text, how };
    },
  };
  return origin;
}

const through = (
  exchange: Exchange,
  { plan = cachePlan(), identity: who }: Call,
  origin: (request: Request) => Promise<Response>,
) => throughCache(plan, exchange, who, origin);

export function exchangeOf(path: string, call: Call, ctx: ExecutionContext, configuration: Configuration): Exchange {
  const { method = 'GET', target = 'route:test', version = '', params = {}, later = 0 } = call;
  const request = new Request(SITE + path, { method, headers: call.headers ?? {} });
  return {
    ...{ request, method, params, target, version, env, ctx, configuration, hops: undefined },
    ...{ url: request.url, headers: request.headers, path: new URL(request.url).pathname },
    receivedAt: Date.now() + later,
  };
}

export const reply = (text: string, headers: HeadersInit = {}, status = 200): Response =>
  new Response(text, {
    status,
    headers: { 'content-type': 'text/plain', ...Object.fromEntries(new Headers(headers)) },
  });

let count = 0;
/** A path that no other test has. */
export const fresh = (): string => `/item-${++count}-${crypto.randomUUID()}`;
