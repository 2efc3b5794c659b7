/**
 * An event: a delivery of a source as it is kept.
 *
 * Its sequence number is an instant and a counter: it orders the events of a source, is never given twice, and
 * makes the cursor of lists and streams, so that a place in them can also be named by a time.
 */

import type { TriggerEvent } from '../engine/state.ts';
import { parseJson } from '../data/exact-json.ts';
import { Bare } from '../json.ts';
import { LIMITS } from '../limits.ts';
import { isJson } from '../media-type.ts';
import { HOPS_HEADER, hopsOf } from '../policy/hops.ts';

export const EVENT_STATUSES = ['accepted', 'ignored', 'failed', 'rejected'] as const;
export type EventStatus = (typeof EVENT_STATUSES)[number];

/** A run that an event started. */
export interface EventRun {
  readonly chain: string;
  readonly trigger: string;
  readonly run: string;
}

/** Why a chain got no run of an event. */
export interface EventError {
  readonly chain: string;
  readonly trigger: string;
  readonly code: string;
  readonly message: string;
}

/** What became of an event: one entry for each run, also of those by replay, and for each chain that failed. */
export interface EventOutcome {
  readonly runs: readonly EventRun[];
  readonly errors: readonly EventError[];
}

/** An event as lists show it. Times are unix milliseconds. */
export interface EventSummary {
  readonly sequence: number;
  readonly status: EventStatus;
  /** Its runs are not started yet. */
  readonly pending: boolean;
  readonly receivedAt: number;
  readonly deliveryId: string | null;
  readonly type: string | null;
  readonly bytes: number;
  /** How often it came again. */
  readonly duplicates: number;
  readonly outcome: EventOutcome;
  /** Why it was refused; null for one that was verified. */
  readonly refusal: string | null;
}

/** What of a delivery is kept besides. */
export interface EventContent {
  /** By which it was verified, or should have been. */
  readonly scheme: string;
  readonly query: string;
  /** Without credentials; an object as JSON text, with names in lower case. */
  readonly headers: string;
  /** As received; of a refused delivery only the beginning. */
  readonly body: Uint8Array;
}

const COUNTERS = 1024;

export const sequenceAt = (milliseconds: number): number => milliseconds * COUNTERS;

/** @param last the number before it, or 0 */
export const nextSequence = (last: number, now: number): number => Math.max(last + 1, sequenceAt(now));

export const eventId = (sequence: number): string => `evt_${sequence.toString(36)}`;

export function sequenceOf(id: string): number | undefined {
  const digits = /^evt_([0-9a-z]{1,11})$/.exec(id)?.[1];
  return digits === undefined ? undefined : safe(parseInt(digits, 36));
}

/** The sequence number that a cursor, or an instant in its place, stands for. */
export function readCursor(text: string): number | undefined {
  if (/^\d{1,16}$/.test(text)) return safe(Number(text));
  const milliseconds = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(milliseconds) ? undefined : safe(sequenceAt(milliseconds));
}

const safe = (value: number): number | undefined => (Number.isSafeInteger(value) && value >= 0 ? value : undefined);

/** What chains see of it. */
export function triggerEventOf(content: Omit<EventContent, 'scheme'>, receivedAt: number): TriggerEvent {
  const headers = JSON.parse(content.headers) as Record<string, string>;
  return {
    type: 'webhook',
    params: {},
    query: queryOf(content.query),
    headers,
    body: bodyOf(content.body, headers['content-type'] ?? null),
    receivedAt,
    hops: hopsOf(headers[HOPS_HEADER] ?? null),
  };
}

function queryOf(text: string): Record<string, string> {
  const query = new Bare<string>();
  if (text !== '') for (const [name, value] of new URLSearchParams(text)) query[name] = value;
  return query;
}

const decoder = new TextDecoder();

/** Form fields where it is a form, JSON where it is JSON, text otherwise; JSON that is too deep, or has two meanings, is text. */
function bodyOf(bytes: Uint8Array, type: string | null): unknown {
  const text = decoder.decode(bytes);
  if (type?.startsWith('application/x-www-form-urlencoded') === true) {
    return Object.fromEntries(new URLSearchParams(text));
  }
  const json = parseJson(text);
  return json.ok ? json.value : text;
}

const TEXT_TYPE = /^(?:text\/|application\/(?:[\w.-]+\+)?(?:json|xml)|application\/x-www-form-urlencoded)/i;
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The body as text where it is one, byte for byte; undefined where only its bytes tell it. */
export function textOf(bytes: Uint8Array, type: string | null): string | undefined {
  if (type !== null && !TEXT_TYPE.test(type) && !isJson(type)) return undefined;
  try {
    return strict.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Names of headers that may hold a credential of a sender who was refused, right or wrong. */
const CREDENTIAL_NAME = /token|secret|passw|api-?key|auth|cookie|session/i;

/**
 * Headers as they are kept, as JSON text.
 *
 * @param headers without those that hold a credential by their name
 * @param isSecret a scheme may send the secret itself, under whatever name
 */
export function keptHeaders(headers: Readonly<Record<string, string>>, isSecret: (value: string) => boolean): string {
  const entries = Object.entries(headers);
  return JSON.stringify(
    entries.some(([, value]) => isSecret(value))
      ? Object.fromEntries(entries.filter(([, value]) => !isSecret(value)))
      : headers,
  );
}

/** Of a refused delivery: also without what a credential may be, and no more than a few. */
export function refusedHeaders(headers: Readonly<Record<string, string>>): string {
  let room: number = LIMITS.rejectedHeaderCharacters;
  const kept = Object.entries(headers).filter(
    ([name, value]) => !CREDENTIAL_NAME.test(name) && (room -= name.length + value.length) >= 0,
  );
  return JSON.stringify(Object.fromEntries(kept));
}
