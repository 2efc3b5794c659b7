/**
 * The headers of a delivery by Standard Webhooks (https://github.com/standard-webhooks/standard-webhooks).
 * While keys rotate, each of them signs, and the receiver may know either.
 */

import type { HeaderNames } from './settings.ts';
import { sign } from '../webhook/index.ts';

export interface SigningKey {
  /** `whsec_<base64>` for HMAC-SHA256, `whsk_<base64>` for Ed25519. */
  readonly secret: string;
  /** Unix milliseconds from which on it signs no more; absent for the current key. */
  readonly until?: number;
}

export interface SignedMessage {
  readonly id: string;
  readonly eventType: string;
  readonly body: string;
}

/** @throws FaultError `source.invalid` for a malformed secret */
export async function signedHeaders(
  keys: readonly SigningKey[],
  names: HeaderNames,
  { id, eventType, body }: SignedMessage,
  nowMilliseconds: number,
): Promise<Record<string, string>> {
  const bytes = new TextEncoder().encode(body);
  const signatures: string[] = [];
  let timestamp = '';
  for (const { secret } of currentKeys(keys, nowMilliseconds)) {
    const headers = await sign('standard', secret, { body: bytes, id, nowMilliseconds });
    signatures.push(headers['webhook-signature'] ?? '');
    timestamp = headers['webhook-timestamp'] ?? '';
  }
  return {
    [names.id]: id,
    [names.timestamp]: timestamp,
    [names.signature]: signatures.join(' '),
    ...(names.eventType !== null && { [names.eventType]: eventType }),
  };
}

/** Those that sign now, the newest first. */
export const currentKeys = (keys: readonly SigningKey[], now: number): readonly SigningKey[] =>
  keys.filter(({ until }) => until === undefined || until > now);
