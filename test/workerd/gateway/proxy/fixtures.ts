/** Calls `forward` as the gateway does, with upstreams that behave as a test tells them. */

/// <reference types="@cloudflare/vitest-plugin/types" />

import { createExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, inject } from 'vitest';
import { compilePool, type PoolPlan } from '../../../../src/core/route/upstream.ts';
import type { Env as GatewayEnv } from '../../../../src/env.ts';
import type { Exchange } from '../../../../src/gateway/exchange.ts';
import { forward, type ForwardOptions, type Outgoing } from '../../../../src/gateway/proxy/forward.ts';
import { currentConfiguration } from '../../../../src/runtime/configuration.ts';
import type { Behaviour, Seen } from '../../../support/unruly.ts';

declare global {
  namespace Cloudflare {
    interface Env extends GatewayEnv {}
  }
}

const unruly = inject('servers').unruly;
/** Nobody listens on the port of `tcpmux`. */
export const REFUSED = 'http://127.0.0.1:1';

let count = 0;

/** Targets of a test's own on as many servers. */
export class Upstreams {
  readonly #name = `test-${++count}-${crypto.randomUUID()}`;
  readonly urls: readonly string[];

  constructor(servers = 1) {
    this.urls = unruly.slice(0, servers).map((url) => `${url}/${this.#name}`);
  }

  async behave(index: number, behaviour: Behaviour): Promise<void> {
    await fetch(`${unruly[index]}/_behaviour/${this.#name}`, { method: 'PUT', body: JSON.stringify(behaviour) });
  }

  async seen(index = 0): Promise<readonly Seen[]> {
    return (await fetch(`${unruly[index]}/_seen/${this.#name}`)).json<Seen[]>();
  }

  /** How many requests each target got. */
  counts(): Promise<readonly number[]> {
    return Promise.all(this.urls.map(async (_, index) => (await this.seen(index)).length));
  }

  pool(document: Readonly<Record<string, unknown>> = {}): PoolPlan {
    return poolOf({ targets: this.urls.map((url) => ({ url })), ...document });
  }
}

export function poolOf(document: Readonly<Record<string, unknown>>): PoolPlan {
  const plan = compilePool({ name: 'orders', ...document });
  if (!plan.ok) throw new Error(plan.fault.message);
  return plan.value;
}

export interface Sent {
  readonly method?: string;
  readonly headers?: HeadersInit;
  readonly body?: BodyInit;
  /** What the platform tells of the request. */
  readonly cf?: { readonly colo: string };
  readonly outgoing?: Partial<Outgoing>;
  readonly options?: ForwardOptions;
  /** Instead of the test's own. */
  readonly env?: Partial<GatewayEnv>;
}

/** One request through the pool; the reply is still coming. */
export async function send(pool: PoolPlan, path = '/', sent: Sent = {}): Promise<Response> {
  const { method = 'GET', headers = {}, body, cf } = sent;
  const request = new Request(`https://gateway.test${path}`, {
    method,
    headers,
    ...(body !== undefined && { body }),
    ...(cf !== undefined && { cf }),
  });
  const ctx = createExecutionContext();
  const exchange: Exchange = {
    request,
    method,
    url: request.url,
    path,
    headers: request.headers,
    hops: undefined,
    params: {},
    receivedAt: Date.now(),
    target: 'route:test',
    version: '',
    env: { ...env, ...sent.env },
    ctx,
    configuration: await currentConfiguration(env),
  };
  const response = await forward(pool, exchange, { path, ...sent.outgoing }, sent.options);
  return response;
}

/** What an upstream that echoes was sent. */
export async function echoed(pool: PoolPlan, path = '/', sent: Sent = {}): Promise<Echo> {
  const response = await send(pool, path, sent);
  expect(response.status).toBe(200);
  return response.json<Echo>();
}

interface Echo {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly rawHeaders: readonly string[];
  readonly bytes: number;
}

/** Status and code of a problem. */
export async function problemOf(response: Response): Promise<[number, unknown]> {
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  const { code } = await response.json<{ code: unknown }>();
  return [response.status, code];
}
