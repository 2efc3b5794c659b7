/** The signature algorithms: import a key once, then sign or match candidates. */

import { ecdsaFromDer } from './der.ts';
import { decodeExactly, encode, equalInConstantTime, sha256, type Encoding } from './encoding.ts';

export interface Algorithm {
  /** @throws DOMException where the bytes are no key of this algorithm */
  importKey(bytes: Uint8Array, use: 'sign' | 'verify'): Promise<Key>;
}

export interface Key {
  sign(content: Uint8Array): Promise<Uint8Array>;
  /** Whether one of the candidates, as they were sent, signs the content. Never throws. */
  matches(content: Uint8Array, candidates: readonly string[], encoding: Encoding): Promise<boolean>;
}

/** What signs and verifies by computing the same. */
function symmetric(sign: Key['sign']): Key {
  return {
    sign,
    // Computed once however many candidates there are, so a header full of them costs nothing.
    async matches(content, candidates, encoding) {
      const expected = encode(await sign(content), encoding);
      let matched = false;
      for (const candidate of candidates) matched = equalInConstantTime(expected, candidate) || matched;
      return matched;
    },
  };
}

const hmac = (hash: 'SHA-1' | 'SHA-256' | 'SHA-512'): Algorithm => ({
  async importKey(bytes) {
    const key = await crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash }, false, ['sign']);
    return symmetric(async (content) => new Uint8Array(await crypto.subtle.sign('HMAC', key, content)));
  },
});

/** A hash of the secret and the content: the secret stands in the content, by `{secret}`. */
const plainHash: Algorithm = { importKey: () => Promise.resolve(symmetric(sha256)) };

interface Asymmetric {
  readonly importing: SubtleCryptoImportKeyAlgorithm | string;
  readonly publicFormat: 'raw' | 'spki';
  readonly using: SubtleCryptoSignAlgorithm | string;
  /** The private key as PKCS #8. */
  readonly pkcs8: (bytes: Uint8Array) => Uint8Array;
  /** The signature in WebCrypto's form; undefined where it is malformed. */
  readonly signature: (bytes: Uint8Array) => Uint8Array | undefined;
}

const same = (bytes: Uint8Array): Uint8Array => bytes;

const asymmetric = ({ importing, publicFormat, using, pkcs8, signature }: Asymmetric): Algorithm => ({
  async importKey(bytes, use) {
    const key =
      use === 'verify'
        ? await crypto.subtle.importKey(publicFormat, bytes, importing, false, ['verify'])
        : await crypto.subtle.importKey('pkcs8', pkcs8(bytes), importing, false, ['sign']);
    return {
      async sign(content) {
        return new Uint8Array(await crypto.subtle.sign(using, key, content));
      },
      async matches(content, candidates, encoding) {
        for (const candidate of candidates) {
          const sent = decodeExactly(candidate, encoding);
          const plain = sent === undefined ? undefined : signature(sent);
          if (plain !== undefined && (await crypto.subtle.verify(using, key, plain, content))) return true;
        }
        return false;
      },
    };
  },
});

/** RFC 8410, section 7: what stands before the 32 bytes of the seed in a PKCS #8 private key. */
const PKCS8_ED25519 = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
const SEED_BYTES = 32;
const P256_BYTES = 32;

const rsa = (hash: 'SHA-1' | 'SHA-256'): Algorithm =>
  asymmetric({
    importing: { name: 'RSASSA-PKCS1-v1_5', hash },
    publicFormat: 'spki',
    using: 'RSASSA-PKCS1-v1_5',
    pkcs8: same,
    signature: same,
  });

export const ALGORITHMS = {
  'hmac-sha1': hmac('SHA-1'),
  'hmac-sha256': hmac('SHA-256'),
  'hmac-sha512': hmac('SHA-512'),
  sha256: plainHash,
  ed25519: asymmetric({
    importing: 'Ed25519',
    publicFormat: 'raw',
    using: 'Ed25519',
    // A key in libsodium's form carries the public key behind the seed.
    pkcs8: (bytes) => Uint8Array.from([...PKCS8_ED25519, ...bytes.subarray(0, SEED_BYTES)]),
    signature: same,
  }),
  'ecdsa-p256-sha256': asymmetric({
    importing: { name: 'ECDSA', namedCurve: 'P-256' },
    publicFormat: 'spki',
    using: { name: 'ECDSA', hash: 'SHA-256' },
    pkcs8: same,
    signature: (bytes) => ecdsaFromDer(bytes, P256_BYTES),
  }),
  'rsa-sha1': rsa('SHA-1'),
  'rsa-sha256': rsa('SHA-256'),
} as const satisfies Record<string, Algorithm>;

export type AlgorithmName = keyof typeof ALGORITHMS;
