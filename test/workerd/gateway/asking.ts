/** The stage `authenticate` by itself: a request and a policy in, who calls or why not out. */

import { createExecutionContext, waitOnExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { parse } from 'valibot';
import { expect } from 'vitest';
import { manage } from './fixtures.ts';
import { IssueList } from '../../../src/core/chain/issues.ts';
import { authSchema, compileAuth, type AuthPlan } from '../../../src/core/route/auth.ts';
import type { Result } from '../../../src/core/errors.ts';
import type { Env } from '../../../src/env.ts';
import { authenticateExchange } from '../../../src/gateway/auth/index.ts';
import type { Exchange, Identity } from '../../../src/gateway/exchange.ts';
import { currentConfiguration } from '../../../src/runtime/configuration.ts';

type Fields = Record<string, unknown>;

export async function makeKey(body: Fields = {}): Promise<{ id: string; key: string; signingSecret: string }> {
  const made = await manage('POST /keys', { name: 'test', scopes: ['chain:*'], ...body });
  expect(made.status).toBe(201);
  const { id, key, signingSecret } = made.body;
  return { id: String(id), key: String(key), signingSecret: String(signingSecret) };
}

export function planOf(auth: unknown): AuthPlan {
  const issues = new IssueList();
  const plan = compileAuth(parse(authSchema, auth), 'auth', issues);
  expect(issues.all).toEqual([]);
  return plan;
}

export async function exchangeOf(
  request: Request,
  ctx: ExecutionContext,
  more: { readonly target?: string; readonly env?: Partial<Env> } = {},
): Promise<Exchange> {
  return {
    request,
    method: request.method,
    url: request.url,
    path: new URL(request.url).pathname,
    headers: request.headers,
    hops: undefined,
    params: {},
    receivedAt: Date.now(),
    version: '',
    target: more.target ?? 'chain:orders',
    env: { ...env, ...more.env },
    ctx,
    configuration: await currentConfiguration(env),
  };
}

interface Asked {
  /** As in a document, or compiled. */
  readonly auth?: unknown;
  readonly plan?: AuthPlan;
  readonly request?: Request;
  readonly headers?: Record<string, string>;
  readonly target?: string;
  readonly env?: Partial<Env>;
}

export async function ask({
  auth,
  plan = planOf(auth),
  headers = {},
  ...more
}: Asked): Promise<Result<Identity | undefined>> {
  const ctx = createExecutionContext();
  const request = more.request ?? new Request('https://gateway.test/orders', { headers });
  const result = await authenticateExchange(plan, await exchangeOf(request, ctx, more));
  await waitOnExecutionContext(ctx);
  return result;
}

export const told = (result: Result<unknown>): string => (result.ok ? 'let in' : result.fault.code);
export const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });
