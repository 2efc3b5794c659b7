/** Signs a request as the vendor would: for samples, tests and webhooks that go out. */

import { encode } from './encoding.ts';
import { Reading } from './request.ts';
import type { SignatureScheme, TimestampPlace } from './scheme.ts';
import { importSecret, templatesOf } from './signature.ts';
import { schemeOf } from './source.ts';
import { FaultError, fault, type Result } from '../errors.ts';

export interface OutgoingMessage {
  readonly body: Uint8Array;
  /** Unix time. */
  readonly nowMilliseconds: number;
  /** Sent where the scheme signs an id. */
  readonly id: string;
  /** Sent where the scheme has a header for it. */
  readonly eventType?: string | undefined;
  /** Where it is signed; POST where it is absent. */
  readonly method?: string;
  /** Where it is signed. */
  readonly url?: string;
}

/**
 * The headers that make the body a signed request of that scheme.
 *
 * @param secret as for verification; for Ed25519 and ECDSA the private key
 * @throws FaultError `source.invalid` for an unknown scheme, unfit settings or a malformed secret, and
 *   for a scheme whose proof is no signature in a header
 */
export async function sign(
  scheme: string,
  secret: string,
  message: OutgoingMessage,
  settings?: unknown,
): Promise<Record<string, string>> {
  const row = valueOf(schemeOf(scheme, settings));
  if (row.proof !== 'signature' || !('headers' in row.signature) || row.certificate !== undefined) {
    throw new FaultError(fault('source.invalid', `scheme: ${row.title} has no signature that a header could carry.`));
  }
  const { form, key } = valueOf(await importSecret(row, secret, 'sign'));
  const { body, id, nowMilliseconds, method = 'POST', url = '' } = message;
  const timestamp = row.timestamp === undefined ? '' : timestampText(row.timestamp, nowMilliseconds);
  const headers = new Headers();
  const reading = new Reading({
    method,
    url,
    headers,
    body,
    nowMilliseconds,
    fetch: () => Promise.reject(new Error()),
  });
  const fields = { id, timestamp, reading, item: undefined, signatureQuery: undefined, bodyIsHashed: false };
  const content = templatesOf(row)[0]?.build(fields, secret);
  if (content === undefined || key === undefined) {
    throw new FaultError(fault('source.invalid', `body: Is not what ${row.title} signs.`));
  }
  const entry = form.prefix + encode(await key.sign(content), form.encoding);
  return {
    ...otherHeaders(row, message, timestamp),
    [first(row.signature.headers)]:
      row.timestamp !== undefined && 'entry' in row.timestamp.from
        ? [row.timestamp.from.entry + timestamp, entry].join(row.separator)
        : entry,
  };
}

function otherHeaders(
  scheme: SignatureScheme,
  { id, eventType }: OutgoingMessage,
  timestamp: string,
): Record<string, string> {
  const headers: Record<string, string> = {};
  if (scheme.idHeaders !== undefined) headers[first(scheme.idHeaders)] = id;
  if (scheme.timestamp !== undefined && 'headers' in scheme.timestamp.from) {
    headers[first(scheme.timestamp.from.headers)] = timestamp;
  }
  if (eventType !== undefined && scheme.eventType !== undefined && 'headers' in scheme.eventType) {
    headers[first(scheme.eventType.headers)] = eventType;
  }
  return headers;
}

function timestampText({ unit }: TimestampPlace, nowMilliseconds: number): string {
  if (unit === 'iso') return new Date(nowMilliseconds).toISOString();
  return String(unit === 'milliseconds' ? nowMilliseconds : Math.floor(nowMilliseconds / 1000));
}

const first = (names: readonly string[]): string => names[0] ?? '';

function valueOf<T>(result: Result<T>): T {
  if (!result.ok) throw new FaultError(result.fault);
  return result.value;
}
