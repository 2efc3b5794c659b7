/**
 * The policy `idempotency` of a route or HTTP trigger, and the key that a caller sends
 * (draft-ietf-httpapi-idempotency-key-header).
 */

import * as v from 'valibot';
import { DURATION, formatDuration, parseDuration } from '../chain/duration.ts';
import { at, type IssueList } from '../chain/issues.ts';
import { fail, ok, type Result } from '../errors.ts';
import { LIMITS } from '../limits.ts';

const usual = formatDuration(LIMITS.idempotencyMilliseconds);
const longest = formatDuration(LIMITS.idempotencyLongestMilliseconds);

export const idempotencyPolicy = v.strictObject({
  required: v.optional(
    v.pipe(v.boolean(), v.description('Refuse requests without the header `Idempotency-Key`.')),
    false,
  ),
  ttl: v.optional(
    v.pipe(
      v.string(),
      v.regex(DURATION),
      v.examples(['1h', '24h']),
      v.description(`How long a key stands for its first response; at most ${longest}.`),
    ),
    usual,
  ),
  methods: v.optional(
    v.pipe(
      v.array(v.picklist(['POST', 'PATCH', 'PUT', 'DELETE'])),
      v.description('Methods of which a request with a key is carried out once.'),
    ),
    ['POST', 'PATCH'],
  ),
  retryable: v.optional(
    v.pipe(
      v.array(v.pipe(v.string(), v.regex(/^[1-5](?:\d\d|xx)$/))),
      v.examples([['408', '429', '5xx']]),
      v.description('Statuses that are not kept: after one of them the same key may try again.'),
    ),
    ['408', '429', '5xx'],
  ),
});

export type IdempotencyDocument = v.InferOutput<typeof idempotencyPolicy>;

export interface IdempotencyPlan {
  readonly required: boolean;
  readonly ttlMilliseconds: number;
  readonly methods: ReadonlySet<string>;
  isRetryable(status: number): boolean;
}

/** @param path of the policy in its document */
export function compileIdempotency(document: IdempotencyDocument, path: string, issues: IssueList): IdempotencyPlan {
  const ttlMilliseconds = parseDuration(document.ttl) ?? LIMITS.idempotencyMilliseconds;
  if (ttlMilliseconds > LIMITS.idempotencyLongestMilliseconds) issues.add(at(path, 'ttl'), `At most ${longest}.`);
  if (ttlMilliseconds < LIMITS.idempotencyLockMilliseconds) {
    const least = formatDuration(LIMITS.idempotencyLockMilliseconds);
    issues.add(at(path, 'ttl'), `At least ${least}: a request may take as long.`);
  }
  const retryable = new Set(document.retryable);
  return {
    required: document.required,
    ttlMilliseconds,
    methods: new Set(document.methods),
    isRetryable: (status) => retryable.has(String(status)) || retryable.has(`${Math.floor(status / 100)}xx`),
  };
}

/** A string of RFC 9651, section 3.3.3; parameters behind it are ignored. */
const QUOTED = /^"((?:[ !#-[\]-~]|\\["\\])*)"\s*(?:;.*)?$/;
/** What most clients send instead: a token without quotes. */
const BARE = /^[!#$%&'*+\-.^_`|~0-9A-Za-z:/=]+$/;

/**
 * The key that a header holds. Both forms of the same text are the same key.
 * Faults `request.invalid`.
 */
export function parseIdempotencyKey(header: string): Result<string> {
  const text = header.trim();
  const key = QUOTED.exec(text)?.[1]?.replaceAll(/\\(.)/g, '$1') ?? (BARE.test(text) ? text : '');
  if (key !== '' && key.length <= LIMITS.idempotencyKeyCharacters) return ok(key);
  const most = LIMITS.idempotencyKeyCharacters;
  return fail('request.invalid', `Idempotency-Key must be one text in quotes, of 1 to ${most} ASCII characters.`, {
    issues: [{ path: 'Idempotency-Key', message: 'Send a random text, e.g. a UUID, in double quotes.' }],
  });
}
