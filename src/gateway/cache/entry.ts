/** A stored response, and the answers that are made of it. */

import type { Exchange } from '../exchange.ts';
import { NULL_BODY_STATUSES } from '../response.ts';
import { fault, problemResponse } from '../../core/errors.ts';
import { ageOf, type Freshness } from '../../core/http-cache/freshness.ts';
import type { Fields } from '../../core/http-cache/storing.ts';
import { isNotModified, NOT_MODIFIED_FIELDS, rangeOf } from '../../core/http-cache/validation.ts';
import type { Bytes } from '../../vault/bytes.ts';

export interface Entry extends Freshness {
  readonly status: number;
  readonly fields: Fields;
  readonly body: Bytes;
  /** Headers of the request that select it (`Vary`), and what the request had for them. */
  readonly vary: readonly string[];
  readonly selecting: Fields;
  /** Origin and path, by which an unsafe request invalidates it. */
  readonly address: string;
  /** What it can be purged by; see purges.ts. */
  readonly scopes: readonly string[];
  /** The configuration under which it was asked for: newer purges make it stale. */
  readonly revision: number;
}

/** A copy each time: the caller of a stage may change the headers of what it gets. */
export const headersOf = (fields: Fields): Headers => new Headers(fields.map(([name, value]) => [name, value]));

/** Adds this cache's member behind those of the caches nearer to the origin (RFC 9211, section 2). */
export function tell(headers: Headers, status: string): void {
  headers.append('cache-status', `Tidegate; ${status}`);
}

/** The answer of a stored response: whole, a part, its head, or that the caller has it already. */
export function answerOf(entry: Entry, { method, headers: request }: Exchange, now: number, status: string): Response {
  const headers = headersOf(entry.fields);
  headers.set('age', String(Math.floor(ageOf(entry, now) / 1000)));
  tell(headers, status);
  if (entry.status === 200) {
    if (isNotModified(request, headers)) return notModified(headers);
    // The body is held decoded, so a range of it would not be one of what is sent.
    const encoded = headers.has('content-encoding');
    const range = method === 'GET' && !encoded ? rangeOf(request, headers, entry.body.byteLength) : undefined;
    if (range !== undefined) return partOf(entry, headers, range);
    if (method === 'HEAD' && !encoded) headers.set('content-length', String(entry.body.byteLength));
  }
  const body = method === 'HEAD' || NULL_BODY_STATUSES.has(entry.status) ? null : entry.body;
  return new Response(body, { status: entry.status, headers });
}

const ALWAYS_TOLD: ReadonlySet<string> = new Set(['age', 'cache-status']);

function notModified(headers: Headers): Response {
  for (const name of [...headers.keys()]) {
    if (!NOT_MODIFIED_FIELDS.has(name) && !ALWAYS_TOLD.has(name)) headers.delete(name);
  }
  return new Response(null, { status: 304, headers });
}

function partOf({ body }: Entry, headers: Headers, range: ReturnType<typeof rangeOf> & {}): Response {
  const size = body.byteLength;
  if (range === 'unsatisfiable') {
    headers.set('content-range', `bytes */${size}`);
    return new Response(null, { status: 416, headers });
  }
  const [first, last] = range;
  headers.set('content-range', `bytes ${first}-${last}/${size}`);
  return new Response(body.subarray(first, last + 1), { status: 206, headers });
}

/** RFC 9111, section 5.2.1.7, and section 5.2.2.2 where the origin cannot be asked. */
export function notStored(message: string, status: string): Response {
  const response = problemResponse(fault('cache.not-stored', message));
  tell(response.headers, status);
  return response;
}
