/** Verbs that make a webhook test one line. */

import { expect } from 'vitest';
import type { Result } from '../../../src/core/errors.ts';
import { prepareSource, sign, verify, type PreparedSource } from '../../../src/core/webhook/index.ts';
import type { VerifiedWebhook } from '../../../src/core/webhook/verify.ts';

export const NOW = 1_800_000_000_000;

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** A secret of the right form and settings for every scheme. */
export const SECRETS: Readonly<Record<string, string>> = {
  standard: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  stripe: 'whsec_test_secret',
  github: 'mysecret',
  slack: '8f742231b10e8888abcd99yyyzzz85a5',
  shopify: 'hush',
  pagerduty: 'lDQHScfUeXUKaQRNF',
  airtable: 'c2VjcmV0LWtleQ==',
  hmac: 'a generic secret',
};

export const SETTINGS: Readonly<Record<string, unknown>> = {
  hmac: {
    header: 'X-Signature',
    algorithm: 'sha512',
    encoding: 'base64',
    prefix: 'sig:',
    content: '{timestamp}.{body}',
    timestampHeader: 'X-Time',
    eventHeader: 'X-Event',
  },
};

export async function source(
  scheme: string,
  secrets: readonly string[] = [SECRETS[scheme] ?? ''],
  settings: unknown = SETTINGS[scheme],
): Promise<PreparedSource> {
  const prepared = await prepareSource({ name: 'shop', scheme, secrets, settings });
  if (!prepared.ok) throw new Error(prepared.fault.message);
  return prepared.value;
}

/** The headers of a really signed request. */
export const signed = (scheme: string, body: string, more?: { id?: string; now?: number; secret?: string }) =>
  sign(
    scheme,
    more?.secret ?? SECRETS[scheme] ?? '',
    { body: bytes(body), nowMilliseconds: more?.now ?? NOW, id: more?.id ?? 'msg_1', eventType: 'order.paid' },
    SETTINGS[scheme],
  );

export const check = (
  prepared: PreparedSource,
  headers: HeadersInit,
  body: string | Uint8Array,
  nowMilliseconds = NOW,
): Promise<Result<VerifiedWebhook>> =>
  verify(prepared, {
    headers: new Headers(headers),
    body: typeof body === 'string' ? bytes(body) : body,
    nowMilliseconds,
  });

export async function expectAccepted(result: Promise<Result<VerifiedWebhook>>): Promise<VerifiedWebhook> {
  const settled = await result;
  if (!settled.ok) throw new Error(`Refused: ${settled.fault.message}`);
  return settled.value;
}

/** Refused with a message that says which part failed. */
export async function expectRefused(result: Promise<Result<VerifiedWebhook>>, message: RegExp): Promise<void> {
  const settled = await result;
  expect(settled.ok, 'must be refused').toBe(false);
  if (settled.ok) return;
  expect(settled.fault.code).toBe('webhook.unverified');
  expect(settled.fault.message).toMatch(message);
}

export const SOME_BODY = JSON.stringify({
  id: 'evt_1',
  event_id: 'Ev1',
  type: 'order.paid',
  event: { id: '01B', event_type: 'incident.opened' },
  note: 'Grüße, 1e400, \u2028',
});
