/** An object sent in parts: all of them or nothing. */

import { fail, ok, type Result } from '../../core/errors.ts';
import { textOf, type Wire } from '../kit/exchange.ts';
import {
  conditionHeaders,
  etagOf,
  type ObjectName,
  type Parts,
  type PutOptions,
  type Written,
} from '../kit/objects.ts';
import { element, escapeXml } from '../kit/xml.ts';
import { call, putHeaders, s3Fault } from './call.ts';
import type { S3Connection } from './sign.ts';

/** How long giving up an upload may take; it runs after the attempt's own time. */
const ABORT_MILLISECONDS = 10_000;

export async function upload(
  connection: S3Connection,
  wire: Wire,
  name: ObjectName,
  parts: Parts,
  { ifMatch, ifNoneMatch, ...options }: PutOptions = {},
): Promise<Result<Written>> {
  const created = await call(connection, wire, {
    method: 'POST',
    ...name,
    query: { uploads: '' },
    headers: putHeaders(options),
  });
  if (!created.ok) return created;
  const uploadId = element(textOf(created.value.bytes), 'UploadId');
  if (uploadId === undefined) return fail('upstream.invalid', 'S3 gave no id for the upload.');
  const result = await sendParts(connection, wire, name, parts, uploadId, conditionHeaders({ ifMatch, ifNoneMatch }));
  if (!result.ok) {
    // Parts of an unfinished upload cost storage until somebody gives it up; best effort, the fault stays.
    const late = { ...wire, signal: AbortSignal.timeout(ABORT_MILLISECONDS) };
    await call(connection, late, { method: 'DELETE', ...name, query: { uploadId } });
  }
  return result;
}

async function sendParts(
  connection: S3Connection,
  wire: Wire,
  name: ObjectName,
  parts: Parts,
  uploadId: string,
  conditions: Readonly<Record<string, string>>,
): Promise<Result<Written>> {
  const listed: string[] = [];
  for (let number = 1; ; number++) {
    const part = await parts.next();
    if (!part.ok) return part;
    const body = part.value;
    if (body === undefined) break;
    const partNumber = String(number);
    const sent = await call(connection, wire, { method: 'PUT', ...name, query: { partNumber, uploadId }, body });
    if (!sent.ok) return sent;
    const etag = escapeXml(sent.value.headers.get('etag') ?? '');
    listed.push(`<Part><PartNumber>${partNumber}</PartNumber><ETag>${etag}</ETag></Part>`);
  }
  const completed = await call(connection, wire, {
    method: 'POST',
    ...name,
    query: { uploadId },
    headers: { 'content-type': 'application/xml', ...conditions },
    body: new TextEncoder().encode(`<CompleteMultipartUpload>${listed.join('')}</CompleteMultipartUpload>`),
  });
  if (!completed.ok) return completed;
  const xml = textOf(completed.value.bytes);
  // The status is sent before the parts are joined: a failure then stands in the body of a 200.
  if (element(xml, 'Code') !== undefined)
    return { ok: false, fault: s3Fault({ ...completed.value, status: 500 }, wire.now()) };
  return ok({ etag: etagOf(element(xml, 'ETag')) });
}
