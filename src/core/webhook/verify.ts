/**
 * Verifies a webhook by the scheme of its source.
 *
 * Guarantee: what is accepted was signed, byte for byte, by a holder of one of the secrets, within the
 * tolerance where the scheme signs a time; the delivery id is made of signed material only, so a replay
 * keeps its id. Nothing that a sender puts into a request makes this throw.
 * Accepted weakness: an event type that comes from a header is not signed by GitHub or Shopify, so
 * whoever replays a delivery may change it; the delivery id still makes a duplicate of it. Schemes that
 * prove less than the bytes (tokens, forms, chosen members) say so in docs/design/webhooks.md.
 */

import { hash, utf8 } from './encoding.ts';
import { unverified, type Proven } from './proof.ts';
import { firstHeader, holds, memberText, nameOf, Reading, valuesAt, type WebhookRequest } from './request.ts';
import type { Condition, DeliveryId, EventTypePlace } from './scheme.ts';
import type { PreparedSource } from './source.ts';
import { ok, type Result } from '../errors.ts';

export interface VerifiedWebhook {
  readonly deliveryId: string;
  readonly eventType: string | undefined;
  /** The body as JSON, where the scheme had to read it and it is JSON; the caller need not parse again. */
  readonly json: unknown;
}

/** Longer ids, which no vendor sends, are hashed: an id becomes part of a key. */
const LONGEST_ID_CHARACTERS = 256;

/** Fault `webhook.unverified`; a retryable one where a key of the sender could not be fetched. */
export async function verify(source: PreparedSource, request: WebhookRequest): Promise<Result<VerifiedWebhook>> {
  const { scheme } = source;
  const reading = new Reading(request);
  const proven = await proveReading(source, reading);
  if (!proven.ok) return proven;
  const deliveryId = await deliveryIdOf(scheme.deliveryId, proven.value, reading);
  if (!deliveryId.ok) return deliveryId;
  return ok({
    deliveryId: deliveryId.value,
    eventType: eventTypeOf(scheme.eventType, reading),
    json: reading.jsonIfRead,
  });
}

/** Whether a request is the sender's, whatever it asks. */
export async function proveReading(source: PreparedSource, reading: Reading): Promise<Result<Proven>> {
  const { requires } = source.scheme;
  // Where nothing can be proven, nothing else is told either.
  if (requires !== undefined && !source.awaitsSecret) {
    const broken = requires.find((condition) => !holds(condition, reading));
    if (broken !== undefined) return unverified(refusalOf(broken));
  }
  return source.prove(reading);
}

function refusalOf(condition: Condition): string {
  if ('emptyList' in condition) return `The list ${condition.emptyList} of the body is not empty.`;
  if ('absent' in condition) return `${nameOf(condition.absent)} must not be there.`;
  const { at, is } = condition;
  return is === undefined ? `${nameOf(at)} is missing.` : `${nameOf(at)} must be ${is.join(' or ')}.`;
}

async function deliveryIdOf(place: DeliveryId, { id, content }: Proven, reading: Reading): Promise<Result<string>> {
  const { body, headers, nowMilliseconds } = reading.request;
  switch (place.from) {
    case 'header':
      return ok(id);
    case 'content':
      return ok(await hash(content ?? body));
    case 'body': {
      const given = firstMember(place.paths, reading);
      return ok(given !== undefined && given.length <= LONGEST_ID_CHARACTERS ? given : await hash(body));
    }
    case 'members': {
      const values = place.paths.map((path) => valuesAt(reading.json, path));
      // Where not even the first is there, it is no event of that kind.
      return ok(await hash(values[0]?.[0] === undefined ? body : utf8(JSON.stringify(values))));
    }
    case 'headers': {
      const values = place.names.map((name) => headers.get(name) ?? '');
      const missing = values.indexOf('');
      if (missing !== -1) return unverified(`The header ${place.names[missing]} is missing.`);
      return ok(await hash(utf8(JSON.stringify(values))));
    }
    case 'arrival':
      return ok(`${nowMilliseconds}-${await hash(body)}`);
  }
}

function firstMember(paths: readonly string[], reading: Reading): string | undefined {
  for (const path of paths) {
    const text = memberText(reading.json, path);
    if (text !== undefined) return text;
  }
  return undefined;
}

function eventTypeOf(place: EventTypePlace | undefined, reading: Reading): string | undefined {
  if (place === undefined) return undefined;
  return 'headers' in place ? firstHeader(reading.request.headers, place.headers) : firstMember(place.paths, reading);
}
