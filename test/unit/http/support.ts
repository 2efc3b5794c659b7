/** A small server of ours that answers as the test says, and remembers what it was asked. */

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { safeParse } from 'valibot';
import { afterAll, beforeAll, beforeEach } from 'vitest';
import { http } from '../../../src/connectors/http/index.ts';
import type { HttpOutput } from '../../../src/connectors/http/reply.ts';
import type { ActionContext, OpenConnection } from '../../../src/connectors/kit/types.ts';
import { fail, type Result } from '../../../src/core/errors.ts';
import { createEgressPolicy } from '../../../src/core/policy/egress.ts';
import { createGuardedFetch } from '../../../src/drivers/http/guarded-fetch.ts';

export interface Received {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

type Answer = (request: Received, response: ServerResponse) => void;

export interface TestServer {
  url: string;
  readonly received: Received[];
  answer: Answer;
}

/** Started before the tests of the file, stopped after; forgets between tests. */
export function testServer(): TestServer {
  const state: TestServer = { url: '', received: [], answer: (_request, response) => response.end() };
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request;
      const received = { method, path, headers, body: Buffer.concat(parts).toString('utf8') };
      state.received.push(received);
      state.answer(received, response);
    });
  });
  beforeAll(async () => {
    await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
    const address = server.address();
    if (address === null || typeof address === 'string') throw new Error('no port');
    state.url = `http://127.0.0.1:${address.port}`;
  });
  beforeEach(() => {
    state.received.length = 0;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });
  return state;
}

/** Allows the given servers only, as the owner's list would. */
export const guarded = (...servers: readonly TestServer[]): typeof fetch =>
  createGuardedFetch(createEgressPolicy(servers.map(({ url }) => url.replace('http://', '')).join(',')), fetch);

export const NOW = Date.parse('2026-11-21T00:00:00Z');
export const NO_CONNECTION: OpenConnection = { name: '', settings: undefined, secrets: undefined };

export const shopConnection = (
  server: TestServer,
  secrets: unknown,
  more: Record<string, unknown> = {},
): OpenConnection => ({ name: 'shop', settings: { baseUrl: `${server.url}/api/`, ...more }, secrets });

/** Runs an action as the executor does: parameters parsed first. */
export async function run(
  action: string,
  params: unknown,
  fetch: ActionContext['fetch'],
  more?: { connection?: OpenConnection; signal?: AbortSignal },
): Promise<Result<HttpOutput>> {
  const facts = http.actions[action];
  if (facts === undefined) throw new Error(`no action ${action}`);
  const parsed = safeParse(facts.params, params);
  if (!parsed.success) throw new Error(parsed.issues[0].message);
  const result = await facts.run(parsed.output, {
    fetch,
    connect: () => fail('egress.refused', 'no sockets here'),
    connection: more?.connection ?? NO_CONNECTION,
    template: () => undefined,
    approvalLink: () => Promise.reject(new Error('no links here')),
    sendMessage: () => Promise.reject(new Error('no messages here')),
    openStore: () => Promise.reject(new Error('no stores here')),
    bucket: undefined,
    idempotencyKey: 'run-1:step:0',
    signal: more?.signal ?? new AbortController().signal,
    now: () => NOW,
    input: undefined,
    written: {},
    // The connector touches no database.
    data: undefined as unknown as ActionContext['data'],
  });
  return result as Result<HttpOutput>;
}
