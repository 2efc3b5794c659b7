/** What a reason code of MQTT 5 (section 2.4) means, and a return code of 3.1.1 (section 3.2.2.3). */

import { fault, type ErrorCode, type Fault } from '../../core/errors.ts';

type Reason = readonly [code: ErrorCode, text: string];

const UNAUTHORIZED = 'upstream.unauthorized';
const REJECTED = 'upstream.rejected';
const UNAVAILABLE = 'upstream.unavailable';

const REASONS: Readonly<Record<number, Reason>> = {
  0x81: [REJECTED, 'could not read a packet'],
  0x82: [REJECTED, 'found an error of the protocol'],
  0x84: ['connection.invalid', 'does not speak this version of MQTT; set `version` to the other one'],
  0x85: ['connection.invalid', 'does not take the client identifier'],
  0x86: [UNAUTHORIZED, 'did not accept the user name and password'],
  0x87: [UNAUTHORIZED, 'does not allow this'],
  0x88: [UNAVAILABLE, 'is not available'],
  0x89: [UNAVAILABLE, 'is busy'],
  0x8a: [UNAUTHORIZED, 'has banned this client'],
  0x8b: [UNAVAILABLE, 'is shutting down'],
  0x8c: [UNAUTHORIZED, 'wants another way of authentication'],
  0x8d: [UNAVAILABLE, 'heard nothing for too long'],
  0x8e: [
    'connection.invalid',
    'gave the session to another client with the same identifier; give each its own `clientId`',
  ],
  0x8f: [REJECTED, 'does not take the filter'],
  0x90: [REJECTED, 'does not take the topic'],
  0x93: [REJECTED, 'was sent more than it takes at a time'],
  0x95: [REJECTED, 'does not take packets of this size'],
  0x96: ['upstream.rate-limited', 'limits the rate of messages'],
  0x97: ['upstream.rate-limited', 'says that the quota is used up'],
  0x99: [REJECTED, 'found that the payload is not of the format that was announced'],
  0x9a: [REJECTED, 'keeps no retained messages'],
  0x9b: [REJECTED, 'does not take this quality of service'],
  0x9c: ['connection.invalid', 'wants another server to be used'],
  0x9d: ['connection.invalid', 'has moved to another server'],
  0x9e: [REJECTED, 'has no shared subscriptions'],
  0x9f: ['upstream.rate-limited', 'limits the rate of connections'],
  0xa1: [REJECTED, 'has no subscription identifiers'],
  0xa2: [REJECTED, 'has no subscriptions with wildcards'],
};

/** Codes of a refused connection in 3.1.1, as those of 5. */
const RETURN_CODES: Readonly<Record<number, number>> = { 1: 0x84, 2: 0x85, 3: 0x88, 4: 0x86, 5: 0x87 };

export const isFailure = (reason: number): boolean => reason >= 0x80;

/** @param what the place in the parameters, e.g. `messages[3]: ` */
export function refusalOf(reason: number, what = ''): Fault {
  const [code, text] = REASONS[reason] ?? [REJECTED, 'refused'];
  return fault(code, `${what}The broker ${text} (0x${reason.toString(16)}).`, { data: { reason } });
}

export const connectRefusalOf = (code: number): Fault => refusalOf(RETURN_CODES[code] ?? code);
