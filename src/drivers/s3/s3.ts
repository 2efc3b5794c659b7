/** S3 and what speaks like it (R2, MinIO, Swift, …): objects, lists, presigned addresses, multipart uploads. */

import { fail, ok, type Result } from '../../core/errors.ts';
import { bodyOf, textOf, type Incoming, type Wire } from '../kit/exchange.ts';
import {
  bucketOf,
  conditionHeaders,
  encodeKey,
  etagOf,
  factsOf,
  rangeHeaders,
  type Listing,
  type ObjectStore,
} from '../kit/objects.ts';
import { element, elements } from '../kit/xml.ts';
import { call, causeOf, open, putHeaders, s3Fault } from './call.ts';
import { upload } from './multipart.ts';
import { presign, type S3Connection, type S3Request } from './sign.ts';

const METADATA = 'x-amz-meta-';

export function createS3Store(connection: S3Connection, wire: Wire): ObjectStore {
  const send = (request: S3Request): Promise<Result<Incoming>> => call(connection, wire, request);

  return {
    async get(name, { range, ...conditions } = {}) {
      // What the other side compresses on its own would not be as long as it says.
      const headers = { ...rangeHeaders(range), ...conditionHeaders(conditions), 'accept-encoding': 'identity' };
      const reply = await open(connection, wire, { method: 'GET', ...name, headers });
      if (!reply.ok) return causeOf(reply.fault).status === 304 ? ok(undefined) : reply;
      return ok({ ...factsOf(reply.value.headers, METADATA), ...bodyOf(reply.value) });
    },
    async head(name) {
      const reply = await send({ method: 'HEAD', ...name });
      if (reply.ok) return ok(factsOf(reply.value.headers, METADATA));
      return causeOf(reply.fault).status === 404 ? ok(undefined) : reply;
    },
    async put(name, bytes, options) {
      const reply = await send({ method: 'PUT', ...name, headers: putHeaders(options), body: bytes });
      return reply.ok ? ok({ etag: etagOf(reply.value.headers.get('etag')) }) : reply;
    },
    putParts: (name, parts, options) => upload(connection, wire, name, parts, options),
    async delete(name) {
      const reply = await send({ method: 'DELETE', ...name });
      return reply.ok || causeOf(reply.fault).code === 'NoSuchKey' ? ok(undefined) : reply;
    },
    list: async ({ bucket, prefix, delimiter, limit, cursor }) => {
      const reply = await send({
        method: 'GET',
        bucket,
        query: {
          'list-type': '2',
          // XML cannot hold every character of a key.
          'encoding-type': 'url',
          ...(prefix === undefined ? {} : { prefix }),
          ...(delimiter === undefined ? {} : { delimiter }),
          ...(limit === undefined ? {} : { 'max-keys': String(limit) }),
          ...(cursor === undefined ? {} : { 'continuation-token': cursor }),
        },
      });
      return reply.ok ? listingOf(textOf(reply.value.bytes)) : reply;
    },
    async copy(from, to) {
      const bucket = bucketOf(from.bucket, connection.bucket);
      if (!bucket.ok) return bucket;
      const key = encodeKey(from.key);
      if (!key.ok) return key;
      const headers = { 'x-amz-copy-source': `/${bucket.value}/${key.value}` };
      const reply = await send({ method: 'PUT', ...to, headers });
      if (!reply.ok) return reply;
      const xml = textOf(reply.value.bytes);
      // As for a multipart upload, the status is sent before the work is done.
      if (element(xml, 'Code') === undefined) return ok({ etag: etagOf(element(xml, 'ETag')) });
      return { ok: false, fault: s3Fault({ ...reply.value, status: 500 }, wire.now()) };
    },
    async presign(name, { method, expiresSeconds, contentType }) {
      const headers: Record<string, string> = contentType === undefined ? {} : { 'content-type': contentType };
      const url = await presign(connection, { method, ...name, headers }, expiresSeconds, wire.now());
      return url.ok ? ok({ url: url.value, headers }) : url;
    },
  };
}

function listingOf(xml: string): Result<Listing> {
  if (!xml.includes('<ListBucketResult')) return fail('upstream.invalid', 'S3 sent no list; check `endpoint`.');
  // `encoding-type=url` writes a space as `+` on some servers and as `%20` on others.
  const decode = (text: string | undefined): string => decodeURIComponent((text ?? '').replaceAll('+', ' '));
  try {
    return ok({
      objects: elements(xml, 'Contents').map((item) => ({
        key: decode(element(item, 'Key')),
        sizeBytes: Number(element(item, 'Size') ?? 0),
        etag: etagOf(element(item, 'ETag')),
        lastModified: element(item, 'LastModified'),
      })),
      prefixes: elements(xml, 'CommonPrefixes').map((item) => decode(element(item, 'Prefix'))),
      cursor: element(xml, 'IsTruncated') === 'true' ? element(xml, 'NextContinuationToken') : undefined,
    });
  } catch {
    return fail('upstream.invalid', 'S3 sent a list with keys that cannot be decoded.');
  }
}
