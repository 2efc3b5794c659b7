/** Messages from a broker: those that it retained, and those that come. */

import type { IPublishPacket, Packet } from 'mqtt-packet';
import { FaultError, fault, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { checkGranted, inSession, isLost, type MqttConnection, type MqttDial, type Session } from './session.ts';

export interface RetainedQuery {
  readonly filter: string;
  /** Messages at most. */
  readonly limit: number;
  /** After so long without another one, all have come. */
  readonly quietMilliseconds: number;
}

/** By topic. MQTT does not say which is the last one, so that only silence tells. */
export const retained = (
  connection: MqttConnection,
  wires: MqttDial,
  { filter, limit, quietMilliseconds }: RetainedQuery,
): Promise<Result<readonly IPublishPacket[]>> =>
  inSession(connection, wires, {}, async (session) => {
    subscribe(session, [filter], 0, 'always');
    const most = /[+#]/.test(filter) ? limit : 1;
    const found = new Map<string, IPublishPacket>();
    let bytes = 0;
    let isGranted = false;
    while (found.size < most) {
      const packets = await session.read(isGranted ? quietMilliseconds : LIMITS.mqttAnswerMilliseconds);
      if (packets.length === 0 && isGranted) break;
      if (packets.length === 0) throw new FaultError(fault('upstream.timeout', 'The broker did not answer in time.'));
      for (const packet of packets) {
        if (packet.cmd === 'suback') {
          checkGranted(packet.granted, [filter]);
          isGranted = true;
        }
        if (packet.cmd !== 'publish' || !packet.retain || found.size >= most) continue;
        bytes += packet.payload.length;
        if (bytes > LIMITS.responseBodyBytes) {
          const message = `The retained messages have more than ${LIMITS.responseBodyBytes} bytes; narrow the filter.`;
          throw new FaultError(fault('upstream.too-large', message));
        }
        found.set(packet.topic, packet);
      }
    }
    return [...found.values()];
  });

export interface Listening {
  readonly clientId: string;
  readonly filters: readonly string[];
  readonly qos: 0 | 1 | 2;
  /** How long the broker keeps messages while nobody listens. MQTT 5; in 3.1.1 the broker decides. */
  readonly expirySeconds: number;
  readonly inFlight: number;
  ready(): void;
  /** Nothing is acknowledged before it resolves, nor where it rejects. */
  deliver(messages: readonly IPublishPacket[]): Promise<void>;
}

/** Until the signal aborts or the broker closes the connection, which both are `ok`. */
export async function listen(
  connection: MqttConnection,
  wires: MqttDial,
  { clientId, filters, qos, expirySeconds, inFlight, ready, deliver }: Listening,
): Promise<Result<void>> {
  let isReady = false;
  const result = await inSession(
    connection,
    wires,
    { lasting: { clientId, expirySeconds }, receiveMaximum: inFlight },
    async (session) => {
      const beatMilliseconds = (session.broker.serverKeepAlive ?? LIMITS.mqttKeepAliveSeconds) * 1_000;
      // Also while the runs of a message are being started, which may take long.
      const heart = setInterval(() => session.send({ cmd: 'pingreq' }), beatMilliseconds / 2);
      const received = new Set<number>();
      try {
        subscribe(session, filters, qos, 'new');
        for (;;) {
          const packets = await session.read(beatMilliseconds * 1.5);
          if (packets.length === 0) throw new FaultError(fault('upstream.unavailable', 'The broker fell silent.'));
          for (const packet of packets) {
            if (packet.cmd !== 'suback') continue;
            checkGranted(packet.granted, filters);
            isReady = true;
            ready();
          }
          await take(session, packets, received, inFlight, deliver);
        }
      } finally {
        clearInterval(heart);
      }
    },
  );
  if (!result.ok && (wires.signal?.aborted === true || (isReady && isLost(result.fault)))) return ok(undefined);
  return result;
}

async function take(
  session: Session,
  packets: readonly Packet[],
  received: Set<number>,
  most: number,
  deliver: Listening['deliver'],
): Promise<void> {
  // At QoS 2 one that comes again before its release has been delivered.
  const fresh = packets.filter(
    (packet) => packet.cmd === 'publish' && !(packet.qos === 2 && received.has(packet.messageId ?? 0)),
  );
  const messages = fresh.filter((packet) => packet.cmd === 'publish');
  for (let at = 0; at < messages.length; at += most) {
    const batch = messages.slice(at, at + most);
    await deliver(batch);
    for (const message of batch) acknowledge(session, message, received);
  }
  for (const packet of packets) {
    const { messageId = 0 } = packet;
    if (packet.cmd === 'pubrel') {
      received.delete(messageId);
      session.send({ cmd: 'pubcomp', messageId, reasonCode: 0 });
    } else if (packet.cmd === 'publish' && !messages.includes(packet)) {
      session.send({ cmd: 'pubrec', messageId, reasonCode: 0 });
    }
  }
}

function acknowledge(session: Session, { qos, messageId = 0 }: IPublishPacket, received: Set<number>): void {
  if (qos === 1) session.send({ cmd: 'puback', messageId, reasonCode: 0 });
  if (qos !== 2) return;
  received.add(messageId);
  session.send({ cmd: 'pubrec', messageId, reasonCode: 0 });
}

/** @param kept which retained messages come: always, or where the subscription is new to the broker (MQTT 5) */
function subscribe(session: Session, filters: readonly string[], qos: 0 | 1 | 2, kept: 'always' | 'new'): void {
  const subscriptions = filters.map((topic) => ({
    topic,
    qos,
    ...(session.isVersion5 && { nl: false, rap: true, rh: kept === 'new' ? 1 : 0 }),
  }));
  session.send({ cmd: 'subscribe', messageId: 1, subscriptions });
}
