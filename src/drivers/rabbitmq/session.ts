/**
 * A session with RabbitMQ (AMQP 0-9-1), by the parts of amqplib that open no socket, on one of ours.
 *
 * Guarantees: a session has one connection and one channel, and ends with them; nothing outlasts the signal; a
 * message that is larger than the bound ends it with `upstream.too-large`. No message of a fault holds a credential.
 * Accepted weakness: each call connects anew, as the platform binds a socket to the request that opened it.
 */

import { Buffer } from 'node:buffer';
import type { ChannelModel, ConfirmChannel } from 'amqplib';
import { FaultError, fault, type Fault, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { inTime } from '../kit/in-time.ts';
import type { GuardedConnect } from '../http/guarded-connect.ts';
import { SocketStream } from '../kit/socket-stream.ts';
import { faultFrom, type Stage } from './faults.ts';

export interface RabbitmqConnection {
  readonly host: string;
  readonly port: number;
  readonly vhost: string;
  readonly user: string;
  readonly password: string;
  readonly tls: 'verify' | 'disable';
}

export interface SocketWire {
  /** The guarded one. */
  readonly connect: GuardedConnect;
  readonly signal?: AbortSignal | undefined;
}

export interface Session {
  readonly channel: ConfirmChannel;
  /** Rejects when the connection or the channel ends by itself. */
  readonly lost: Promise<never>;
  /** Tells that a message has come whole; the bound is for each. */
  arrived(): void;
}

interface SessionOptions {
  /** For one that goes on until the signal aborts; otherwise it is over after a minute. */
  readonly endless?: boolean;
}

/** Opens a session, uses it, and ends it in every case. */
export async function inSession<T>(
  connection: RabbitmqConnection,
  { connect, signal }: SocketWire,
  use: (session: Session) => Promise<Result<T>>,
  { endless = false }: SessionOptions = {},
): Promise<Result<T>> {
  const { host, port, tls } = connection;
  const outOfTime = fault('step.timeout', `${host} did not answer in time.`);
  if (signal?.aborted === true) return { ok: false, fault: outOfTime };
  const [{ default: transport }, { default: model }] = await Promise.all([
    import('amqplib/lib/connection.js'),
    import('amqplib/lib/channel_model.js'),
  ]);
  const secureTransport = tls === 'verify' ? 'on' : 'off';
  const socket = connect({ hostname: host, port }, { secureTransport, allowHalfOpen: false });
  if (!socket.ok) return socket;
  const stream = new MessageStream(socket.value, endless);
  const giveUp = (reason: Fault): void => void stream.destroy(new FaultError(reason));
  const abort = (): void => giveUp(outOfTime);
  signal?.addEventListener('abort', abort, { once: true });
  const late = fault('upstream.timeout', `${host} took too long.`);
  let timer = setTimeout(giveUp, LIMITS.databaseConnectMilliseconds, late);
  const end = Promise.withResolvers<never>();
  end.promise.catch(() => undefined);
  let stage: Stage = 'opening';
  // Its last word is the reason; what a caller that waits is told is only that there will be no answer.
  let reason: unknown;
  const fails = (error: unknown): void => end.reject((reason ??= error));
  stream.on('error', fails);
  try {
    const base = new transport.Connection(stream);
    await new Promise<void>((resolve, reject) =>
      base.open(helloOf(connection, endless), (error) => (error === null ? resolve() : reject(error))),
    );
    clearTimeout(timer);
    if (!endless) timer = setTimeout(giveUp, LIMITS.rabbitmqCallMilliseconds, late);
    const opened = new model.ChannelModel(base);
    opened.on('error', fails);
    opened.on('close', (error?: Error) => fails(error ?? new Error('closed')));
    const channel = await opened.createConfirmChannel();
    channel.on('error', fails);
    stage = 'open';
    const result = await use({ channel, lost: end.promise, arrived: () => stream.arrived() });
    await leave(opened, channel);
    return result;
  } catch (thrown) {
    return { ok: false, fault: faultFrom(reason ?? thrown, stage, connection) };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', abort);
    stream.destroy();
  }
}

/**
 * In this order, as the goodbye of the connection would overtake what the channel has still to send. What goes wrong
 * here changes nothing of what has been done: an acknowledgement that is lost makes a message come again.
 */
async function leave(opened: ChannelModel, channel: ConfirmChannel): Promise<void> {
  const goodbye = channel.close().then(() => opened.close());
  await inTime(LIMITS.databaseCancelMilliseconds, goodbye).catch(() => undefined);
}

/** A bound for each message in place of one for the whole, where there is no end. */
class MessageStream extends SocketStream {
  readonly #isEndless: boolean;
  #pendingBytes = 0;

  constructor(socket: Socket, isEndless: boolean) {
    super(socket, {
      server: 'RabbitMQ',
      remedy: 'get fewer messages',
      ...(isEndless && { maximumBytes: Infinity }),
    });
    this.#isEndless = isEndless;
  }

  arrived(): void {
    this.#pendingBytes = 0;
  }

  protected override receive(chunk: Buffer): void {
    this.#pendingBytes += chunk.length;
    if (!this.#isEndless || this.#pendingBytes <= LIMITS.responseBodyBytes) return super.receive(chunk);
    const message = `RabbitMQ sent a message of more than ${LIMITS.responseBodyBytes} bytes.`;
    this.destroy(new FaultError(fault('upstream.too-large', message)));
  }
}

/** What amqplib's own `connect` would say. */
const helloOf = ({ vhost, user, password }: RabbitmqConnection, endless: boolean) => ({
  clientProperties: {
    product: 'Tidegate',
    capabilities: {
      publisher_confirms: true,
      'basic.nack': true,
      consumer_cancel_notify: true,
      'connection.blocked': true,
      // Else a wrong password would be answered by silence.
      authentication_failure_close: true,
    },
  },
  mechanism: 'PLAIN',
  response: Buffer.from(`\0${user}\0${password}`),
  locale: 'en_US',
  channelMax: 1,
  frameMax: 131_072,
  heartbeat: endless ? LIMITS.rabbitmqHeartbeatSeconds : 0,
  virtualHost: vhost,
  capabilities: '',
  insist: 0,
});
