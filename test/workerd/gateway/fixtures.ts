/** The whole Worker, called as a client calls it, with the real upstream of the test run behind it. */

/// <reference types="@cloudflare/vitest-plugin/types" />

import { env, exports } from 'cloudflare:workers';
import { expect, inject, vi } from 'vitest';
import { acceptRuns, type Acceptance } from '../../../src/runtime/accept.ts';
import type { RunAnswer } from '../../../src/runtime/answers.ts';
import { checkConfiguration } from '../../../src/runtime/configuration.ts';
import type { Env as GatewayEnv } from '../../../src/env.ts';
import { objectOf } from '../../../src/runtime/shards.ts';

declare global {
  namespace Cloudflare {
    interface Env extends GatewayEnv {}
    interface GlobalProps {
      mainModule: typeof import('../../../src/index.ts');
    }
  }
}

export const ORIGIN = 'https://gateway.test';
export const upstream = inject('servers').upstream.url;
/** For retries that a test waits for. */
export const QUICK = { limit: 3, delay: '20ms', backoff: 'constant', jitter: false } as const;

type Fields = Readonly<Record<string, unknown>>;

export interface Called {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The parsed body; an empty object where it is no JSON. */
  readonly body: Record<string, unknown>;
}

/** `body` is sent as JSON, a text as it is. */
export async function call(route: string, body?: unknown, headers: Record<string, string> = {}): Promise<Called> {
  const [method = '', path = ''] = route.split(' ');
  const sent = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await exports.default.fetch(
    new Request(ORIGIN + path, {
      method,
      headers: { ...(sent === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(sent === undefined ? {} : { body: sent }),
    }),
  );
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.includes('json') === true && text !== '';
  return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : {} };
}

/** With the admin key; the path is relative to the management API. */
export const manage = (route: string, body?: unknown): Promise<Called> =>
  call(route.replace(' ', ' /_/api/v1'), body, { authorization: 'Bearer test-admin-key' });

let count = 0;

export interface Published {
  readonly name: string;
  /** `POST /…` of its public trigger, where the chain has no triggers of its own. */
  readonly route: string;
}

/** Publishes a chain under a name of its own, by default with a public trigger. */
export async function publish(chain: Fields, trigger: Fields = {}): Promise<Published> {
  const name = `chain-${++count}`;
  const api = { type: 'http', method: 'POST', path: `/${name}`, auth: 'public', ...trigger };
  const document = { name, triggers: { api }, steps: {}, ...chain };
  const published = await manage(`PUT /chains/${name}`, document);
  expect(published.body).toMatchObject({ name, version: 1 });
  return { name, route: `POST /${name}` };
}

/** Another version of a chain that {@link publish} made. */
export async function publishNext(
  { name, route }: Published,
  chain: Fields,
  query = '',
  trigger: Fields = {},
): Promise<number> {
  const api = { type: 'http', method: 'POST', path: route.slice('POST '.length), auth: 'public', ...trigger };
  const document = { triggers: { api }, steps: {}, ...chain };
  const published = await manage(`PUT /chains/${name}${query}`, document);
  expect(published.status).toBe(201);
  return Number(published.body['version']);
}

/** What the upstream received at a path, its query included. */
export async function receipts(path: string): Promise<{ readonly idempotencyKey?: string; readonly body: string }[]> {
  const reply = await fetch(`${upstream}/receipts?path=${encodeURIComponent(path)}`);
  return reply.json();
}

export const receivedAt = (path: string, times: number): Promise<void> =>
  vi.waitFor(async () => expect(await receipts(path)).toHaveLength(times), { timeout: 10_000, interval: 50 });

/** Accepts a run of version 1 of a chain; resolves when it is on disk. */
export async function accept(chain: string, input: unknown = {}, dedupeKey?: string): Promise<Acceptance> {
  await checkConfiguration(env, 0);
  const event = { type: 'manual', params: {}, query: {}, headers: {}, body: input, receivedAt: Date.now() } as const;
  const request = { chain, version: 1, trigger: 'manual', event, ...(dedupeKey === undefined ? {} : { dedupeKey }) };
  const [accepted] = await acceptRuns(env, dedupeKey, [request]);
  if (accepted === undefined) throw new Error('nothing was accepted');
  return accepted;
}

/** The answer of a durable run, however long it takes. */
export async function answerOf(id: string): Promise<RunAnswer | undefined> {
  return objectOf(env, id)?.wait(id, 10_000);
}

export const codeOf = ({ status, body }: Called): [number, unknown] => [status, body['code']];

/** A number of runs that the gateway knows of a chain. */
export async function runsOf(chain: string): Promise<number> {
  const { body } = await manage(`GET /runs?chain=${chain}`);
  return Array.isArray(body['items']) ? body['items'].length : -1;
}
