/// <reference types="@cloudflare/vitest-plugin/types" />

import { createExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { IssueList } from '../../../../src/core/chain/issues.ts';
import { compileLimits, limitsFields, type LimitsPlan } from '../../../../src/core/route/limits.ts';
import type { Env } from '../../../../src/env.ts';
import type { Exchange, Identity } from '../../../../src/gateway/exchange.ts';
import type { LimiterObject } from '../../../../src/runtime/limiter-object.ts';
import { admit, type Admission } from '../../../../src/gateway/limits/admit.ts';
import * as v from 'valibot';

declare global {
  namespace Cloudflare {
    interface Env {
      readonly LIMITER: DurableObjectNamespace<LimiterObject>;
    }
  }
}

/** The stage uses nothing else of it. */
export const gatewayEnv = { LIMITER: env.LIMITER } as Env;

/** Accounts begin with the target, so each test has accounts of its own. */
let targets = 0;
export const newTarget = (): string => `route:test-${++targets}`;

/** @throws where the document is wrong */
export function planOf(document: v.InferInput<typeof fields>): LimitsPlan {
  const issues = new IssueList();
  const plan = compileLimits(v.parse(fields, document), '', issues);
  if (plan === undefined || issues.all.length > 0) throw new Error(JSON.stringify(issues.all));
  return plan;
}
const fields = v.strictObject(limitsFields);

export interface Call {
  readonly target: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cf?: IncomingRequestCfProperties;
  readonly env?: Env;
  readonly url?: string;
}

export function exchangeOf({
  target,
  headers = {},
  cf,
  env: given = gatewayEnv,
  url = 'https://gate.example/orders',
}: Call): Exchange {
  const request = new Request(url, { headers, ...(cf && { cf }) });
  return {
    request,
    method: 'GET',
    url,
    path: '/orders',
    headers: request.headers,
    hops: undefined,
    params: { id: '7' },
    receivedAt: Date.now(),
    target,
    version: '1',
    env: given,
    ctx: createExecutionContext(),
    configuration: {
      revision: 1,
      chains: new Map(),
      sources: new Map(),
      keys: new Map(),
      connections: new Map(),
      purges: new Map(),
      switches: new Map(),
      routes: new Map(),
      upstreams: new Map(),
    },
  };
}

export const keyed = (id: string, tenant?: string): Identity => ({ kind: 'key', id: `key:${id}`, tenant, scopes: [] });

/** Admissions one after the other. */
export async function admitMany(
  count: number,
  plan: LimitsPlan,
  call: Call,
  identity?: Identity,
): Promise<readonly Admission[]> {
  const admissions: Admission[] = [];
  for (let index = 0; index < count; index++) admissions.push(await admit(plan, exchangeOf(call), identity));
  return admissions;
}

export const countOk = (admissions: readonly Admission[]): number => admissions.filter(({ ok }) => ok).length;

export const headerOf = (admission: Admission, name: string): string | undefined =>
  admission.headers?.find(([each]) => each === name)?.[1];
