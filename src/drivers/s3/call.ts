/** One signed request, and what S3 says when it refuses it. */

import { isObject } from '../../core/json.ts';
import type { Fault, Result } from '../../core/errors.ts';
import { exchange, refusal, textOf, type Incoming, type Wire } from '../kit/exchange.ts';
import { signRequest, type S3Connection, type S3Request } from './sign.ts';
import { element } from './xml.ts';

export interface ObjectName {
  readonly bucket?: string | undefined;
  readonly key: string;
}

export interface PutOptions {
  readonly contentType?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export async function call(connection: S3Connection, wire: Wire, request: S3Request): Promise<Result<Incoming>> {
  const signed = await signRequest(connection, request, wire.now());
  if (!signed.ok) return signed;
  const reply = await exchange(wire, signed.value);
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

export const etagOf = (value: string | null | undefined): string | undefined => value?.replaceAll('"', '') ?? undefined;

export function putHeaders(options: PutOptions = {}): Record<string, string> {
  return {
    ...(options.contentType === undefined ? {} : { 'content-type': options.contentType }),
    ...Object.fromEntries(Object.entries(options.metadata ?? {}).map(([name, value]) => [`x-amz-meta-${name}`, value])),
  };
}
