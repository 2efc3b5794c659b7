/** A small HTTP/1.1 load generator on raw sockets: it must cost less than what it measures. */

import { connect, type Socket } from 'node:net';

export interface LoadOptions {
  readonly url: string;
  readonly method: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Where no two requests are the same: whole texts that {@link bytesOf} made, each of which is sent once. It ends with the last. */
  readonly requests?: Iterator<Buffer, undefined>;
  readonly connections: number;
  readonly milliseconds: number;
}

export interface LoadResult {
  readonly perSecond: number;
  readonly p50Milliseconds: number;
  readonly p99Milliseconds: number;
  readonly requests: number;
}

/** Each connection sends its next request when the last was answered. @throws on any answer but 2xx */
export async function load(options: LoadOptions): Promise<LoadResult> {
  const url = new URL(options.url);
  const same = options.requests === undefined ? bytesOf(options) : undefined;
  const next = (): Buffer | undefined => same ?? options.requests?.next().value;
  const latencies: number[] = [];
  const startedAt = performance.now();
  const until = startedAt + options.milliseconds;
  await Promise.all(Array.from({ length: options.connections }, () => connection(url, next, until, latencies)));
  const seconds = (performance.now() - startedAt) / 1000;
  latencies.sort((a, b) => a - b);
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? 0;
  return {
    perSecond: latencies.length / seconds,
    p50Milliseconds: at(0.5),
    p99Milliseconds: at(0.99),
    requests: latencies.length,
  };
}

/** A request as it goes over the wire. */
export function bytesOf(request: Pick<LoadOptions, 'url' | 'method' | 'headers' | 'body'>): Buffer {
  const url = new URL(request.url);
  const lines = Object.entries({ host: url.host, ...request.headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  const body = request.body ?? '';
  const length = request.body === undefined ? '' : `content-length: ${Buffer.byteLength(body)}\r\n`;
  const head = `${request.method} ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join('')}${length}\r\n`;
  return Buffer.from(head + body);
}

function connection(url: URL, next: () => Buffer | undefined, until: number, latencies: number[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(Number(url.port), url.hostname);
    socket.setNoDelay(true);
    let received = '';
    let sentAt = 0;
    const send = (): void => {
      const request = performance.now() < until ? next() : undefined;
      sentAt = performance.now();
      if (request !== undefined) socket.write(request);
      else {
        socket.destroy();
        resolve();
      }
    };
    socket.setEncoding('latin1');
    socket.on('connect', send);
    socket.on('error', reject);
    socket.on('data', (chunk: string) => {
      received += chunk;
      const end = endOfResponse(received);
      if (end === -1) return;
      if (!received.startsWith('HTTP/1.1 2')) {
        socket.destroy();
        reject(new Error(`answered: ${received.slice(0, 300)}`));
        return;
      }
      latencies.push(performance.now() - sentAt);
      received = '';
      send();
    });
  });
}

/** Responses here have a length or are chunked. */
function endOfResponse(text: string): number {
  const headers = text.indexOf('\r\n\r\n');
  if (headers === -1) return -1;
  const length = /\r\ncontent-length: (\d+)/i.exec(text.slice(0, headers + 2))?.[1];
  if (length !== undefined) {
    const end = headers + 4 + Number(length);
    return text.length >= end ? end : -1;
  }
  return text.endsWith('0\r\n\r\n') ? text.length : -1;
}
