/** A gateway as a process, and bytes sent to it as no client would send them. */

import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { call } from '../../../scripts/launcher/api.ts';
import { launch, type Gateway } from '../../../scripts/launcher/launch.ts';
import { portOf } from '../../../scripts/servers/process.ts';

export interface StartedGateway extends Gateway {
  readonly directory: string;
  /** What it and its Worker have logged. */
  readonly lines: readonly string[];
  manage(method: string, path: string, body?: unknown): Promise<unknown>;
  remove(): void;
}

export async function startGateway(): Promise<StartedGateway> {
  const directory = mkdtempSync(join(tmpdir(), 'tidegate-attack-'));
  const lines: string[] = [];
  const gateway = await launch({
    port: 0,
    dataDirectory: directory,
    samples: false,
    env: { TIDEGATE_EGRESS_ALLOW: '127.0.0.1,localhost' },
    log: (line) => lines.push(line),
  });
  return {
    ...gateway,
    directory,
    lines,
    manage: (method, path, body) => call(gateway, method, path, body),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** Sends the bytes over one connection; what came back until it was closed or silent for a while. */
export async function sendRaw(url: string, bytes: string, silentMilliseconds = 500): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let received = '';
  socket.setTimeout(silentMilliseconds, () => socket.destroy());
  socket.on('data', (part: Buffer) => (received += part.toString('latin1')));
  socket.on('error', () => undefined);
  socket.write(bytes, 'latin1');
  await once(socket, 'close');
  return received;
}

/** The statuses of the responses that one connection gave. */
export const statusesOf = (received: string): number[] =>
  [...received.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));

export interface RawUpstream {
  readonly url: string;
  /** Everything that came in, over all connections. */
  readonly received: () => string;
  forget(): void;
  stop(): Promise<void>;
}

/** A server that answers each head of a request with the same bytes, whatever they mean. */
export async function startRawUpstream(answer: (head: string) => string): Promise<RawUpstream> {
  let received = '';
  const sockets = new Set<import('node:net').Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    socket.on('data', (part: Buffer) => {
      const text = part.toString('latin1');
      received += text;
      if (/^[A-Z]+ \S+ HTTP\/1\.1\r\n/.test(text)) socket.write(answer(text), 'latin1');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${portOf(server)}`,
    received: () => received,
    forget: () => (received = ''),
    async stop() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
