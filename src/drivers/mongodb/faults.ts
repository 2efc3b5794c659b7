/** What an error of MongoDB means, by its code; of codes that are not listed the command is at fault. */

import * as v from 'valibot';
import { fault, type Fault } from '../../core/errors.ts';
import type { Document } from './bson.ts';

type Treatment = Pick<Fault, 'code' | 'retryable'>;

const unauthorized: Treatment = { code: 'upstream.unauthorized', retryable: false };
const unavailable: Treatment = { code: 'upstream.unavailable', retryable: true };
/** The server asks for another attempt, or the command ran out of time. */
const again: Treatment = { code: 'upstream.rejected', retryable: true };
const rejected: Treatment = { code: 'upstream.rejected', retryable: false };

const TREATMENTS: readonly (readonly [treatment: Treatment, codes: readonly number[]])[] = [
  // Unauthorized, AuthenticationFailed, mechanism unavailable, AtlasError, of which the usual is a wrong login.
  [unauthorized, [13, 18, 334, 8000]],
  // Host unreachable, network timeout, shutting down, no primary or no longer one, interrupted by that, lost.
  [unavailable, [6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436]],
  // Time limit, write conflict, lock timeout, no such transaction (aborted by the server), snapshot too old.
  [again, [24, 50, 112, 251, 239, 246, 11601]],
];

const BY_CODE = new Map(TREATMENTS.flatMap(([treatment, codes]) => codes.map((code) => [code, treatment] as const)));

const errorSchema = v.object({
  code: v.optional(v.number(), 0),
  codeName: v.optional(v.string()),
  errmsg: v.optional(v.string(), 'no reason given'),
  errorLabels: v.optional(v.array(v.string()), []),
  index: v.optional(v.number()),
});

const TEXT_CHARACTERS = 2_000;

function faultOfError(error: unknown): Fault {
  const parsed = v.safeParse(errorSchema, error);
  if (!parsed.success) return fault('upstream.invalid', 'MongoDB sent an error that cannot be read.');
  const { code: number, codeName, errmsg, errorLabels, index } = parsed.output;
  const isTransient = errorLabels.includes('TransientTransactionError');
  const { code, retryable } = BY_CODE.get(number) ?? (isTransient ? again : rejected);
  const name = codeName ?? String(number);
  return fault(code, `MongoDB: ${errmsg.slice(0, TEXT_CHARACTERS)} (${name})`, {
    retryable,
    data: { code: number, codeName, ...(index !== undefined && { index }) },
  });
}

const replySchema = v.object({
  ok: v.number(),
  n: v.optional(v.number(), 0),
  writeErrors: v.optional(v.array(v.unknown()), []),
  writeConcernError: v.optional(v.unknown()),
});

/** The failure that a reply tells of, if any: of the command, of one of its writes, or of its write concern. */
export function replyFault(reply: Document): Fault | undefined {
  const parsed = v.safeParse(replySchema, reply);
  if (!parsed.success) return fault('upstream.invalid', 'MongoDB sent a reply that cannot be read.');
  const { ok, n, writeErrors, writeConcernError } = parsed.output;
  if (ok !== 1) return faultOfError(reply);
  const [writeError] = writeErrors;
  if (writeError !== undefined) {
    const found = faultOfError(writeError);
    // What was written before would be written again.
    return { ...found, retryable: found.retryable && n === 0 };
  }
  if (writeConcernError === undefined) return undefined;
  // It took effect here, and may yet be rolled back.
  return { ...faultOfError(writeConcernError), retryable: false };
}
