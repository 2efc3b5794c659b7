/** S3 and what speaks like it (R2, MinIO, Swift, …): objects, lists, presigned addresses, multipart uploads. */

import { fail, ok, type Result } from '../../core/errors.ts';
import { textOf, type Incoming, type Wire } from '../kit/exchange.ts';
import { call, causeOf, etagOf, putHeaders, type ObjectName, type PutOptions } from './call.ts';
import { upload } from './multipart.ts';
import { presign, type S3Connection, type S3Request } from './sign.ts';
import { element, elements } from './xml.ts';

interface ObjectFacts {
  readonly contentType: string | undefined;
  /** Of the whole object, also where a range was asked. */
  readonly sizeBytes: number;
  readonly etag: string | undefined;
  /** ISO 8601 */
  readonly lastModified: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
}

interface StoredObject extends ObjectFacts {
  readonly bytes: Uint8Array;
}

interface ListOptions {
  readonly bucket?: string | undefined;
  readonly prefix?: string | undefined;
  readonly delimiter?: string | undefined;
  /** At most 1,000, the bound of S3. */
  readonly limit?: number | undefined;
  readonly cursor?: string | undefined;
}

interface Listing {
  readonly objects: readonly {
    readonly key: string;
    readonly sizeBytes: number;
    readonly etag: string | undefined;
    readonly lastModified: string | undefined;
  }[];
  /** What the delimiter folded together. */
  readonly prefixes: readonly string[];
  /** Where the next page starts; undefined on the last. */
  readonly cursor: string | undefined;
}

/** Bytes from `first` to `last`, both included; without `last` to the end. */
interface ByteRange {
  readonly first: number;
  readonly last?: number | undefined;
}

interface PresignOptions {
  readonly method: 'GET' | 'PUT';
  readonly expiresSeconds: number;
  /** For PUT: the upload must then send this type. */
  readonly contentType?: string | undefined;
}

export interface S3Driver {
  get(name: ObjectName, range?: ByteRange): Promise<Result<StoredObject>>;
  /** Undefined where there is no such object. */
  head(name: ObjectName): Promise<Result<ObjectFacts | undefined>>;
  put(name: ObjectName, bytes: Uint8Array, options?: PutOptions): Promise<Result<{ etag: string | undefined }>>;
  /** Succeeds also where there is no such object. */
  delete(name: ObjectName): Promise<Result<undefined>>;
  list(options: ListOptions): Promise<Result<Listing>>;
  presign(name: ObjectName, options: PresignOptions): Promise<Result<string>>;
  /** All parts or nothing: what was sent is given up when one fails. Parts but the last take 5 MB at least. */
  multipart(
    name: ObjectName,
    parts: readonly Uint8Array[],
    options?: PutOptions,
  ): Promise<Result<{ etag: string | undefined }>>;
}

export function createS3Driver(connection: S3Connection, wire: Wire): S3Driver {
  const send = (request: S3Request): Promise<Result<Incoming>> => call(connection, wire, request);

  return {
    async get(name, range) {
      const headers = range === undefined ? {} : { range: `bytes=${range.first}-${range.last ?? ''}` };
      const reply = await send({ method: 'GET', ...name, headers });
      return reply.ok ? ok({ bytes: reply.value.bytes, ...factsOf(reply.value.headers) }) : reply;
    },
    async head(name) {
      const reply = await send({ method: 'HEAD', ...name });
      if (reply.ok) return ok(factsOf(reply.value.headers));
      return causeOf(reply.fault).status === 404 ? ok(undefined) : reply;
    },
    async put(name, bytes, options) {
      const reply = await send({ method: 'PUT', ...name, headers: putHeaders(options), body: bytes });
      return reply.ok ? ok({ etag: etagOf(reply.value.headers.get('etag')) }) : reply;
    },
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
    presign: (name, { method, expiresSeconds, contentType }) =>
      presign(
        connection,
        { method, ...name, ...(contentType === undefined ? {} : { headers: { 'content-type': contentType } }) },
        expiresSeconds,
        wire.now(),
      ),
    multipart: (name, parts, options) => upload(connection, wire, name, parts, options),
  };
}

function factsOf(headers: Headers): ObjectFacts {
  const modified = Date.parse(headers.get('last-modified') ?? '');
  const total = /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1];
  return {
    contentType: headers.get('content-type') ?? undefined,
    sizeBytes: Number(total ?? headers.get('content-length') ?? 0),
    etag: etagOf(headers.get('etag')),
    lastModified: Number.isNaN(modified) ? undefined : new Date(modified).toISOString(),
    metadata: Object.fromEntries(
      [...headers].flatMap(([name, value]) =>
        name.startsWith('x-amz-meta-') ? [[name.slice('x-amz-meta-'.length), value]] : [],
      ),
    ),
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
