/**
 * Messages to RabbitMQ and from it.
 *
 * Guarantees: what is called published has been confirmed by the broker, and at least one queue took it unless the
 * caller does not mind; a message is acknowledged only after the caller has taken it.
 */

import { Buffer } from 'node:buffer';
import type { ConsumeMessage, GetMessage, Options } from 'amqplib';
import { fail, FaultError, faultOf, ok, type Fault, type Result } from '../../core/errors.ts';
import { inSession, type RabbitmqConnection, type SocketWire } from './session.ts';

export interface OutgoingMessage {
  /** Empty for the default one, which delivers to the queue that the routing key names. */
  readonly exchange: string;
  readonly routingKey: string;
  readonly content: Uint8Array;
  readonly options: Options.Publish;
}

/** Fault `upstream.rejected` for a mandatory message that no queue took. */
export const publish = (
  connection: RabbitmqConnection,
  wire: SocketWire,
  { exchange, routingKey, content, options }: OutgoingMessage,
): Promise<Result<void>> =>
  inSession(connection, wire, async ({ channel, lost }) => {
    let isReturned = false;
    channel.on('return', () => (isReturned = true));
    const confirmed = new Promise<boolean>((resolve) => {
      channel.publish(exchange, routingKey, Buffer.from(content), options, (error: unknown) => {
        // Without its channel there is no confirmation, and `lost` says why.
        if (error === null) resolve(true);
        else if (error instanceof Error && error.message === 'message nacked') resolve(false);
      });
    });
    if (!(await Promise.race([confirmed, lost]))) {
      return fail('upstream.unavailable', 'RabbitMQ did not take the message; the queue may be full.');
    }
    const to =
      exchange === '' ? `a queue ${JSON.stringify(routingKey)}` : `a queue bound for ${JSON.stringify(routingKey)}`;
    return isReturned
      ? fail('upstream.rejected', `RabbitMQ has not ${to}, so the message went nowhere.`)
      : ok(undefined);
  });

export interface GetQuery {
  readonly queue: string;
  readonly limit: number;
  /** Left out, the messages are back in the queue after the call, marked as redelivered. */
  readonly acknowledge: boolean;
}

/** @param take what becomes of the messages; where it fails, none is acknowledged */
export const get = <T>(
  connection: RabbitmqConnection,
  wire: SocketWire,
  { queue, limit, acknowledge }: GetQuery,
  take: (messages: readonly GetMessage[]) => Result<T>,
): Promise<Result<T>> =>
  inSession(connection, wire, async ({ channel, lost }) => {
    const messages: GetMessage[] = [];
    while (messages.length < limit) {
      const message = await Promise.race([channel.get(queue), lost]);
      if (message === false) break;
      messages.push(message);
    }
    const taken = take(messages);
    const last = messages.at(-1);
    if (taken.ok && acknowledge && last !== undefined) channel.ack(last, true);
    return taken;
  });

export interface Consuming {
  readonly queue: string;
  /** Messages that may be under way at a time. */
  readonly prefetch: number;
  ready(): void;
  /** Nothing is acknowledged before it resolves; where it rejects, the session ends, and all goes back into the queue. */
  deliver(messages: readonly ConsumeMessage[]): Promise<void>;
}

/** Until the signal aborts, or the broker ends it, which both are `ok`. */
export async function consume(
  connection: RabbitmqConnection,
  wire: SocketWire,
  { queue, prefetch, ready, deliver }: Consuming,
): Promise<Result<void>> {
  let isReady = false;
  let refused: Fault | undefined;
  const result = await inSession<void>(
    connection,
    wire,
    async ({ channel, lost, arrived }) => {
      let waiting: ConsumeMessage[] = [];
      let isCancelled = false;
      let wake = (): void => undefined;
      const take = (message: ConsumeMessage | null): void => {
        arrived();
        if (message === null) isCancelled = true;
        else waiting.push(message);
        wake();
      };
      await Promise.race([channel.prefetch(prefetch), lost]);
      await Promise.race([channel.consume(queue, take), lost]);
      isReady = true;
      ready();
      for (;;) {
        while (waiting.length === 0) {
          if (isCancelled) return ok(undefined);
          await Promise.race([new Promise<void>((resolve) => (wake = resolve)), lost]);
        }
        const batch = waiting;
        waiting = [];
        const delivered = deliver(batch).catch((thrown: unknown) => {
          refused = faultOf(thrown);
          throw new FaultError(refused);
        });
        await Promise.race([delivered, lost]);
        const last = batch.at(-1);
        if (last !== undefined) channel.ack(last, true);
      }
    },
    { endless: true },
  );
  if (result.ok || wire.signal?.aborted === true) return ok(undefined);
  const isLost = refused === undefined && result.fault.code === 'upstream.unavailable';
  return isReady && isLost ? ok(undefined) : result;
}
