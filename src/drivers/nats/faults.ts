/** What the refusals of a server of NATS mean. */

import * as v from 'valibot';
import { fault, type ErrorCode, type Fault } from '../../core/errors.ts';

type Reading = readonly [pattern: RegExp, make: (match: RegExpExecArray) => Fault];

/** By the text of `-ERR`. */
const ERRORS: readonly Reading[] = [
  [
    /^permissions violation for (publish|subscription) to "?([^"]*)/i,
    ([, operation, subject]) => {
      const act = operation?.toLowerCase() === 'publish' ? 'publish to' : 'listen on';
      return fault('upstream.unauthorized', `NATS: The credentials may not ${act} ${subject}.`, { data: { subject } });
    },
  ],
  [
    /^(?:authorization|authentication|user authentication|account authentication)/i,
    () => fault('upstream.unauthorized', 'NATS did not accept the credentials.'),
  ],
  [/^maximum payload/i, () => fault('step.params', 'NATS: The message is larger than the server takes.')],
  [
    /^(?:maximum (?:connections|account)|stale connection|slow consumer|server shutdown)/i,
    ([said]) => fault('upstream.unavailable', `NATS: ${said}.`),
  ],
];

export function errorFault(text: string): Fault {
  for (const [pattern, make] of ERRORS) {
    const match = pattern.exec(text);
    if (match !== null) return make(match);
  }
  return fault('upstream.rejected', `NATS: ${text}.`);
}

export const apiError = v.object({
  /** One like those of HTTP, beside one of JetStream. */
  code: v.number(),
  err_code: v.optional(v.number(), 0),
  description: v.optional(v.string(), 'no reason given'),
});

export function jetStreamFault({ code: status, err_code: code, description }: v.InferOutput<typeof apiError>): Fault {
  const errorCode: ErrorCode = status === 503 ? 'upstream.unavailable' : 'upstream.rejected';
  return fault(errorCode, `JetStream: ${description}.`, { data: { status, code } });
}
