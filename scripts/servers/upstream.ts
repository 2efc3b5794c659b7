/**
 * A small HTTP upstream with a receipt for every request, so that a test can count effects from outside.
 *
 * `/echo`, `/json/<n>` (n items), `/status/<code>`, `/delay/<milliseconds>`, `/fail-first/<n>/<key>` (503 for the
 * first n calls of that key), `/busy/<seconds>` (429 with that `Retry-After`), `/slow-body` (a byte every 100 ms), `/redirect?to=`, `/large/<bytes>`,
 * `/events/<topic>` (upstream-events.ts). `GET /receipts` lists what came in (`?path=` narrows it), `DELETE /receipts` forgets it; neither leaves a receipt.
 */

import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { listen, type Running } from './process.ts';
import { createTopics } from './upstream-events.ts';

interface Receipt {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly idempotencyKey: string | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** Unix time in milliseconds. */
  readonly at: number;
}

export interface UpstreamServer extends Running {
  readonly url: string;
  readonly receipts: readonly Receipt[];
}

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly url: URL;
  /** The segments of the path after the first. */
  readonly rest: readonly string[];
  readonly body: string;
  readonly calls: Map<string, number>;
}

const json = (response: ServerResponse, status: number, value: unknown, headers: Record<string, string> = {}): void => {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(value));
};

const BEHAVIOURS: Readonly<Record<string, (call: Call) => void | Promise<void>>> = {
  echo: ({ request, response, url, body }) =>
    json(response, 200, {
      method: request.method,
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
      body,
    }),
  json: ({ response, rest }) =>
    json(response, 200, { items: Array.from({ length: Number(rest[0]) }, (_, id) => ({ id, name: `item ${id}` })) }),
  status: ({ response, rest }) => json(response, Number(rest[0]), { status: Number(rest[0]) }),
  delay: async ({ response, rest }) => {
    await delay(Number(rest[0]));
    json(response, 200, { delayedMilliseconds: Number(rest[0]) });
  },
  'fail-first': ({ response, rest, calls }) => {
    const key = rest.slice(1).join('/');
    const call = (calls.get(key) ?? 0) + 1;
    calls.set(key, call);
    if (call <= Number(rest[0])) json(response, 503, { call }, { 'retry-after': '0' });
    else json(response, 200, { call });
  },
  busy: ({ response, rest }) => json(response, 429, {}, { 'retry-after': rest[0] ?? '' }),
  'slow-body': async ({ response }) => {
    response.writeHead(200, { 'content-type': 'text/plain' });
    while (!response.destroyed && response.writable) {
      response.write('.');
      await delay(100);
    }
  },
  redirect: ({ response, url }) => {
    response.writeHead(302, { location: url.searchParams.get('to') ?? '/echo' }).end();
  },
  large: async ({ response, rest }) => {
    response.writeHead(200, { 'content-type': 'text/plain' });
    const chunk = Buffer.alloc(64 * 1024, 'x');
    for (let left = Number(rest[0]); left > 0 && response.writable; left -= chunk.length) {
      if (!response.write(left < chunk.length ? chunk.subarray(0, left) : chunk)) {
        await new Promise<void>((resolve) => {
          response.once('drain', resolve).once('close', resolve);
        });
      }
    }
    response.end();
  },
};

export async function start(): Promise<UpstreamServer> {
  const receipts: Receipt[] = [];
  const calls = new Map<string, number>();
  const events = createTopics();
  const server = createServer((request, response) => {
    void answer(request, response).catch(() => response.destroy());
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '/';
    const url = new URL(path, 'http://upstream');
    const [name = '', ...rest] = url.pathname.slice(1).split('/');
    if (name === 'receipts') {
      const wanted = url.searchParams.get('path');
      if (request.method === 'DELETE') receipts.length = 0;
      json(response, 200, wanted === null ? receipts : receipts.filter((receipt) => receipt.path === wanted));
      return;
    }
    const body = await textOf(request);
    const key = request.headers['idempotency-key'];
    const idempotencyKey = typeof key === 'string' ? key : undefined;
    const { method = '', headers } = request;
    receipts.push({ method, path, idempotencyKey, headers, body, at: Date.now() });
    if (name === 'events') return events({ request, response, url, rest, body });
    const behaviour = Object.hasOwn(BEHAVIOURS, name) ? BEHAVIOURS[name] : undefined;
    if (behaviour === undefined) json(response, 404, { error: `There is no behaviour ${name}.` });
    else await behaviour({ request, response, url, rest, body, calls });
  }

  const { port, stop } = await listen(server);
  return { url: `http://127.0.0.1:${port}`, receipts, stop };
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString();
}
