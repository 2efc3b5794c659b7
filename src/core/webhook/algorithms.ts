/** The signature algorithms: import a key once, then sign or match candidates. */

import { decode, encode, equalInConstantTime, type Encoding } from './encoding.ts';

export interface Algorithm {
  /** @throws DOMException where the bytes are no key of this algorithm */
  importKey(bytes: Uint8Array, use: 'sign' | 'verify'): Promise<CryptoKey>;
  sign(key: CryptoKey, content: Uint8Array): Promise<Uint8Array>;
  /** Whether one of the candidates, as they stand in the header, signs the content. Never throws. */
  matches(key: CryptoKey, content: Uint8Array, candidates: readonly string[], encoding: Encoding): Promise<boolean>;
}

const hmac = (hash: 'SHA-1' | 'SHA-256' | 'SHA-512'): Algorithm => ({
  importKey: (bytes) => crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash }, false, ['sign']),
  async sign(key, content) {
    return new Uint8Array(await crypto.subtle.sign('HMAC', key, content));
  },
  // One HMAC however many candidates there are, so a header full of them costs nothing.
  async matches(key, content, candidates, encoding) {
    const expected = encode(await this.sign(key, content), encoding);
    let matched = false;
    for (const candidate of candidates) matched = equalInConstantTime(expected, candidate) || matched;
    return matched;
  },
});

/** RFC 8410, section 7: what stands before the 32 bytes of the seed in a PKCS #8 private key. */
const PKCS8_ED25519 = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const SEED_BYTES = 32;

const ed25519: Algorithm = {
  importKey: (bytes, use) =>
    use === 'verify'
      ? crypto.subtle.importKey('raw', bytes, 'Ed25519', false, ['verify'])
      : // A key in libsodium's form carries the public key behind the seed.
        crypto.subtle.importKey(
          'pkcs8',
          Uint8Array.from([...PKCS8_ED25519, ...bytes.subarray(0, SEED_BYTES)]),
          'Ed25519',
          false,
          ['sign'],
        ),
  async sign(key, content) {
    return new Uint8Array(await crypto.subtle.sign('Ed25519', key, content));
  },
  async matches(key, content, candidates, encoding) {
    for (const candidate of candidates) {
      const signature = decode(candidate, encoding);
      if (signature === undefined || encode(signature, encoding) !== candidate) continue;
      if (await crypto.subtle.verify('Ed25519', key, signature, content)) return true;
    }
    return false;
  },
};

export const ALGORITHMS = {
  'hmac-sha1': hmac('SHA-1'),
  'hmac-sha256': hmac('SHA-256'),
  'hmac-sha512': hmac('SHA-512'),
  ed25519,
} as const satisfies Record<string, Algorithm>;

export type AlgorithmName = keyof typeof ALGORITHMS;
