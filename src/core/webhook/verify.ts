/**
 * Verifies a webhook by the scheme of its source.
 *
 * Guarantee: what is accepted was signed, byte for byte, by a holder of one of the secrets, within the
 * tolerance where the scheme signs a time; the delivery id is made of signed material only, so a replay
 * keeps its id. Nothing that a sender puts into a request makes this throw.
 * Accepted weakness: an event type that comes from a header is not signed by GitHub or Shopify, so
 * whoever replays a delivery may change it; the delivery id still makes a duplicate of it.
 */

import { encode } from './encoding.ts';
import type { DeliveryId, EventTypePlace, TimestampPlace } from './scheme.ts';
import type { PreparedSource } from './source.ts';
import { fail, ok, type Result } from '../errors.ts';
import { isObject } from '../json.ts';
import { LIMITS } from '../limits.ts';

export interface WebhookRequest {
  readonly headers: Headers;
  /** Exactly as received. */
  readonly body: Uint8Array;
  /** Unix time. */
  readonly nowMilliseconds: number;
}

export interface VerifiedWebhook {
  readonly deliveryId: string;
  readonly eventType: string | undefined;
  /** The body as JSON, where the scheme had to read it and it is JSON; the caller need not parse again. */
  readonly json: unknown;
}

/** Longer ids, which no vendor sends, are hashed: an id becomes part of a key. */
const LONGEST_ID_CHARACTERS = 256;

/** Fault `webhook.unverified`. */
export async function verify(source: PreparedSource, request: WebhookRequest): Promise<Result<VerifiedWebhook>> {
  const { scheme, content: template } = source;
  const { headers, body } = request;
  const entries = signatureEntries(source, headers);
  if (!entries.ok) return entries;

  let timestamp = '';
  if (scheme.timestamp !== undefined) {
    const checked = readTimestamp(scheme.timestamp, headers, entries.value, request.nowMilliseconds);
    if (!checked.ok) return checked;
    timestamp = checked.value;
  }
  let id = '';
  if (scheme.idHeaders !== undefined) {
    const given = firstHeader(headers, scheme.idHeaders);
    if (given === undefined) return unverified(`The header ${scheme.idHeaders[0]} is missing.`);
    if (given.length > LONGEST_ID_CHARACTERS || (template.idEnd !== '' && given.includes(template.idEnd))) {
      return unverified(`The header ${scheme.idHeaders[0]} is malformed.`);
    }
    id = given;
  }
  const content = template.build({ id, timestamp }, body);
  if (!(await matchesOneKey(source, entries.value, content))) return unverified('The signature does not match.');

  const json = readsBody(scheme.deliveryId, scheme.eventType) ? parseBody(body) : undefined;
  return ok({
    deliveryId: await deliveryIdOf(scheme.deliveryId, id, json, body, content),
    eventType: eventTypeOf(scheme.eventType, headers, json),
    json,
  });
}

const unverified = (message: string): Result<never> => fail('webhook.unverified', message);

function firstHeader(headers: Headers, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = headers.get(name);
    if (value !== null && value !== '') return value;
  }
  return undefined;
}

function signatureEntries({ scheme }: PreparedSource, headers: Headers): Result<readonly string[]> {
  const [name] = scheme.signatureHeaders;
  const entries: string[] = [];
  let present = false;
  for (const header of scheme.signatureHeaders) {
    const value = headers.get(header);
    if (value === null) continue;
    present = true;
    // One more than allowed is enough to know that there are too many.
    if (scheme.separator === undefined) entries.push(value);
    else entries.push(...value.split(scheme.separator, LIMITS.webhookSignatures + 1));
  }
  if (!present) return unverified(`The header ${name} is missing.`);
  if (entries.length > LIMITS.webhookSignatures) {
    return unverified(`The header ${name} has more than ${LIMITS.webhookSignatures} entries.`);
  }
  if (!scheme.keys.some(({ prefix }) => entries.some((entry) => entry.startsWith(prefix)))) {
    const forms = scheme.keys.map(({ prefix }) => `"${prefix}…"`).join(' or ');
    return unverified(`The header ${name} is malformed; it must hold ${forms}.`);
  }
  return ok(entries);
}

/** Digits only: `Number` would also take signs, spaces, exponents and `Infinity`. */
const DIGITS = /^\d{1,16}$/;

const UNIX_MILLISECONDS = {
  seconds: (text: string) => (DIGITS.test(text) ? Number(text) * 1000 : Number.NaN),
  milliseconds: (text: string) => (DIGITS.test(text) ? Number(text) : Number.NaN),
  iso: (text: string) => (/^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN),
} as const;

/** The text as it is signed, after its age has been checked. */
function readTimestamp(
  place: TimestampPlace,
  headers: Headers,
  entries: readonly string[],
  nowMilliseconds: number,
): Result<string> {
  const { from, unit, toleranceSeconds } = place;
  let text: string | undefined;
  let where: string;
  if ('entry' in from) {
    where = `The timestamp (${from.entry}…) of the signature header`;
    const found = entries.filter((entry) => entry.startsWith(from.entry));
    if (found.length > 1) return unverified(`${where} is malformed: it stands there more than once.`);
    text = found[0]?.slice(from.entry.length);
  } else {
    where = `The header ${from.headers[0]}`;
    text = firstHeader(headers, from.headers);
  }
  if (text === undefined) return unverified(`${where} is missing.`);
  if (unit === 'opaque') return ok(text);
  const milliseconds = UNIX_MILLISECONDS[unit](text);
  if (Number.isNaN(milliseconds)) return unverified(`${where} is malformed.`);
  const ageSeconds = Math.floor(nowMilliseconds / 1000) - Math.floor(milliseconds / 1000);
  // Written so that a NaN on either side refuses.
  if (!(Math.abs(ageSeconds) <= toleranceSeconds)) {
    return unverified(`The timestamp is outside the tolerance of ${toleranceSeconds} s.`);
  }
  return ok(text);
}

async function matchesOneKey(
  source: PreparedSource,
  entries: readonly string[],
  content: Uint8Array,
): Promise<boolean> {
  for (const { form, algorithm, key } of source.keys) {
    const candidates: string[] = [];
    for (const entry of entries) if (entry.startsWith(form.prefix)) candidates.push(entry.slice(form.prefix.length));
    if (candidates.length > 0 && (await algorithm.matches(key, content, candidates, form.encoding))) return true;
  }
  return false;
}

const readsBody = (deliveryId: DeliveryId, eventType: EventTypePlace | undefined): boolean =>
  deliveryId.from === 'body' || (eventType !== undefined && 'paths' in eventType);

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });

function parseBody(body: Uint8Array): unknown {
  try {
    return JSON.parse(decoder.decode(body)) as unknown;
  } catch {
    return undefined;
  }
}

/** The first of the members that is a text and not empty. */
function textAt(json: unknown, paths: readonly string[]): string | undefined {
  for (const path of paths) {
    let value = json;
    for (const key of path.split('.')) value = isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
    if (typeof value === 'string' && value !== '') return value;
  }
  return undefined;
}

async function deliveryIdOf(
  place: DeliveryId,
  id: string,
  json: unknown,
  body: Uint8Array,
  content: Uint8Array,
): Promise<string> {
  if (place.from === 'header') return id;
  if (place.from === 'content') return hash(content);
  const given = textAt(json, place.paths);
  return given !== undefined && given.length <= LONGEST_ID_CHARACTERS ? given : hash(body);
}

const hash = async (bytes: Uint8Array): Promise<string> =>
  encode(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes)), 'hex');

function eventTypeOf(place: EventTypePlace | undefined, headers: Headers, json: unknown): string | undefined {
  if (place === undefined) return undefined;
  return 'headers' in place ? firstHeader(headers, place.headers) : textAt(json, place.paths);
}
