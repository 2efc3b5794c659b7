/**
 * What a service account of Google signs: assertions for access tokens (RFC 7523), and addresses (V4).
 *
 * Guarantee: a token is asked for once per isolate and connection, and used until a minute before it expires.
 * Accepted weakness: calls that begin together each ask for one.
 */

import { importPKCS8, SignJWT, type CryptoKey } from 'jose';
import { fail, ok, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { exchange, jsonOf, refusal, textOf, type Wire } from '../kit/exchange.ts';
import { bucketOf, encodeKey, hexOf, type ObjectName, type Presigned, type PresignOptions } from '../kit/objects.ts';

/** The members of a key file that are used. */
export interface ServiceAccount {
  readonly client_email: string;
  /** PKCS #8 in PEM. */
  readonly private_key: string;
  readonly private_key_id?: string | undefined;
}

export interface GcsConnection {
  /** `https://storage.googleapis.com`, or that of a server which speaks like it. */
  readonly endpoint: string;
  readonly tokenEndpoint: string;
  readonly bucket?: string | undefined;
  /** The same object for as long as the connection is open: what is kept of it hangs on it. */
  readonly serviceAccount: ServiceAccount;
}

const SCOPE = 'https://www.googleapis.com/auth/devstorage.read_write';
const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const ASSERTION_SECONDS = 3_600;
const EARLY_MILLISECONDS = 60_000;

interface Token {
  readonly text: string;
  /** Unix time in milliseconds. */
  readonly usableUntil: number;
}

const tokens = new WeakMap<ServiceAccount, Token>();
const keys = new WeakMap<ServiceAccount, CryptoKey>();

/** The next call asks for a new one. */
export const forgetToken = (account: ServiceAccount): boolean => tokens.delete(account);

export async function accessToken(connection: GcsConnection, wire: Wire): Promise<Result<string>> {
  const { serviceAccount: account, tokenEndpoint } = connection;
  const known = tokens.get(account);
  const now = wire.now();
  if (known !== undefined && now < known.usableUntil) return ok(known.text);
  const key = await keyOf(account);
  if (!key.ok) return key;
  const issued = Math.floor(now / 1000);
  const assertion = await new SignJWT({ scope: SCOPE })
    .setProtectedHeader({ alg: 'RS256', typ: 'JWT', ...(account.private_key_id && { kid: account.private_key_id }) })
    .setIssuer(account.client_email)
    .setAudience(tokenEndpoint)
    .setIssuedAt(issued)
    .setExpirationTime(issued + ASSERTION_SECONDS)
    .sign(key.value);
  const reply = await exchange(wire, {
    url: tokenEndpoint,
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams({ grant_type: GRANT, assertion }).toString(),
  });
  if (!reply.ok) return reply;
  if (reply.value.status !== 200) return { ok: false, fault: tokenFault(reply.value, now) };
  const body = jsonOf('Google', textOf(reply.value.bytes));
  if (!body.ok) return body;
  const { access_token: text, expires_in: seconds } = isObject(body.value) ? body.value : {};
  if (typeof text !== 'string' || typeof seconds !== 'number') {
    return fail('upstream.invalid', 'Google sent no access token; check `tokenEndpoint`.');
  }
  tokens.set(account, { text, usableUntil: now + seconds * 1000 - EARLY_MILLISECONDS });
  return ok(text);
}

/** `invalid_grant` comes with status 400 (RFC 6749, section 5.2), and is about the credentials all the same. */
function tokenFault(reply: Parameters<typeof refusal>[1], now: number) {
  const body = jsonOf('Google', textOf(reply.bytes));
  const error = body.ok && isObject(body.value) ? body.value['error'] : undefined;
  const said = typeof error === 'string' ? error : undefined;
  return refusal('Google', { ...reply, status: reply.status === 400 ? 401 : reply.status }, now, said, { code: said });
}

async function keyOf(account: ServiceAccount): Promise<Result<CryptoKey>> {
  const known = keys.get(account);
  if (known !== undefined) return ok(known);
  try {
    const key = await importPKCS8(account.private_key, 'RS256');
    keys.set(account, key);
    return ok(key);
  } catch {
    // What the library says of a key may quote it.
    return fail('connection.invalid', '`serviceAccount.private_key` is no RSA key in PKCS #8 (PEM).');
  }
}

/** The text that the signature of an address is made of, and that address without it ("V4 signing process"). */
export async function unsignedAddress(
  connection: GcsConnection,
  name: ObjectName,
  { method, expiresSeconds, contentType }: PresignOptions,
  now: number,
): Promise<Result<{ readonly url: string; readonly text: string }>> {
  const bucket = bucketOf(name.bucket, connection.bucket);
  if (!bucket.ok) return bucket;
  const key = encodeKey(name.key);
  if (!key.ok) return key;
  const { origin, host } = new URL(connection.endpoint);
  const path = `/${bucket.value}/${strict(key.value)}`;
  const stamp = new Date(now).toISOString().replace(/[:-]|\.\d{3}/g, '');
  const scope = `${stamp.slice(0, 8)}/auto/storage/goog4_request`;
  const headers = [...(contentType === undefined ? [] : [['content-type', contentType]]), ['host', host]];
  const names = headers.map(([header]) => header).join(';');
  const query = Object.entries({
    'X-Goog-Algorithm': 'GOOG4-RSA-SHA256',
    'X-Goog-Credential': `${connection.serviceAccount.client_email}/${scope}`,
    'X-Goog-Date': stamp,
    'X-Goog-Expires': String(expiresSeconds),
    'X-Goog-SignedHeaders': names,
  }).map(([field, value]) => `${field}=${strict(encodeURIComponent(value))}`);
  const search = query.join('&');
  const listed = headers.map(([header, value]) => `${header}:${value}\n`).join('');
  const request = [method, path, search, listed, names, 'UNSIGNED-PAYLOAD'].join('\n');
  const digest = hexOf(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(request)));
  const text = ['GOOG4-RSA-SHA256', stamp, scope, digest].join('\n');
  return ok({ url: `${origin}${path}?${search}`, text });
}

/** RFC 3986 reserves what JavaScript leaves as it is. */
const strict = (encoded: string): string =>
  encoded.replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);

/** An address that carries its signature and works without credentials until it expires. */
export async function presign(
  connection: GcsConnection,
  name: ObjectName,
  options: PresignOptions,
  now: number,
): Promise<Result<Presigned>> {
  const key = await keyOf(connection.serviceAccount);
  if (!key.ok) return key;
  const unsigned = await unsignedAddress(connection, name, options, now);
  if (!unsigned.ok) return unsigned;
  const { url, text } = unsigned.value;
  const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', key.value, new TextEncoder().encode(text));
  const headers: Record<string, string> =
    options.contentType === undefined ? {} : { 'content-type': options.contentType };
  return ok({ url: `${url}&X-Goog-Signature=${hexOf(signature)}`, headers });
}
