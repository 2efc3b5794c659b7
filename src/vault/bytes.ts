/** Bytes as text and back. */

import { Buffer } from 'node:buffer';

export type Bytes = Uint8Array<ArrayBuffer>;

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;
const BASE64URL = /^[A-Za-z0-9_-]*$/;

export const utf8 = (text: string): Bytes => new Uint8Array(new TextEncoder().encode(text));

export const toBase64Url = (bytes: Bytes): string => Buffer.from(bytes).toString('base64url');

export const toBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

export const toHex = (bytes: Bytes): string => Buffer.from(bytes).toString('hex');

/** Undefined where the text is not of that alphabet; `Buffer` itself skips what it cannot read. */
export function fromBase64(text: string, alphabet: 'base64' | 'base64url'): Bytes | undefined {
  if (!(alphabet === 'base64' ? BASE64 : BASE64URL).test(text)) return undefined;
  return new Uint8Array(Buffer.from(text, alphabet));
}

/** Undefined where the text is not whole bytes in lower-case hex. */
export const fromHex = (text: string): Bytes | undefined =>
  /^(?:[0-9a-f]{2})*$/.test(text) ? new Uint8Array(Buffer.from(text, 'hex')) : undefined;

export const randomBytes = (count: number): Bytes => crypto.getRandomValues(new Uint8Array(count));

export const sha256 = async (text: string): Promise<Bytes> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', utf8(text)));
