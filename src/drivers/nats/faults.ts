/** What the errors of the library and of the server mean. */

import * as v from 'valibot';
import { FaultError, fault, type ErrorCode, type Fault } from '../../core/errors.ts';

const UNAUTHORIZED = fault('upstream.unauthorized', 'NATS did not accept the credentials.');
const LOST = fault('upstream.unreachable', 'NATS broke off the connection.');

/** By the names of the library's errors. Their messages are left out where they could repeat what was given. */
const BY_NAME: Readonly<Record<string, Fault>> = {
  AuthorizationError: UNAUTHORIZED,
  UserAuthenticationExpiredError: UNAUTHORIZED,
  TimeoutError: fault('upstream.timeout', 'NATS: No reply came in time.'),
  NoResponders: fault('upstream.unavailable', 'NATS: Nobody listens on the subject.'),
  JetStreamNotEnabled: fault(
    'upstream.rejected',
    'NATS: No stream answers there: the account has no JetStream, or no stream takes the subject.',
  ),
  ConnectionError: LOST,
  ClosedConnectionError: LOST,
  DrainingConnectionError: LOST,
  InvalidSubjectError: fault('step.params', 'The subject is not valid; it has no spaces and no empty parts.'),
  NKeysError: fault('connection.invalid', 'The seed or the creds of the connection cannot be read.'),
};

const named = v.object({ name: v.string(), message: v.string(), cause: v.optional(v.unknown()) });
const violation = v.object({
  name: v.literal('PermissionViolationError'),
  operation: v.string(),
  subject: v.string(),
});
const apiError = v.object({ code: v.number(), status: v.number(), message: v.string() });
const statusError = v.object({ name: v.literal('JetStreamStatusError'), code: v.number(), message: v.string() });

/** What a server says that has no room, no leader, or more to do than it can: it may have recovered later. */
const BUSY: ReadonlySet<number> = new Set([408, 409, 429, 500, 503]);

/** Codes of JetStream that say so for a request which will never be taken. */
const LASTING: ReadonlySet<number> = new Set([10071, 10164, 10070, 10060]);

export function faultFrom(thrown: unknown): Fault {
  if (thrown instanceof FaultError) return thrown.fault;
  const refused = v.safeParse(violation, thrown);
  if (refused.success) {
    const { operation, subject } = refused.output;
    const act = operation === 'publish' ? 'publish to' : 'listen on';
    return fault('upstream.unauthorized', `NATS: The credentials may not ${act} ${subject}.`, { data: { subject } });
  }
  const answered = v.safeParse(apiError, thrown);
  if (answered.success) return jetStreamFault(answered.output);
  const status = v.safeParse(statusError, thrown);
  if (status.success) return jetStreamFault({ ...status.output, status: status.output.code });
  const error = v.safeParse(named, thrown);
  if (!error.success) return LOST;
  const { name, message, cause } = error.output;
  if (name === 'RequestError' && cause !== undefined) return faultFrom(cause);
  if (name === 'RequestError') return LOST;
  if (name === 'ProtocolError') return protocolFault(message);
  // What the library refuses by itself names the parameter.
  if (name === 'InvalidArgumentError') return fault('step.params', `NATS: ${message}.`);
  return BY_NAME[name] ?? fault('upstream.invalid', 'NATS sent something that cannot be read.', { detail: thrown });
}

interface ApiError {
  /** Of JetStream, beside one like those of HTTP. */
  readonly code: number;
  readonly status: number;
  readonly message: string;
}

function jetStreamFault({ code, status, message }: ApiError): Fault {
  const mayRecover = BUSY.has(status) && !LASTING.has(code);
  const errorCode: ErrorCode = mayRecover && status >= 500 ? 'upstream.unavailable' : 'upstream.rejected';
  return fault(errorCode, `JetStream: ${message}.`, { data: { code, status } });
}

/** `-ERR` of the server, of which it hangs up. */
function protocolFault(message: string): Fault {
  if (/maximum payload/i.test(message))
    return fault('step.params', 'NATS: The message is larger than the server takes.');
  if (/secure connection|TLS required/i.test(message)) {
    return fault('connection.invalid', 'NATS: The server asks for TLS; write `tls:` in the `url` of the connection.');
  }
  const isBusy = /maximum (?:connections|account)|stale connection|slow consumer/i.test(message);
  return fault(isBusy ? 'upstream.unavailable' : 'upstream.rejected', `NATS: ${message}.`);
}
