/**
 * A stand-in for the Invoke operation of AWS Lambda: there is none to install. It verifies each request with AWS'
 * own signer, which shares no code with the gateway's, and runs a few functions of its own.
 */

import { Sha256 } from '@aws-crypto/sha256-js';
import { SignatureV4 } from '@smithy/signature-v4';
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { listen, type Running } from './process.ts';

export interface LambdaServer extends Running {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Every request must carry it. */
  readonly sessionToken: string;
}

const REGION = 'eu-central-1';
const SKEW_MILLISECONDS = 5 * 60_000;
const PATH = /^\/2015-03-31\/functions\/([^/]+)\/invocations$/;
const LOG = 'START\nhello from the function\nEND\n';

interface Reply {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

interface Event {
  readonly payload: unknown;
  readonly qualifier: string | null;
  readonly context: unknown;
}

type Handler = (event: Event) => Reply | Promise<Reply>;

export async function start(): Promise<LambdaServer> {
  const keys = { accessKeyId: 'AKIATIDEGATE', secretAccessKey: randomUUID(), sessionToken: randomUUID() };
  const signer = new SignatureV4({
    credentials: keys,
    region: REGION,
    service: 'lambda',
    sha256: Sha256,
    applyChecksum: false,
  });
  const queued: unknown[] = [];
  const server = createServer((request, response) => {
    void serve(signer, queued, request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  const { port, stop } = await listen(server);
  return { ...keys, endpoint: `http://127.0.0.1:${port}`, region: REGION, stop };
}

async function serve(
  signer: SignatureV4,
  queued: unknown[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
  const body = Buffer.concat(chunks);
  const { status = 200, headers, body: sent } = await answer(signer, queued, request, body);
  if (status === 0) {
    response.writeHead(200, { 'content-length': '100' }).write('{"half":');
    setTimeout(() => response.destroy(), 50);
    return;
  }
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(typeof sent === 'string' ? sent : JSON.stringify(sent));
}

async function answer(signer: SignatureV4, queued: unknown[], request: IncomingMessage, body: Buffer): Promise<Reply> {
  const url = new URL(request.url ?? '/', 'http://lambda');
  if (!(await isSigned(signer, request, url, body))) {
    return refused(403, 'InvalidSignatureException', 'The request signature we calculated does not match.');
  }
  const name = decodeURIComponent(PATH.exec(url.pathname)?.[1] ?? '').replace(/^arn:.*:function:/, '');
  const handler = HANDLERS[name];
  if (request.method !== 'POST' || handler === undefined) {
    return refused(404, 'ResourceNotFoundException', `Function not found: ${name}`);
  }
  const payload: unknown = JSON.parse(body.toString() || 'null');
  const type = request.headers['x-amz-invocation-type'];
  if (type === 'DryRun') return name === 'denied' ? DENIED : { status: 204 };
  if (type === 'Event') {
    queued.push(payload);
    return { status: 202 };
  }
  if (name === 'queue') return { body: queued };
  const given = request.headers['x-amz-client-context'];
  const context: unknown = typeof given === 'string' ? JSON.parse(Buffer.from(given, 'base64').toString()) : undefined;
  const reply = await handler({ payload, qualifier: url.searchParams.get('Qualifier'), context });
  const log = request.headers['x-amz-log-type'] === 'Tail' && {
    'x-amz-log-result': Buffer.from(LOG).toString('base64'),
  };
  return { ...reply, headers: { 'x-amz-executed-version': '$LATEST', ...log, ...reply.headers } };
}

async function isSigned(
  signer: SignatureV4,
  { method = '', headers: sent }: IncomingMessage,
  url: URL,
  body: Buffer,
): Promise<boolean> {
  const names = /SignedHeaders=([^,]+)/.exec(sent.authorization ?? '')?.[1]?.split(';') ?? [];
  const date = String(sent['x-amz-date']).replace(/^(....)(..)(..T..)(..)(..Z)$/, '$1-$2-$3:$4:$5');
  const signingDate = new Date(date);
  if (!(Math.abs(signingDate.getTime() - Date.now()) < SKEW_MILLISECONDS)) return false;
  if (!['host', 'x-amz-date', 'x-amz-invocation-type', 'x-amz-security-token'].every((name) => names.includes(name))) {
    return false;
  }
  const headers = Object.fromEntries(names.map((name) => [name, String(sent[name])]));
  const query = Object.fromEntries(url.searchParams);
  const request = { method, protocol: 'http:', hostname: url.hostname, path: url.pathname, query, headers, body };
  const expected = await signer.sign(request, { signingDate });
  return expected.headers['authorization'] === sent.authorization;
}

const refused = (status: number, type: string, message: string): Reply => ({
  status,
  headers: { 'x-amzn-errortype': `${type}:http://internal.amazon.com/coral/com.amazonaws.lambda/` },
  body: { Message: message, Type: 'User' },
});

const DENIED = refused(403, 'AccessDeniedException', 'User is not authorized to perform: lambda:InvokeFunction');
const ERROR = { errorMessage: 'no such order', errorType: 'OrderError', stackTrace: ['at handler'] };

const HANDLERS: Readonly<Record<string, Handler>> = {
  echo: (event) => ({ body: event }),
  nothing: () => ({ body: '' }),
  queue: () => ({}),
  fails: () => ({ headers: { 'x-amz-function-error': 'Unhandled' }, body: ERROR }),
  denied: () => DENIED,
  throttled: () => ({
    ...refused(429, 'TooManyRequestsException', 'Rate exceeded'),
    headers: { 'retry-after': '2', 'x-amzn-errortype': 'TooManyRequestsException' },
  }),
  slow: async () => {
    await new Promise((resolve) => setTimeout(resolve, 5_000).unref());
    return { body: 'late' };
  },
  large: () => ({ body: 'x'.repeat(9 * 1024 * 1024) }),
  garbled: () => ({ body: '<html>' }),
  /** Status 0: the connection is lost within the reply. */
  breaks: () => ({ status: 0 }),
};
