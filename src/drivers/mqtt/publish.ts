/**
 * Messages to a broker.
 *
 * Guarantee: what is called published has reached the broker: acknowledged at QoS 1, completed at QoS 2, and at
 * QoS 0, which knows no acknowledgement, read (an answer to a later packet has come).
 * Accepted weakness: each call has a session of its own, so that at QoS 2 a lost connection leaves open whether the
 * message was taken; the fault is then `step.ambiguous` and not retried.
 */

import { Buffer } from 'node:buffer';
import type { IPublishPacket, Packet } from 'mqtt-packet';
import { FaultError, fault, faultOf, type Fault, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { isFailure, refusalOf } from './reasons.ts';
import { inSession, type MqttConnection, type MqttDial, type Session } from './session.ts';

export interface OutgoingMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** MQTT 5 only. */
  readonly properties?: NonNullable<IPublishPacket['properties']>;
}

/** In order. Faults name the message by its place. */
export const publish = (
  connection: MqttConnection,
  wires: MqttDial,
  messages: readonly OutgoingMessage[],
): Promise<Result<void>> => inSession(connection, wires, {}, (session) => publishAll(session, messages));

async function publishAll(session: Session, messages: readonly OutgoingMessage[]): Promise<void> {
  messages.forEach((message, index) => check(session, message, index));
  const { isVersion5, broker } = session;
  const most = isVersion5
    ? Math.min(broker.receiveMaximum ?? LIMITS.mqttInFlight, LIMITS.mqttInFlight)
    : LIMITS.mqttInFlightOfOld;
  /** Places of messages by packet identifier. */
  const inFlight = new Map<number, number>();
  let next = 0;
  try {
    while (next < messages.length || inFlight.size > 0) {
      for (; next < messages.length && inFlight.size < most; next += 1) {
        const message = messages[next];
        if (message === undefined) break;
        const messageId = next + 1;
        session.send({ cmd: 'publish', dup: false, ...message, messageId, payload: Buffer.from(message.payload) });
        if (message.qos > 0) inFlight.set(messageId, next);
      }
      if (inFlight.size > 0) for (const packet of await answers(session)) settle(session, packet, inFlight);
    }
    if (messages.every(({ qos }) => qos === 0)) await roundTrip(session);
  } catch (thrown) {
    const atStake = [...inFlight.values()].some((index) => messages[index]?.qos === 2);
    throw new FaultError(atStake ? ambiguous(faultOf(thrown)) : faultOf(thrown));
  }
}

/** What would make the broker end the connection without a word. */
function check(
  { broker, isVersion5 }: Session,
  { payload, topic, qos, retain, properties }: OutgoingMessage,
  index: number,
): void {
  const refuse = (reason: number): never => {
    throw new FaultError(refusalOf(reason, `messages[${index}]: `));
  };
  if (payload.length + topic.length > (broker.maximumPacketSize ?? Infinity)) refuse(0x95);
  if (qos > (broker.maximumQoS ?? 2)) refuse(0x9b);
  if (retain && payload.length > 0 && String(broker.retainAvailable ?? true) === 'false') refuse(0x9a);
  if (!isVersion5 && properties !== undefined) {
    const message = `messages[${index}]: Properties are of MQTT 5; leave them out, or set \`version\` to "5".`;
    throw new FaultError(fault('step.params', message));
  }
}

async function answers(session: Session): Promise<readonly Packet[]> {
  const packets = await session.read(LIMITS.mqttAnswerMilliseconds);
  if (packets.length > 0) return packets;
  throw new FaultError(fault('upstream.timeout', 'The broker did not acknowledge in time.'));
}

function settle(session: Session, packet: Packet, inFlight: Map<number, number>): void {
  const { messageId = 0 } = packet;
  const index = inFlight.get(messageId);
  if (index === undefined || (packet.cmd !== 'puback' && packet.cmd !== 'pubrec' && packet.cmd !== 'pubcomp')) return;
  const { reasonCode = 0 } = packet;
  if (isFailure(reasonCode)) {
    inFlight.delete(messageId);
    throw new FaultError(refusalOf(reasonCode, `messages[${index}]: `));
  }
  if (packet.cmd === 'pubrec') session.send({ cmd: 'pubrel', messageId, reasonCode: 0 });
  else inFlight.delete(messageId);
}

async function roundTrip(session: Session): Promise<void> {
  session.send({ cmd: 'pingreq' });
  while (!(await answers(session)).some(({ cmd }) => cmd === 'pingresp'));
}

const ambiguous = ({ code, message, detail, data }: Fault): Fault =>
  code === 'upstream.unavailable' || code === 'upstream.timeout' || code === 'step.timeout'
    ? fault('step.ambiguous', `${message} Whether the broker took the message is not known.`, { detail })
    : fault(code, message, { detail, data });
