/** What both bridges share: who may call, how much they may send, and how they are answered. */

import { createHash, timingSafeEqual } from 'node:crypto';
import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';

/** A request in memory. Larger ones belong into an object store. */
const BODY_BYTES = 16 * 1024 * 1024;
/** Nothing that talks through a bridge may hold a socket longer without sending its request. */
const REQUEST_MILLISECONDS = 30_000;

export interface BridgeCall {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: unknown;
  /** Aborts when the caller has gone away before the answer. */
  readonly signal: AbortSignal;
}

export interface BridgeAnswer {
  readonly status: number;
  readonly body: unknown;
}

export class BridgeError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Compares hashes, so that neither the length nor the first wrong character shows in the time taken. */
function sameToken(given: string, token: string): boolean {
  const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(given), hash(token));
}

/** Also as the password of any user: PlanetScale's protocol knows nothing else. */
function givenToken(authorization: string): string | undefined {
  const [, scheme = '', credential = ''] = /^(Bearer|Basic) (.+)$/i.exec(authorization) ?? [];
  if (scheme.toLowerCase() !== 'basic') return credential || undefined;
  return /^[^:]*:(.+)$/s.exec(Buffer.from(credential, 'base64').toString())?.[1];
}

export interface BridgeOptions {
  /** Asked of every caller as `Authorization: Bearer …` or as a password; undefined asks for none. */
  readonly token: string | undefined;
  /** The body of a failure, in the words of the protocol. */
  failure(message: string): unknown;
  answer(call: BridgeCall): Promise<BridgeAnswer>;
}

/** A server that takes JSON by POST; `GET /health` answers 200 without a token. */
export function createBridge(options: BridgeOptions): Server {
  const server = createServer((request, response) => {
    void handle(options, request, response)
      .catch((error: unknown) => {
        if (error instanceof BridgeError) return { status: error.status, body: options.failure(error.message) };
        return { status: 500, body: options.failure('The bridge failed.') };
      })
      .then(({ status, body }) => {
        if (response.destroyed) return;
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
        // The rest of a body that was refused: drained, or a kept-alive client never reads the answer.
        request.resume();
      });
  });
  server.requestTimeout = REQUEST_MILLISECONDS;
  return server;
}

async function handle(
  options: BridgeOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<BridgeAnswer> {
  const { pathname: path } = new URL(request.url ?? '/', 'http://bridge');
  if (request.method === 'GET' && path === '/health') return { status: 200, body: { ok: true } };
  if (options.token !== undefined) {
    const given = givenToken(request.headers.authorization ?? '');
    if (given === undefined || !sameToken(given, options.token)) {
      throw new BridgeError(401, 'Unauthorized: send the token of the bridge as `Authorization: Bearer`.');
    }
  }
  if (request.method !== 'POST') throw new BridgeError(405, 'Use POST.');
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  const text = await textOf(request);
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new BridgeError(400, 'The body is not JSON.');
  }
  return options.answer({ path, headers: request.headers, body, signal: gone.signal });
}

/** By events: leaving a `for await` early would destroy the socket, and with it the answer. */
function textOf(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= BODY_BYTES) chunks.push(chunk);
      else reject(new BridgeError(413, `The body is larger than ${BODY_BYTES} bytes.`));
    });
    request.on('end', () => resolve(Buffer.concat(chunks).toString()));
    request.on('error', reject);
  });
}
