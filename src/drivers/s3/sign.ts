/**
 * Addresses and signatures (AWS Signature Version 4) of S3 requests.
 *
 * A key is signed and stored as it is written, `../`, spaces and any Unicode included. The body is part
 * of the signature, so that nothing on the way can change it.
 */

import { AwsV4Signer } from 'aws4fetch';
import { fail, ok, type Result } from '../../core/errors.ts';
import type { Outgoing } from '../kit/exchange.ts';
import { bucketOf, encodeKey, hexOf } from '../kit/objects.ts';

export interface S3Connection {
  /** Without the bucket, e.g. `https://s3.eu-central-1.amazonaws.com`. */
  readonly endpoint: string;
  readonly region: string;
  /** Used where an operation names none. */
  readonly bucket?: string | undefined;
  /** The bucket in the path (default) or, where false, before the host. */
  readonly pathStyle?: boolean | undefined;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export interface S3Request {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE';
  readonly bucket?: string | undefined;
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** The address of a bucket or object; `step.params` where no address can name it. */
function addressOf(connection: S3Connection, request: S3Request): Result<URL> {
  const bucket = bucketOf(request.bucket, connection.bucket);
  if (!bucket.ok) return bucket;
  const url = URL.parse(connection.endpoint);
  if (url === null) return fail('connection.invalid', '`endpoint` is no absolute URL.');
  const base = url.pathname.replace(/\/+$/, '');
  const path = connection.pathStyle === false ? base : `${base}/${bucket.value}`;
  if (connection.pathStyle === false) url.host = `${bucket.value}.${url.host}`;
  if (request.key === undefined) url.pathname = path === '' ? '/' : path;
  else {
    const key = encodeKey(request.key);
    if (!key.ok) return key;
    url.pathname = `${path}/${key.value}`;
  }
  url.search = Object.entries(request.query ?? {})
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join('&');
  return ok(url);
}

/** `20150830T123600Z` */
const stamp = (now: number): string => new Date(now).toISOString().replace(/[:-]|\.\d{3}/g, '');

const signerOptions = (connection: S3Connection, now: number) => ({
  service: 's3',
  region: connection.region,
  accessKeyId: connection.accessKeyId,
  secretAccessKey: connection.secretAccessKey,
  ...(connection.sessionToken === undefined ? {} : { sessionToken: connection.sessionToken }),
  datetime: stamp(now),
});

/** A request with its signature in the headers. `now`: Unix time in milliseconds. */
export async function signRequest(
  connection: S3Connection,
  request: S3Request,
  now: number,
): Promise<Result<Outgoing>> {
  const url = addressOf(connection, request);
  if (!url.ok) return url;
  const { method, body } = request;
  const digest = hexOf(await crypto.subtle.digest('SHA-256', body ?? new Uint8Array()));
  const signer = new AwsV4Signer({
    ...signerOptions(connection, now),
    method,
    url: url.value.href,
    headers: { ...request.headers, 'x-amz-content-sha256': digest },
  });
  const { headers } = await signer.sign();
  return ok({
    url: url.value.href,
    method,
    headers: Object.fromEntries(headers),
    ...(body === undefined ? {} : { body }),
  });
}

/** An address that carries its signature and works without credentials until it expires. */
export async function presign(
  connection: S3Connection,
  request: S3Request,
  expiresSeconds: number,
  now: number,
): Promise<Result<string>> {
  const query = { ...request.query, 'X-Amz-Expires': String(expiresSeconds) };
  const url = addressOf(connection, { ...request, query });
  if (!url.ok) return url;
  const signer = new AwsV4Signer({
    ...signerOptions(connection, now),
    method: request.method,
    url: url.value.href,
    signQuery: true,
    allHeaders: true,
    ...(request.headers === undefined ? {} : { headers: request.headers }),
  });
  const signed = (await signer.sign()).url;
  // `+` for a space is a habit of forms; in a signed query it would be a plus sign.
  signed.search = signed.search.replaceAll('+', '%20');
  return ok(signed.href);
}
