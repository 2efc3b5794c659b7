/** Queues, exchanges and bindings. */

import type { ConfirmChannel } from 'amqplib';
import { ok, type Result } from '../../core/errors.ts';
import { inSession, type RabbitmqConnection, type SocketWire } from './session.ts';

/** One call on a channel of its own. Faults of the broker, e.g. `upstream.rejected` for a queue that is not there. */
export const administer = <T>(
  connection: RabbitmqConnection,
  wire: SocketWire,
  call: (channel: ConfirmChannel) => Promise<T>,
): Promise<Result<T>> =>
  inSession(connection, wire, async ({ channel, lost }) => ok(await Promise.race([call(channel), lost])));
