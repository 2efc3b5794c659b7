/** One signed request, and what S3 says when it refuses it. */

import { isObject } from '../../core/json.ts';
import type { Fault, Result } from '../../core/errors.ts';
import {
  exchange,
  openExchange,
  refusal,
  textOf,
  type Incoming,
  type OpenIncoming,
  type Wire,
} from '../kit/exchange.ts';
import { conditionHeaders, type PutOptions } from '../kit/objects.ts';
import { element } from '../kit/xml.ts';
import { signRequest, type S3Connection, type S3Request } from './sign.ts';

export async function call(connection: S3Connection, wire: Wire, request: S3Request): Promise<Result<Incoming>> {
  const signed = await signRequest(connection, request, wire.now());
  return signed.ok ? accepted(await exchange(wire, signed.value), wire) : signed;
}

/** As {@link call}, with the body left to be read. */
export async function open(connection: S3Connection, wire: Wire, request: S3Request): Promise<Result<OpenIncoming>> {
  const signed = await signRequest(connection, request, wire.now());
  return signed.ok ? accepted(await openExchange(wire, signed.value), wire) : signed;
}

function accepted<T extends Incoming>(reply: Result<T>, wire: Wire): Result<T> {
  if (!reply.ok) return reply;
  const { status } = reply.value;
  return status >= 200 && status < 300 ? reply : { ok: false, fault: s3Fault(reply.value, wire.now()) };
}

/** The body is not handed on: beside the reason it repeats the access key and what was signed. */
export function s3Fault(reply: Incoming, now: number): Fault {
  const xml = textOf(reply.bytes);
  const code = element(xml, 'Code');
  const message = element(xml, 'Message');
  const said = code === undefined ? undefined : [code, message?.replace(/\.$/, '')].filter(Boolean).join(', ');
  const status = code === 'SlowDown' || code === 'TooManyRequests' ? 429 : reply.status;
  return refusal('S3', { ...reply, status }, now, said, { code, message });
}

/** What {@link s3Fault} kept: the status, and the code of S3 such as `NoSuchKey`. */
export function causeOf(fault: Fault): { readonly status?: unknown; readonly code?: unknown } {
  return isObject(fault.data) ? fault.data : {};
}

export const putHeaders = ({ contentType, metadata = {}, ...conditions }: PutOptions = {}): Record<string, string> => ({
  ...(contentType !== undefined && { 'content-type': contentType }),
  ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])),
  ...conditionHeaders(conditions),
});
