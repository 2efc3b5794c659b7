/**
 * The bytes of an MQTT session: over a guarded socket, or over a WebSocket that the guarded `fetch` opened.
 *
 * Guarantee: what has come and was not read is bounded; a WebSocket, which cannot be held back, is closed beyond.
 */

import { FaultError, fault, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { GuardedConnect } from '../http/guarded-connect.ts';

export interface Wire {
  /** The next bytes; undefined at the end. Rejects where the connection broke. */
  read(): Promise<Uint8Array | undefined>;
  write(bytes: Uint8Array): void;
  /** Drops the connection; what was written before may be on its way still. */
  close(): void;
}

export interface Dial {
  /** The guarded ones. */
  readonly fetch: typeof fetch;
  readonly connect: GuardedConnect;
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'mqtt:': 1883, 'mqtts:': 8883 };

/** Where a socket to `mqtt:` or `mqtts:` goes; undefined for a WebSocket. */
export function socketOf(url: string): { readonly hostname: string; readonly port: number } | undefined {
  const { protocol = '', hostname = '', port = '' } = URL.parse(url) ?? {};
  const usual = DEFAULT_PORTS[protocol];
  return usual === undefined ? undefined : { hostname, port: port === '' ? usual : Number(port) };
}

/** `wss:` as `https:`, which is what `fetch` takes. */
export const webAddressOf = (url: string): string => url.replace(/^ws/, 'http');

/** Faults `egress.refused`, `upstream.unreachable`, `upstream.invalid`. */
export async function dial(url: string, { fetch, connect }: Dial): Promise<Result<Wire>> {
  const address = socketOf(url);
  if (address === undefined) return overWebSocket(url, fetch);
  const secureTransport = url.startsWith('mqtts:') ? 'on' : 'off';
  const socket = connect(address, { secureTransport, allowHalfOpen: false });
  return socket.ok ? ok(overSocket(socket.value)) : socket;
}

function overSocket(socket: Socket): Wire {
  // Failures show where the socket is read.
  socket.opened.catch(() => undefined);
  socket.closed.catch(() => undefined);
  const reader = socket.readable.getReader();
  const writer = socket.writable.getWriter();
  let written: Promise<void> = Promise.resolve();
  return {
    read: async () => (await reader.read()).value,
    write(bytes) {
      written = writer.write(bytes);
      written.catch(() => undefined);
    },
    close() {
      void written.then(() => socket.close()).catch(() => undefined);
    },
  };
}

async function overWebSocket(url: string, fetch: Dial['fetch']): Promise<Result<Wire>> {
  const headers = { upgrade: 'websocket', 'sec-websocket-protocol': 'mqtt' };
  let response: Response;
  try {
    response = await fetch(webAddressOf(url), { headers });
  } catch (thrown) {
    if (thrown instanceof FaultError) return { ok: false, fault: thrown.fault };
    const { host } = new URL(url);
    return { ok: false, fault: fault('upstream.unreachable', `${host} could not be reached.`, { detail: thrown }) };
  }
  const { webSocket, status } = response;
  if (webSocket === null) {
    await response.body?.cancel();
    const code = status >= 500 ? 'upstream.unavailable' : 'upstream.invalid';
    const message = `The address answered with status ${status}, not with a WebSocket; check the path in \`url\`.`;
    return { ok: false, fault: fault(code, message) };
  }
  return ok(wireOf(webSocket));
}

function wireOf(socket: WebSocket): Wire {
  const arrived: Uint8Array[] = [];
  let arrivedBytes = 0;
  let end: Error | 'closed' | undefined;
  let wake = (): void => undefined;
  const finish = (how: Error | 'closed'): void => {
    end ??= how;
    wake();
  };
  socket.addEventListener('message', ({ data }: MessageEvent) => {
    const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : undefined;
    arrivedBytes += bytes?.length ?? 0;
    if (bytes !== undefined && arrivedBytes <= LIMITS.responseBodyBytes) {
      arrived.push(bytes);
      return wake();
    }
    const message = `The broker sent more than ${LIMITS.responseBodyBytes} bytes that were not read yet.`;
    finish(
      bytes === undefined
        ? new FaultError(fault('upstream.invalid', 'The broker sent a text, which is no MQTT.'))
        : new FaultError(fault('upstream.too-large', message)),
    );
    closeQuietly(socket);
  });
  socket.addEventListener('close', () => finish('closed'));
  socket.addEventListener('error', () => finish(new Error('the WebSocket broke')));
  // Without it the data of today's platform would come as Blobs, which are read later than they come.
  socket.binaryType = 'arraybuffer';
  socket.accept();
  return {
    async read() {
      while (arrived.length === 0) {
        if (end === 'closed') return undefined;
        if (end !== undefined) throw end;
        await new Promise<void>((resolve) => (wake = resolve));
      }
      const bytes = arrived.shift();
      arrivedBytes -= bytes?.length ?? 0;
      return bytes;
    },
    write(bytes) {
      if (end === undefined) socket.send(bytes);
    },
    close: () => closeQuietly(socket),
  };
}

function closeQuietly(socket: WebSocket): void {
  try {
    socket.close(1000);
  } catch {
    // It has closed by itself.
  }
}
