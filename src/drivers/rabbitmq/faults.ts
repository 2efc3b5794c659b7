/** What an error of amqplib means: by the code of the broker (AMQP 0-9-1, section 1.2), or by where it happened. */

import * as v from 'valibot';
import { FaultError, fault, type ErrorCode, type Fault } from '../../core/errors.ts';

const CODES: Readonly<Record<number, ErrorCode>> = {
  // Closed by its operator, out of some resource, an error of its own.
  320: 'upstream.unavailable',
  506: 'upstream.unavailable',
  541: 'upstream.unavailable',
  403: 'upstream.unauthorized',
};

const errorSchema = v.object({ message: v.string(), code: v.optional(v.unknown()) });

/** How far a session had come. */
export type Stage = 'opening' | 'open';

export function faultFrom(
  thrown: unknown,
  stage: Stage,
  { host, vhost }: { readonly host: string; readonly vhost: string },
): Fault {
  if (thrown instanceof FaultError) return thrown.fault;
  const parsed = v.safeParse(errorSchema, thrown);
  const { message, code } = parsed.success ? parsed.output : { message: '', code: undefined };
  if (stage === 'opening') return openingFault(message, host, vhost, thrown);
  if (typeof code === 'number') {
    const said = /with message "(.*)"$/s.exec(message)?.[1] ?? message;
    // Some texts name the user, which is a secret of the connection.
    const text = said.replace(/user '[^']*'/g, 'the user').slice(0, 500);
    return fault(CODES[code] ?? 'upstream.rejected', `RabbitMQ: ${text}`, { data: { code } });
  }
  // What cannot be put into a frame never left.
  if (thrown instanceof TypeError || thrown instanceof RangeError) {
    return fault('step.params', 'The properties or headers are too large, or of a kind that AMQP does not have.', {
      detail: thrown,
    });
  }
  return fault('upstream.unavailable', `The connection to ${host} was lost.`, { detail: thrown });
}

function openingFault(message: string, host: string, vhost: string, detail: unknown): Fault {
  if (/\b403\b/.test(message)) {
    return fault('upstream.unauthorized', `${host} did not accept the user and password.`, { detail });
  }
  // The library hides the reason (530) of what answers the opening.
  if (message.startsWith('Expected ConnectionOpenOk; got <ConnectionClose')) {
    const text = `The virtual host ${JSON.stringify(vhost)} of ${host} is not there, or not open to the user.`;
    return fault('connection.invalid', text, { detail });
  }
  if (message.startsWith('SASL mechanism')) {
    return fault('connection.invalid', `${host} takes no user and password (PLAIN); allow it there.`, { detail });
  }
  return fault('upstream.unreachable', `${host} could not be reached, or is no RabbitMQ.`, { detail });
}
