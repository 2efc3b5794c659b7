/**
 * A session of MQTT 3.1.1 or 5: mqtt-packet reads and writes the packets, and nothing else; the client of the same
 * authors would open sockets and reconnect by itself, and is six times as large.
 *
 * Guarantees: a session has one connection and ends with it; nothing outlasts the signal; a packet that is larger
 * than the bound ends it with `upstream.too-large`. No message of a fault holds a credential.
 */

import { Buffer } from 'node:buffer';
import type { IConnackPacket, Packet } from 'mqtt-packet';
import { FaultError, fault, faultOf, ok, type Fault, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { connectRefusalOf, isFailure, refusalOf } from './reasons.ts';
import { dial, type Dial, type Wire } from './wire.ts';

export interface MqttConnection {
  /** `mqtt:`, `mqtts:`, `ws:` or `wss:`. */
  readonly url: string;
  readonly version: '3.1.1' | '5';
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

export interface MqttDial extends Dial {
  readonly signal?: AbortSignal | undefined;
}

export interface SessionOptions {
  /** Left out for a session that ends with its connection. */
  readonly lasting?: { readonly clientId: string; readonly expirySeconds: number };
  /** Messages of QoS 1 and 2 that may come before the first is acknowledged. */
  readonly receiveMaximum?: number;
}

export interface Session {
  readonly isVersion5: boolean;
  /** What the broker said of itself. */
  readonly broker: NonNullable<IConnackPacket['properties']>;
  send(packet: Packet): void;
  /**
   * The packets that come next, or none when so long nothing came.
   * @throws FaultError where the connection is lost, the broker ends it, or the signal aborts
   */
  read(milliseconds: number): Promise<readonly Packet[]>;
}

/** Opens a session, uses it, and ends it in every case. `use` may throw FaultError. */
export async function inSession<T>(
  connection: MqttConnection,
  { signal, ...wires }: MqttDial,
  options: SessionOptions,
  use: (session: Session) => Promise<T>,
): Promise<Result<T>> {
  const outOfTime = fault('step.timeout', `${hostOf(connection.url)} did not answer in time.`);
  if (signal?.aborted === true) return { ok: false, fault: outOfTime };
  const { parser, generate } = (await import('mqtt-packet/mqtt.js')).default;
  let stop = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => (stop = () => reject(new FaultError(outOfTime))));
  aborted.catch(() => undefined);
  signal?.addEventListener('abort', stop, { once: true });
  let wire: Wire | undefined;
  try {
    const dialled = await Promise.race([within(dial(connection.url, wires), connection), aborted]);
    if (!dialled.ok) return dialled;
    wire = dialled.value;
    const protocolVersion = connection.version === '5' ? 5 : 4;
    const incoming = packetsOf(wire, parser({ protocolVersion }), aborted);
    const send = (packet: Packet): void => dialled.value.write(generate(packet, { protocolVersion }));
    send(connectPacket(connection, options));
    const { broker, rest } = await greeting(incoming, connection);
    let early = rest;
    const read: Reader = async (milliseconds) => {
      const came = early.length > 0 ? early : await incoming(milliseconds);
      early = [];
      return came;
    };
    const value = await use({ isVersion5: protocolVersion === 5, broker, send, read });
    send({ cmd: 'disconnect', reasonCode: 0 });
    return ok(value);
  } catch (thrown) {
    return { ok: false, fault: faultOf(thrown) };
  } finally {
    signal?.removeEventListener('abort', stop);
    wire?.close();
  }
}

export const hostOf = (url: string): string => URL.parse(url)?.host ?? '';

const unreachable = (url: string, detail?: unknown): Fault =>
  fault('upstream.unreachable', `${hostOf(url)} could not be reached, or is no MQTT broker.`, { detail });

type Reader = Session['read'];

function packetsOf(wire: Wire, parser: ReturnType<PacketParser>, aborted: Promise<never>): Reader {
  let packets: Packet[] = [];
  let malformed: unknown;
  /** Since the last whole packet. */
  let pendingBytes = 0;
  let reading: Promise<Uint8Array | undefined> | undefined;
  parser.on('packet', (packet) => {
    packets.push(packet);
    pendingBytes = 0;
  });
  parser.on('error', (error) => (malformed ??= error));

  const take = (bytes: Uint8Array): readonly Packet[] => {
    pendingBytes += bytes.length;
    parser.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    if (malformed !== undefined) throw new FaultError(malformedOf(malformed));
    if (pendingBytes > LIMITS.responseBodyBytes) {
      const message = `The broker sent a packet of more than ${LIMITS.responseBodyBytes} bytes.`;
      throw new FaultError(fault('upstream.too-large', message));
    }
    const came = packets;
    packets = [];
    for (const packet of came) {
      if (packet.cmd === 'disconnect') throw new FaultError(refusalOf(packet.reasonCode ?? 0x80));
    }
    return came;
  };

  return async function read(milliseconds) {
    const end = timer(milliseconds);
    try {
      for (;;) {
        reading ??= wire.read();
        // It is waited for again, or by nobody when the session ends.
        reading.catch(() => undefined);
        const bytes = await Promise.race([reading, end.over, aborted]);
        if (bytes === 'over') return [];
        reading = undefined;
        if (bytes === undefined) throw new FaultError(LOST);
        const came = take(bytes);
        if (came.length > 0) return came;
      }
    } catch (thrown) {
      throw thrown instanceof FaultError ? thrown : new FaultError({ ...LOST, detail: thrown });
    } finally {
      end.cancel();
    }
  };
}

/** Mosquitto refuses a message for its size by a reason that is no reason of that packet. */
const malformedOf = (detail: unknown): Fault =>
  /reason code/i.test(String(detail))
    ? fault('upstream.rejected', 'The broker refused what was sent, perhaps for its size.', { detail })
    : fault(
        'upstream.invalid',
        'The broker sent something that is no MQTT of this version; check `url` and `version`.',
        {
          detail,
        },
      );

type PacketParser = typeof import('mqtt-packet').parser;

const LOST = fault('upstream.unavailable', 'The connection to the broker was lost.');

/** Whether the fault says that the connection ended, by whatever side. */
export const isLost = ({ message }: Fault): boolean => message === LOST.message;

function connectPacket(
  { version, username, password }: MqttConnection,
  { lasting, receiveMaximum = LIMITS.mqttInFlight }: SessionOptions,
): Packet {
  return {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: version === '5' ? 5 : 4,
    // Brokers of 3.1.1 may leave it out only for a clean session, and some do not let it be left out at all.
    clientId: lasting?.clientId ?? `tidegate-${crypto.randomUUID().slice(0, 13)}`,
    clean: lasting === undefined,
    keepalive: LIMITS.mqttKeepAliveSeconds,
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password: Buffer.from(password) }),
    ...(version === '5' && {
      properties: {
        receiveMaximum,
        maximumPacketSize: LIMITS.responseBodyBytes,
        ...(lasting !== undefined && { sessionExpiryInterval: lasting.expirySeconds }),
      },
    }),
  };
}

interface Greeting {
  readonly broker: Session['broker'];
  /** Messages of a lasting session, which may come together with the greeting. */
  readonly rest: readonly Packet[];
}

async function greeting(read: Reader, { url, version }: MqttConnection): Promise<Greeting> {
  let first: readonly Packet[];
  try {
    first = await read(LIMITS.databaseConnectMilliseconds);
  } catch (thrown) {
    const lost = faultOf(thrown);
    throw isLost(lost) ? new FaultError(unreachable(url, lost.detail)) : thrown;
  }
  const [packet, ...rest] = first;
  if (packet === undefined) throw new FaultError(fault('upstream.timeout', `${hostOf(url)} did not answer in time.`));
  if (packet.cmd !== 'connack') throw new FaultError(unreachable(url));
  const code = (version === '5' ? packet.reasonCode : packet.returnCode) ?? 0;
  if (code !== 0) throw new FaultError(connectRefusalOf(code));
  return { broker: packet.properties ?? {}, rest };
}

async function within<T>(dialling: Promise<Result<T>>, { url }: MqttConnection): Promise<Result<T>> {
  const end = timer(LIMITS.databaseConnectMilliseconds);
  const first = await Promise.race([dialling, end.over]).finally(end.cancel);
  return first === 'over' ? { ok: false, fault: unreachable(url) } : first;
}

function timer(milliseconds: number): { readonly over: Promise<'over'>; readonly cancel: () => void } {
  let id: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<'over'>((resolve) => (id = setTimeout(() => resolve('over'), milliseconds)));
  return { over, cancel: () => clearTimeout(id) };
}

/** The reasons of a SUBACK, of both versions; the first failure is thrown. */
export function checkGranted(granted: readonly unknown[], filters: readonly string[]): void {
  for (const [index, reason] of granted.entries()) {
    if (typeof reason !== 'number' || !isFailure(reason)) continue;
    const what = `${filters[index]}: `;
    // 3.1.1 knows the one code for every failure.
    throw new FaultError(
      reason === 0x80
        ? fault('upstream.unauthorized', `${what}The broker refused the subscription.`)
        : refusalOf(reason, what),
    );
  }
}
