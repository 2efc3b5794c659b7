/** A gateway of one route that is cached by everybody, for tests with real connections. */

import { throughCache } from '../../src/gateway/cache/stage.ts';
import { compileCache, cachePolicy } from '../../src/core/route/cache.ts';
import { IssueList } from '../../src/core/chain/issues.ts';
import type { Env } from '../../src/env.ts';
import { currentConfiguration } from '../../src/runtime/configuration.ts';
import { parse } from 'valibot';

export * from '../../src/index.ts';

const document = { scope: 'public', maxBytes: 4 * 1024 * 1024 };
const plan = compileCache(parse(cachePolicy, document), 'cache', new IssueList());

export default {
  async fetch(request, env, ctx): Promise<Response> {
    const { url, method, headers } = request;
    const { pathname: path, search } = new URL(url);
    const configuration = await currentConfiguration(env);
    const given = { params: {}, receivedAt: Date.now(), target: 'route:test', version: '' };
    const exchange = { ...given, request, method, url, path, headers, hops: undefined, env, ctx, configuration };
    try {
      return await throughCache(plan, exchange, undefined, (asked) => fetch(env.UPSTREAM + path + search, asked));
    } catch {
      return new Response('failed', { status: 500 });
    }
  },
} satisfies ExportedHandler<Env & { readonly UPSTREAM: string }>;
