/** What all object stores have in common, so that a chain, and a copy from one to another, need not tell them apart. */

import { fail, faultOf, FaultError, ok, type Fault, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { interrupted } from '../http/request.ts';

export interface ObjectName {
  /** Azure says container. Left out: that of the connection. */
  readonly bucket?: string | undefined;
  readonly key: string;
}

export interface ObjectFacts {
  readonly contentType: string | undefined;
  /** Of the whole object, also where a range was asked. */
  readonly sizeBytes: number;
  /** Names this content; conditions take it. Google: the generation. */
  readonly etag: string | undefined;
  /** ISO 8601 */
  readonly lastModified: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Bytes from `first` to `last`, both included; without `last` to the end. */
export interface ByteRange {
  readonly first: number;
  readonly last?: number | undefined;
}

export interface Conditions {
  /** Only while the object is still this. */
  readonly ifMatch?: string | undefined;
  /** Only where the object is not this; `*`: only where there is none. */
  readonly ifNoneMatch?: string | undefined;
}

export interface GetOptions extends Conditions {
  readonly range?: ByteRange | undefined;
}

export interface PutOptions extends Conditions {
  readonly contentType?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface ListOptions {
  readonly bucket?: string | undefined;
  readonly prefix?: string | undefined;
  readonly delimiter?: string | undefined;
  /** At most 1,000, the bound of S3. */
  readonly limit?: number | undefined;
  readonly cursor?: string | undefined;
}

export interface Listing {
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

export interface PresignOptions {
  readonly method: 'GET' | 'PUT';
  readonly expiresSeconds: number;
  /** For PUT: the upload must then send this type. */
  readonly contentType?: string | undefined;
}

export interface Presigned {
  readonly url: string;
  /** What the request must send beside it. */
  readonly headers: Readonly<Record<string, string>>;
}

/** An object whose body is still on its way: read it or cancel it. */
export interface OpenedObject extends ObjectFacts {
  readonly stream: ReadableStream<Uint8Array>;
  /** Length of the stream: less than `sizeBytes` where a range was asked. */
  readonly streamBytes: number;
  /** To be told when the body breaks off. */
  readonly brokeOff?: (fault: Fault) => void;
}

export interface Written {
  readonly etag: string | undefined;
}

/** A body in pieces. A piece is valid until the next one is asked for; undefined after the last. */
export interface Parts {
  /** Undefined until the last piece was given, where only that tells. */
  readonly totalBytes: number | undefined;
  next(): Promise<Result<Uint8Array | undefined>>;
}

export interface ObjectStore {
  /** Undefined where `ifNoneMatch` names what is there. */
  get(name: ObjectName, options?: GetOptions): Promise<Result<OpenedObject | undefined>>;
  /** Undefined where there is no such object. */
  head(name: ObjectName): Promise<Result<ObjectFacts | undefined>>;
  put(name: ObjectName, bytes: Uint8Array, options?: PutOptions): Promise<Result<Written>>;
  /** All parts or nothing: a reader never sees some of them. */
  putParts(name: ObjectName, parts: Parts, options?: PutOptions): Promise<Result<Written>>;
  /** Succeeds also where there is no such object. */
  delete(name: ObjectName): Promise<Result<undefined>>;
  list(options: ListOptions): Promise<Result<Listing>>;
  /** Within the store: the body does not pass the gateway. */
  copy(from: ObjectName, to: ObjectName): Promise<Result<Written>>;
  presign(name: ObjectName, options: PresignOptions): Promise<Result<Presigned>>;
}

/** How the store at the other end is reached, as far as a body needs it. */
interface Reading {
  readonly signal?: AbortSignal | undefined;
}

/**
 * Copies a body without holding more of it than one part. `ifMatch` of the source is its own etag by nature:
 * one stream is read, and it is refused where it is not as long as it was said to be.
 */
export async function transfer(
  source: OpenedObject,
  target: ObjectStore,
  name: ObjectName,
  options: PutOptions,
  reading: Reading,
): Promise<Result<Written>> {
  const parts = partsOfStream(source, reading);
  if (!parts.ok) {
    await source.stream.cancel().catch(() => undefined);
    return parts;
  }
  const { totalBytes } = parts.value;
  const sent =
    totalBytes > LIMITS.objectPartBytes
      ? await target.putParts(name, parts.value, options)
      : await putWhole(parts.value, target, name, options);
  if (!sent.ok) await parts.value.cancel();
  return sent;
}

async function putWhole(
  parts: Parts,
  target: ObjectStore,
  name: ObjectName,
  options: PutOptions,
): Promise<Result<Written>> {
  const whole = await parts.next();
  return whole.ok ? target.put(name, whole.value ?? new Uint8Array(), options) : whole;
}

/** The bytes of a body that fits the memory; fault `upstream.too-large` where it does not. */
export async function readWhole(source: OpenedObject, reading: Reading): Promise<Result<Uint8Array>> {
  if (source.streamBytes > LIMITS.responseBodyBytes) {
    await source.stream.cancel().catch(() => undefined);
    const most = LIMITS.responseBodyBytes;
    return fail('upstream.too-large', `The object has ${source.streamBytes} bytes; a step reads up to ${most} of one.`);
  }
  const parts = partsOfStream(source, reading, source.streamBytes);
  if (!parts.ok) return parts;
  const whole = await parts.value.next();
  if (!whole.ok) await parts.value.cancel();
  return whole.ok ? ok(whole.value ?? new Uint8Array()) : whole;
}

interface StreamParts extends Parts {
  readonly totalBytes: number;
  cancel(): Promise<void>;
}

/**
 * Pieces of `bufferBytes`, but for the last, in one buffer that is filled again and again: pieces that the stream
 * makes are only freed when somebody collects the garbage. Takes the byte streams that `fetch` and R2 give.
 */
function partsOfStream(
  { stream, streamBytes: totalBytes, brokeOff }: OpenedObject,
  reading: Reading,
  bufferBytes: number = LIMITS.objectPartBytes,
): Result<StreamParts> {
  if (totalBytes > LIMITS.objectPartBytes * LIMITS.objectParts) {
    return fail('upstream.too-large', `The object has ${totalBytes} bytes, more than can be copied in parts.`);
  }
  const reader = stream.getReader({ mode: 'byob' });
  let buffer = new ArrayBuffer(Math.min(totalBytes, bufferBytes));
  let seen = 0;
  async function next(): Promise<Result<Uint8Array | undefined>> {
    try {
      if (reading.signal?.aborted) return interrupted(undefined, reading.signal, 'The object store');
      const wanted = Math.min(buffer.byteLength, totalBytes - seen);
      if (wanted === 0) return ok(undefined);
      const { value: part } = await reader.readAtLeast(wanted, new Uint8Array(buffer, 0, wanted));
      seen += part?.byteLength ?? 0;
      if (part === undefined || part.byteLength < wanted) return wrongLength(seen, totalBytes);
      buffer = part.buffer;
      return ok(part);
    } catch (thrown) {
      if (thrown instanceof FaultError) return { ok: false, fault: faultOf(thrown) };
      return interrupted(thrown, reading.signal, 'The object store');
    }
  }
  return ok({
    totalBytes,
    async next() {
      const part = await next();
      // A copy that was given up says nothing of the store.
      if (!part.ok && reading.signal?.aborted !== true) brokeOff?.(part.fault);
      return part;
    },
    cancel: () => reader.cancel().catch(() => undefined),
  });
}

const wrongLength = (sent: number | 'more', totalBytes: number): Result<never> =>
  fail('upstream.unreachable', `The object store sent ${sent} of ${totalBytes} bytes of the object.`);

export function partsOfList(list: readonly Uint8Array[]): Parts {
  let index = 0;
  return {
    totalBytes: list.reduce((sum, { byteLength }) => sum + byteLength, 0),
    next: () => Promise.resolve(ok(list[index++])),
  };
}

/**
 * URLs swallow segments `.` and `..`, encoded or not. A key that has one keeps it by encoding its slashes
 * too, which leaves a single segment; the other side decodes and signs the same key.
 */
export function encodeKey(key: string): Result<string> {
  const refused = keyFault(key);
  if (refused !== undefined) return refused;
  const encoded = encodeURIComponent(key);
  return ok(/(^|\/)\.\.?(\/|$)/.test(key) ? encoded : encoded.replaceAll('%2F', '/'));
}

/** Fault `step.params` for a key that no address can name. */
export function keyFault(key: string): Result<never> | undefined {
  if (key === '' || key === '.' || key === '..') return fail('step.params', '`key` may not be empty, `.` or `..`.');
  if (!key.isWellFormed()) return fail('step.params', '`key` is not valid Unicode: it holds half a character.');
  return undefined;
}

/** The bucket that an operation means, once its name can stand in an address. */
export function bucketOf(given: string | undefined, usual: string | undefined): Result<string> {
  const bucket = given ?? usual;
  if (bucket === undefined) return fail('step.params', 'Give `bucket`: the connection names none.');
  if (/^[A-Za-z0-9$][\w.-]{1,254}$/.test(bucket)) return ok(bucket);
  return fail('step.params', '`bucket` is no name of a bucket.');
}

export const etagOf = (value: string | null | undefined): string | undefined => value?.replaceAll('"', '') ?? undefined;

/** A conditional header (RFC 9110, section 13.1) for etags without their quotes. */
export function conditionHeaders({ ifMatch, ifNoneMatch }: Conditions): Record<string, string> {
  const quoted = (etag: string): string => (etag === '*' ? etag : `"${etag}"`);
  return {
    ...(ifMatch !== undefined && { 'if-match': quoted(ifMatch) }),
    ...(ifNoneMatch !== undefined && { 'if-none-match': quoted(ifNoneMatch) }),
  };
}

export const rangeHeaders = (range: ByteRange | undefined): Record<string, string> =>
  range === undefined ? {} : { range: `bytes=${range.first}-${range.last ?? ''}` };

/** @param metadataPrefix of the headers that carry metadata, e.g. `x-amz-meta-` */
export function factsOf(headers: Headers, metadataPrefix: string): ObjectFacts {
  const total = /\/(\d+)$/.exec(headers.get('content-range') ?? '')?.[1];
  return {
    contentType: headers.get('content-type') ?? undefined,
    sizeBytes: Number(total ?? headers.get('content-length') ?? 0),
    etag: etagOf(headers.get('etag')),
    lastModified: instantOf(headers.get('last-modified')),
    metadata: Object.fromEntries(
      [...headers].flatMap(([name, value]) =>
        name.startsWith(metadataPrefix) ? [[name.slice(metadataPrefix.length), value]] : [],
      ),
    ),
  };
}

/** ISO 8601 of any date that `Date` reads. */
export function instantOf(text: string | null | undefined): string | undefined {
  const time = Date.parse(text ?? '');
  return Number.isNaN(time) ? undefined : new Date(time).toISOString();
}

export const hexOf = (bytes: ArrayBuffer): string =>
  Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
