/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677), the client's side.
 *
 * Guarantee: the password never leaves; a server that does not know it is refused; the work that a server may ask
 * for is bounded.
 */

import { Buffer } from 'node:buffer';
import { fail, ok, type Result } from '../../core/errors.ts';

/** RFC 7677, section 4, asks for 4,096 at least; the platform derives no key with more than 100,000. */
const ITERATIONS = { least: 4_096, most: 100_000 };

export interface Scram {
  readonly first: string;
  /** The answer to the server's challenge. */
  final(challenge: string): Promise<Result<string>>;
  /** Whether the server has proved that it knows the password. */
  verify(outcome: string): boolean;
}

/** @param nonce printable and without a comma */
export function createScram(user: string, password: string, nonce: string): Scram {
  const bare = `n=${user.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${nonce}`;
  let expected: string | undefined;
  return {
    first: `n,,${bare}`,
    async final(challenge) {
      const { r: serverNonce = '', s: salt = '', i = '' } = attributesOf(challenge);
      const iterations = /^\d{1,7}$/.test(i) ? Number(i) : 0;
      if (!serverNonce.startsWith(nonce) || serverNonce.length === nonce.length) {
        return fail('upstream.unauthorized', 'MongoDB answered the login with a challenge that is not for it.');
      }
      if (iterations < ITERATIONS.least || iterations > ITERATIONS.most) {
        const message = `MongoDB asks for ${i} rounds of SCRAM; from ${ITERATIONS.least} to ${ITERATIONS.most} are done.`;
        return fail('upstream.unauthorized', message);
      }
      const withoutProof = `c=biws,r=${serverNonce}`;
      const signed = `${bare},${challenge},${withoutProof}`;
      const salted = await derive(prepared(password), Buffer.from(salt, 'base64'), iterations);
      const clientKey = await hmac(salted, 'Client Key');
      const storedKey = new Uint8Array(await crypto.subtle.digest('SHA-256', clientKey));
      const signature = await hmac(storedKey, signed);
      const proof = clientKey.map((byte, index) => byte ^ (signature[index] ?? 0));
      expected = Buffer.from(await hmac(await hmac(salted, 'Server Key'), signed)).toString('base64');
      return ok(`${withoutProof},p=${Buffer.from(proof).toString('base64')}`);
    },
    verify: (outcome) => expected !== undefined && attributesOf(outcome)['v'] === expected,
  };
}

const attributesOf = (message: string): Readonly<Record<string, string | undefined>> =>
  Object.fromEntries(message.split(',').map((part) => [part.slice(0, 1), part.slice(2)]));

/** What SASLprep (RFC 4013) maps; what it forbids the server has never taken either. */
const prepared = (password: string): string =>
  password
    .replaceAll(/\p{Default_Ignorable_Code_Point}/gu, '')
    .replaceAll(/\p{Zs}/gu, ' ')
    .normalize('NFKC');

async function derive(
  password: string,
  salt: Uint8Array<ArrayBuffer>,
  iterations: number,
): Promise<Uint8Array<ArrayBuffer>> {
  const key = await crypto.subtle.importKey('raw', Buffer.from(password), 'PBKDF2', false, ['deriveBits']);
  const bits = await crypto.subtle.deriveBits({ name: 'PBKDF2', hash: 'SHA-256', salt, iterations }, key, 256);
  return new Uint8Array(bits);
}

async function hmac(secret: Uint8Array<ArrayBuffer>, text: string): Promise<Uint8Array<ArrayBuffer>> {
  const key = await crypto.subtle.importKey('raw', secret, { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', key, Buffer.from(text)));
}
