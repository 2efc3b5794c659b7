/** Signs a request as the vendor would: for samples, tests and webhooks that go out. */

import { compileContent } from './content.ts';
import { encode } from './encoding.ts';
import type { Scheme, TimestampPlace } from './scheme.ts';
import { importSecret, schemeOf } from './source.ts';
import { FaultError, type Result } from '../errors.ts';

export interface OutgoingMessage {
  readonly body: Uint8Array;
  /** Unix time. */
  readonly nowMilliseconds: number;
  /** Sent where the scheme signs an id. */
  readonly id: string;
  /** Sent where the scheme has a header for it. */
  readonly eventType?: string | undefined;
}

/**
 * The headers that make the body a signed request of that scheme.
 *
 * @param secret as for verification; for Ed25519 the private key (`whsk_…`)
 * @throws FaultError `source.invalid` for an unknown scheme, unfit settings or a malformed secret
 */
export async function sign(
  scheme: string,
  secret: string,
  message: OutgoingMessage,
  settings?: unknown,
): Promise<Record<string, string>> {
  const row = valueOf(schemeOf(scheme, settings));
  const { form, algorithm, key } = valueOf(await importSecret(row, secret, 'sign'));
  const { body, id } = message;
  const timestamp = row.timestamp === undefined ? '' : timestampText(row.timestamp, message.nowMilliseconds);
  const signature = await algorithm.sign(key, compileContent(row.content).build({ id, timestamp }, body));
  const entry = form.prefix + encode(signature, form.encoding);
  return {
    ...otherHeaders(row, message, timestamp),
    [first(row.signatureHeaders)]:
      row.timestamp !== undefined && 'entry' in row.timestamp.from
        ? [row.timestamp.from.entry + timestamp, entry].join(row.separator)
        : entry,
  };
}

function otherHeaders(scheme: Scheme, { id, eventType }: OutgoingMessage, timestamp: string): Record<string, string> {
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
