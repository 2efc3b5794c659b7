/** Bytes as text and back, and the comparison of signatures. */

export type Encoding = 'hex' | 'base64';

const encoder = new TextEncoder();
const HEX = /^(?:[0-9a-fA-F]{2})+$/;
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/;
const HEX_OF_BYTE = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export const utf8 = (text: string): Uint8Array => encoder.encode(text);

/** Hex in lower case, as every vendor sends it; base64 with its padding. */
export function encode(bytes: Uint8Array, encoding: Encoding): string {
  let text = '';
  if (encoding === 'hex') {
    for (const byte of bytes) text += HEX_OF_BYTE[byte];
    return text;
  }
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/** Undefined where the text is empty or not of that encoding. */
export function decode(text: string, encoding: Encoding): Uint8Array | undefined {
  if (encoding === 'hex') {
    if (!HEX.test(text)) return undefined;
    return Uint8Array.from({ length: text.length / 2 }, (_, index) =>
      parseInt(text.slice(index * 2, index * 2 + 2), 16),
    );
  }
  if (!BASE64.test(text) || text.replace(/=+$/, '').length % 4 === 1) return undefined;
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/**
 * Whether a candidate is the expected signature, in a time that tells nothing but the length, which is
 * public. Encoded texts are compared, not bytes: a text of another spelling (odd length, other case,
 * spare bits in base64) is then refused without being decoded.
 */
export function equalInConstantTime(expected: string, candidate: string): boolean {
  if (candidate.length !== expected.length) return false;
  let difference = 0;
  for (let index = 0; index < expected.length; index++) {
    difference |= expected.charCodeAt(index) ^ candidate.charCodeAt(index);
  }
  return difference === 0;
}
