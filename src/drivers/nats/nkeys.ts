/** Keys of NATS: Ed25519, written in base32 with a prefix and a checksum. */

import { Buffer } from 'node:buffer';
import { FaultError, fault } from '../../core/errors.ts';

export interface Signer {
  readonly publicKey: string;
  /** As `CONNECT` takes it. */
  sign(text: string): Promise<string>;
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const USER = 20 << 3;
const SEED_BYTES = 32;
/** What stands before the seed in PKCS #8 (RFC 8410, section 7). */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** @throws FaultError `connection.invalid` */
export async function signerOf(seed: string): Promise<Signer> {
  const decoded = fromBase32(seed);
  const raw = decoded.subarray(2, -2);
  // Written back, so that a letter which is none of the alphabet, or is one too many, counts.
  const isWhole =
    toBase32(decoded) === seed &&
    raw.length === SEED_BYTES &&
    decoded.readUInt16LE(decoded.length - 2) === checksum(decoded.subarray(0, -2));
  if (!isWhole)
    throw new FaultError(fault('connection.invalid', 'The seed of the connection is damaged; copy it again.'));
  const key = await crypto.subtle.importKey('pkcs8', Buffer.concat([PKCS8, raw]), 'Ed25519', true, ['sign']);
  const exported = await crypto.subtle.exportKey('jwk', key);
  return {
    publicKey: encodeUser(Buffer.from('x' in exported ? (exported.x ?? '') : '', 'base64url')),
    sign: async (text) =>
      Buffer.from(await crypto.subtle.sign('Ed25519', key, Buffer.from(text))).toString('base64url'),
  };
}

function encodeUser(publicKey: Uint8Array): string {
  const body = Buffer.concat([Buffer.of(USER), publicKey]);
  const sum = Buffer.alloc(2);
  sum.writeUInt16LE(checksum(body));
  return toBase32(Buffer.concat([body, sum]));
}

function fromBase32(text: string): Buffer {
  const bits = Array.from(text, (letter) => ALPHABET.indexOf(letter).toString(2).padStart(5, '0')).join('');
  return Buffer.from(Array.from(bits.match(/.{8}/g) ?? [], (byte) => Number.parseInt(byte, 2)));
}

function toBase32(bytes: Uint8Array): string {
  const bits = Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('');
  return Array.from(bits.match(/.{1,5}/g) ?? [], (five) => ALPHABET[Number.parseInt(five.padEnd(5, '0'), 2)]).join('');
}

/** CRC-16/XMODEM */
function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) {
    sum ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) sum = ((sum & 0x8000) === 0 ? sum << 1 : (sum << 1) ^ 0x1021) & 0xffff;
  }
  return sum;
}
