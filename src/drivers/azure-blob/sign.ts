/**
 * Addresses and credentials of Azure Blob requests: Shared Key, or a shared access signature (SAS).
 *
 * Sources: "Authorize with Shared Key" and "Create a service SAS" of Microsoft's REST reference. Accepted
 * weakness of Shared Key: the body is not part of the signature, only its length.
 */

import { Buffer } from 'node:buffer';
import { fail, ok, type Result } from '../../core/errors.ts';
import type { Outgoing } from '../kit/exchange.ts';
import { bucketOf, encodeKey, type ObjectName, type Presigned, type PresignOptions } from '../kit/objects.ts';

export const VERSION = '2021-12-02';

export interface AzureConnection {
  readonly account: string;
  /** Of the Blob service, e.g. `https://account.blob.core.windows.net`. */
  readonly endpoint: string;
  /** The container where an operation names none. */
  readonly bucket?: string | undefined;
  /** Base64. */
  readonly accountKey?: string | undefined;
  /** The query of a SAS, in place of the key. */
  readonly sas?: string | undefined;
}

export interface AzureRequest {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE';
  readonly bucket?: string | undefined;
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  /** By name in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
}

/** The address of a container or blob, without its credentials. */
export function addressOf(
  connection: AzureConnection,
  request: Pick<AzureRequest, 'bucket' | 'key' | 'query'>,
): Result<URL> {
  const bucket = bucketOf(request.bucket, connection.bucket);
  if (!bucket.ok) return bucket;
  const key = request.key === undefined ? undefined : encodeKey(request.key);
  if (key?.ok === false) return key;
  const url = URL.parse(connection.endpoint);
  if (url === null) return fail('connection.invalid', '`endpoint` is no absolute URL.');
  url.pathname = [url.pathname.replace(/\/+$/, ''), bucket.value, ...(key === undefined ? [] : [key.value])].join('/');
  url.search = Object.entries(request.query ?? {})
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .join('&');
  return ok(url);
}

/** A request with its credentials. `now`: Unix time in milliseconds. */
export async function authorized(
  connection: AzureConnection,
  request: AzureRequest,
  now: number,
): Promise<Result<Outgoing>> {
  const url = addressOf(connection, request);
  if (!url.ok) return url;
  const { method, body } = request;
  const headers: Record<string, string> = {
    ...request.headers,
    'x-ms-date': new Date(now).toUTCString(),
    'x-ms-version': VERSION,
  };
  if (connection.accountKey === undefined) withSas(url.value, connection);
  else {
    const text = stringToSign(connection.account, method, url.value, headers, body?.byteLength ?? 0);
    const signature = await hmac(connection.accountKey, text);
    if (!signature.ok) return signature;
    headers['authorization'] = `SharedKey ${connection.account}:${signature.value}`;
  }
  return ok({ url: url.value.href, method, headers, ...(body !== undefined && { body }) });
}

/** The address itself where the connection has a key. */
export function withSas(url: URL, { sas }: AzureConnection): URL {
  if (sas !== undefined) url.search = [url.search.slice(1), sas.replace(/^\?/, '')].filter(Boolean).join('&');
  return url;
}

/** In this order; `date` is empty beside `x-ms-date`. */
const SIGNED_HEADERS = [
  'content-md5',
  'content-type',
  'date',
  'if-modified-since',
  'if-match',
  'if-none-match',
  'if-unmodified-since',
  'range',
];

function stringToSign(
  account: string,
  method: string,
  url: URL,
  headers: Readonly<Record<string, string>>,
  length: number,
): string {
  const own = Object.entries(headers).filter(([name]) => name.startsWith('x-ms-'));
  const query = [...url.searchParams].map(([name, value]) => `\n${name.toLowerCase()}:${value}`);
  return [
    method,
    headers['content-encoding'] ?? '',
    headers['content-language'] ?? '',
    length === 0 ? '' : String(length),
    ...SIGNED_HEADERS.map((name) => headers[name] ?? ''),
    ...own.map(([name, value]) => `${name}:${value.trim()}`).sort(),
    `/${account}${url.pathname}${query.sort().join('')}`,
  ].join('\n');
}

async function hmac(accountKey: string, text: string): Promise<Result<string>> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const bytes = Buffer.from(accountKey, 'base64');
  if (bytes.byteLength === 0) return fail('connection.invalid', '`accountKey` is not the base64 that Azure shows.');
  const key = await crypto.subtle.importKey('raw', bytes, algorithm, false, ['sign']);
  return ok(Buffer.from(await crypto.subtle.sign('HMAC', key, Buffer.from(text))).toString('base64'));
}

/** An address that carries a service SAS for one blob and works until it expires. */
export async function presign(
  connection: AzureConnection,
  name: ObjectName,
  { method, expiresSeconds, contentType }: PresignOptions,
  now: number,
): Promise<Result<Presigned>> {
  const { account, accountKey } = connection;
  if (accountKey === undefined) return fail('step.params', 'A link needs a connection with `accountKey`, not `sas`.');
  if (contentType !== undefined) return fail('step.params', '`contentType`: A SAS cannot bind one; leave it out.');
  const bucket = bucketOf(name.bucket, connection.bucket);
  if (!bucket.ok) return bucket;
  const url = addressOf(connection, name);
  if (!url.ok) return url;
  const permissions = method === 'GET' ? 'r' : 'cw';
  const expiry = new Date(now + expiresSeconds * 1000).toISOString().replace(/\.\d+/, '');
  const protocol = url.value.protocol === 'https:' ? 'https' : 'https,http';
  const resource = `/blob/${account}/${bucket.value}/${name.key}`;
  // Empty: start, identifier, address, snapshot, encryption scope, and five headers of the reply.
  const signed = [permissions, '', expiry, resource, '', '', protocol, VERSION, 'b', '', '', '', '', '', '', ''];
  const signature = await hmac(accountKey, signed.join('\n'));
  if (!signature.ok) return signature;
  const query = { sv: VERSION, sr: 'b', sp: permissions, se: expiry, spr: protocol, sig: signature.value };
  url.value.search = new URLSearchParams(query).toString();
  return ok({ url: url.value.href, headers: method === 'GET' ? {} : { 'x-ms-blob-type': 'BlockBlob' } });
}
