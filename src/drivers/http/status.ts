/** What the status of an unwanted reply means for a step: its code, whether to retry, and when. */

import { fault, type ErrorCode, type Fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { HttpReply } from './request.ts';

const SHOWN_BODY_CHARACTERS = 4 * 1024;
const SHOWN_HEADERS = ['content-type', 'retry-after', 'www-authenticate', 'location', 'x-request-id', 'request-id'];

function codeOf(status: number): ErrorCode {
  if (status === 429) return 'upstream.rate-limited';
  if (status === 401 || status === 403) return 'upstream.unauthorized';
  return status === 408 || status === 425 || status >= 500 ? 'upstream.unavailable' : 'upstream.rejected';
}

/**
 * `data` is what the author of the chain may read: `{ status, headers, body }`, a few headers and the
 * beginning of the body.
 *
 * @param now unix time in milliseconds
 * @param body as the step would have returned it; a long text is cut
 */
export function statusFault(reply: HttpReply, host: string, now: number, body: unknown): Fault {
  const { status, headers } = reply;
  const shown: Record<string, string> = {};
  for (const name of SHOWN_HEADERS) {
    const value = headers.get(name);
    if (value !== null) shown[name] = value;
  }
  const retryAfterMilliseconds = retryAfter(headers.get('retry-after'), now);
  return fault(codeOf(status), `${host} answered with status ${status}.`, {
    data: { status, headers: shown, body: beginningOf(reply.body, body) },
    ...(retryAfterMilliseconds !== undefined && { retryAfterMilliseconds }),
  });
}

/** A short body as it was understood; of a long one the beginning, as text. */
function beginningOf(raw: string | Uint8Array, body: unknown): unknown {
  if (raw.length <= SHOWN_BODY_CHARACTERS) return body;
  return typeof raw === 'string'
    ? raw.slice(0, SHOWN_BODY_CHARACTERS)
    : new TextDecoder().decode(raw.subarray(0, SHOWN_BODY_CHARACTERS));
}

/**
 * `Retry-After` (RFC 9110, section 10.2.3) in milliseconds from now, at least 0 and at most what a retry
 * may wait; undefined where it is absent or unreadable.
 */
export function retryAfter(header: string | null, now: number): number | undefined {
  if (header === null) return undefined;
  const delay = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - now;
  if (Number.isNaN(delay)) return undefined;
  return Math.min(Math.max(delay, 0), LIMITS.retryDelayLongestMilliseconds);
}
