/**
 * A session with NATS for one step: a socket cannot be used across requests, so it is opened for the step and
 * closed at its end in every case.
 *
 * Guarantee: the library never connects by itself. It is handed a line to the one address of the connection, does
 * not follow the cluster to others, and does not come back after a loss.
 */

import type { Authenticator, ConnectionOptions, NatsConnection } from '@nats-io/nats-core';
import { faultFrom } from './faults.ts';
import { openLine, type Line, type NatsWire } from './line.ts';
import { LineTransport, type LineOptions } from './transport.ts';
import { FaultError, fault, ok, type Fault, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

export interface NatsTarget {
  /** `wss://`, `ws://`, `tls://` or `nats://`, with a host. */
  readonly url: string;
  readonly credentials: NatsCredentials;
  /** Begins the subjects on which replies come, where the account may listen on no others. */
  readonly inboxPrefix?: string | undefined;
  /** What a session may receive; `Infinity` for one that goes on forever. */
  readonly maximumBytes?: number;
}

export interface NatsCredentials {
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly token?: string | undefined;
  /** The seed of an nkey: `SU…`. */
  readonly seed?: string | undefined;
  /** A file of creds: a JWT and its seed. */
  readonly creds?: string | undefined;
}

/** Two in a row without an answer end the session. */
const PING_MILLISECONDS = 30_000;

/** Faults: those of the line, `upstream.unauthorized`, `upstream.timeout`, and whatever `use` throws. */
export async function withNats<T>(
  target: NatsTarget,
  wire: NatsWire,
  use: (session: NatsConnection) => Promise<T>,
): Promise<Result<T>> {
  const { signal } = wire;
  if (signal?.aborted) return { ok: false, fault: abortFault(signal) };
  let line: Line | undefined;
  let opening: Promise<NatsConnection> | undefined;
  const open = async (): Promise<Line> => {
    line = await openLine(target.url, wire).catch((thrown: unknown) => {
      throw thrown instanceof FaultError ? thrown : new FaultError(UNREACHABLE);
    });
    return line;
  };
  try {
    const { NatsConnectionImpl, setTransportFactory } = await import('@nats-io/nats-core/internal');
    setTransportFactory({ factory: () => new LineTransport() });
    const options: LineOptions = { ...FIXED, ...(await optionsOf(target)), open };
    opening = NatsConnectionImpl.connect(options);
    const session = await untilAborted(opening, signal);
    return ok(await untilAborted(untilRefused(session, use(session)), signal));
  } catch (thrown) {
    return { ok: false, fault: faultFrom(thrown) };
  } finally {
    // One that is still being opened ends with its line.
    opening?.then(
      (session) => session.close(),
      () => undefined,
    );
    line?.close();
  }
}

const FIXED: ConnectionOptions = {
  // Never looked up: the line leads to the address of the connection.
  servers: 'nats.invalid',
  reconnect: false,
  ignoreClusterUpdates: true,
  noAsyncTraces: true,
  timeout: LIMITS.databaseConnectMilliseconds,
  pingInterval: PING_MILLISECONDS,
  name: 'tidegate',
};

const UNREACHABLE = fault('upstream.unreachable', 'NATS could not be reached; check the `url` of the connection.');

async function optionsOf({ credentials, inboxPrefix, maximumBytes = LIMITS.responseBodyBytes }: NatsTarget) {
  return {
    authenticator: await authenticatorsOf(credentials),
    maximumBytes,
    ...(inboxPrefix !== undefined && { inboxPrefix }),
  };
}

async function authenticatorsOf({ user, password, token, seed, creds }: NatsCredentials): Promise<Authenticator[]> {
  const library = await import('@nats-io/nats-core');
  const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
  return [
    ...(user === undefined ? [] : [library.usernamePasswordAuthenticator(user, password)]),
    ...(token === undefined ? [] : [library.tokenAuthenticator(token)]),
    ...(seed === undefined ? [] : [library.nkeyAuthenticator(bytes(seed))]),
    ...(creds === undefined ? [] : [library.credsAuthenticator(bytes(creds))]),
  ];
}

/** The server says that it refused what was published, and that it hangs up, beside every answer. */
async function untilRefused<T>(session: NatsConnection, work: Promise<T>): Promise<T> {
  const refused = (async (): Promise<never> => {
    for await (const status of session.status()) if (status.type === 'error') throw status.error;
    const reason = await session.closed();
    throw reason ?? new FaultError(fault('upstream.unreachable', 'NATS broke off the connection.'));
  })();
  refused.catch(() => undefined);
  work.catch(() => undefined);
  return Promise.race([work, refused]);
}

function abortFault(signal: AbortSignal): Fault {
  return signal.reason instanceof FaultError
    ? signal.reason.fault
    : fault('step.timeout', 'NATS did not answer in time.');
}

async function untilAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(new FaultError(abortFault(signal)));
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
