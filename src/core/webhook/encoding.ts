/** Bytes as text and back, and the one comparison of signatures and secrets. */

export type Encoding = 'hex' | 'base64' | 'base64url';

const encoder = new TextEncoder();
const HEX = /^(?:[0-9a-fA-F]{2})+$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
const HEX_OF_BYTE = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export const utf8 = (text: string): Uint8Array => encoder.encode(text);

/** Hex in lower case, as every vendor sends it; base64 with its padding, base64url without. */
export function encode(bytes: Uint8Array, encoding: Encoding): string {
  let text = '';
  if (encoding === 'hex') {
    for (const byte of bytes) text += HEX_OF_BYTE[byte];
    return text;
  }
  for (const byte of bytes) text += String.fromCharCode(byte);
  const base64 = btoa(text);
  return encoding === 'base64' ? base64 : base64.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** Undefined where the text is empty or not of that encoding. */
export function decode(text: string, encoding: Encoding): Uint8Array | undefined {
  if (encoding === 'hex') {
    if (!HEX.test(text)) return undefined;
    return Uint8Array.from({ length: text.length / 2 }, (_, index) =>
      parseInt(text.slice(index * 2, index * 2 + 2), 16),
    );
  }
  const base64 = encoding === 'base64' ? text : text.replaceAll('-', '+').replaceAll('_', '/');
  if (!BASE64.test(base64) || base64.replace(/=+$/, '').length % 4 === 1) return undefined;
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/**
 * Undefined also where the text is another spelling of the bytes (other case, spare bits, padding): of
 * one signature there is then one text, and each change of a byte of it is a refusal.
 */
export function decodeExactly(text: string, encoding: Encoding): Uint8Array | undefined {
  const bytes = decode(text, encoding);
  return bytes !== undefined && equalInConstantTime(encode(bytes, encoding), text) ? bytes : undefined;
}

export const sha256 = async (bytes: Uint8Array): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));

/** In hex. */
export const hash = async (bytes: Uint8Array): Promise<string> => encode(await sha256(bytes), 'hex');

/**
 * Whether a candidate is the expected signature, in a time that tells nothing but the length, which is
 * public. Encoded texts are compared, not bytes: a text of another spelling (odd length, other case,
 * spare bits in base64) is then refused without being decoded. The length of a secret is not public:
 * of secrets the hashes are compared.
 */
export function equalInConstantTime(expected: string, candidate: string): boolean {
  if (candidate.length !== expected.length) return false;
  let difference = 0;
  for (let index = 0; index < expected.length; index++) {
    difference |= expected.charCodeAt(index) ^ candidate.charCodeAt(index);
  }
  return difference === 0;
}
