/**
 * Signed requests as credentials.
 *
 * Guarantee: a signature counts within its window and for one request; it covers method, address and body.
 * Accepted weakness: the body is read into memory to be verified, so a signed one has `requestBodyBytes` at most.
 */

import type { Check } from './attempt.ts';
import { allowed, confirmed, identityOf } from './keys.ts';
import { keyById, verifiersOf } from './signing-keys.ts';
import { joinChunks, readChunks } from '../../core/bytes.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import {
  readContentDigest,
  readMessageSignature,
  readSimpleSignature,
  untimely,
  type SignatureClaim,
} from '../../core/route/signed-request.ts';
import type { KeyRow } from '../../store/configuration.ts';
import { fromBase64, fromHex, sha256, toHex, utf8, type Bytes } from '../../vault/bytes.ts';
import type { Exchange } from '../exchange.ts';

export const bySignature: Check<'hmac'> = async ({ format, windowMilliseconds, scopes }, { exchange }) => {
  const { request, method, url, headers, receivedAt, env } = exchange;
  const parts = { method, url, headers, hasBody: request.body !== null };
  const read = format === 'simple' ? readSimpleSignature(parts) : readMessageSignature(parts);
  if (read === undefined) return fail('auth.missing', 'This route needs a signed request.');
  if (!read.ok) return read;
  const claim = read.value;
  const late = untimely(claim, windowMilliseconds, receivedAt);
  if (late !== undefined) return fail('auth.invalid', late);
  const { row } = await confirmed(exchange, (configuration) => keyById(configuration, claim.keyId));
  const signature = decoded(claim);
  if (row === undefined || signature === undefined) return refuse;
  const verified = await verify(claim, signature, row, exchange);
  if (!verified.ok) return verified;
  const identity = identityOf('hmac', row);
  const found = allowed({ row, identity, until: row.expiresAt ?? Infinity }, scopes, exchange);
  if (!found.ok) return found;
  // By bytes: base64 has several spellings of some.
  const id = claim.nonce === '' ? toHex(signature) : `nonce ${toHex(await sha256(claim.nonce))}`;
  const until = claim.createdSeconds * 1000 + windowMilliseconds;
  const first = await env.REPLAYS.getByName(row.id).claim(id, until);
  return first ? found : fail('auth.invalid', 'This signature, or its nonce, was used before; sign each request anew.');
};

const refuse = fail('auth.invalid', 'The signature is not right, or its key is not known.');

const decoded = ({ encoding, signature }: SignatureClaim): Bytes | undefined =>
  encoding === 'hex' ? fromHex(signature) : fromBase64(signature, 'base64');

async function verify(
  claim: SignatureClaim,
  signature: Bytes,
  row: KeyRow,
  { request, env, receivedAt }: Exchange,
): Promise<Result<void>> {
  const algorithm = row.signing?.algorithm;
  if (algorithm === undefined || (claim.algorithm ?? algorithm) !== algorithm) return refuse;
  const keys = await verifiersOf(env, row, receivedAt);
  if (!keys.ok) return keys;
  const body = claim.signsBody ? await bodyOf(request) : undefined;
  if (body?.ok === false) return body;
  const signed = body === undefined ? utf8(claim.base) : joinChunks([utf8(claim.base), body.value]);
  const name = algorithm === 'ed25519' ? 'Ed25519' : 'HMAC';
  const right = await Promise.all(keys.value.map((key) => crypto.subtle.verify(name, key, signature, signed)));
  if (!right.includes(true)) return refuse;
  return claim.digest === undefined ? ok(undefined) : checkDigest(claim.digest, request);
}

async function checkDigest(header: string, request: Request): Promise<Result<void>> {
  const digests = readContentDigest(header);
  if (digests === undefined) return fail('auth.invalid', 'Content-Digest needs "sha-256" or "sha-512", and no other.');
  const body = await bodyOf(request);
  if (!body.ok) return body;
  for (const { algorithm, value } of digests) {
    const actual = new Uint8Array(await crypto.subtle.digest(algorithm.toUpperCase(), body.value));
    const claimed = fromBase64(value, 'base64');
    // Neither is a secret: the signature already covers the header.
    if (claimed === undefined || toHex(claimed) !== toHex(actual)) {
      return fail('auth.invalid', 'The body does not match its Content-Digest.');
    }
  }
  return ok(undefined);
}

/** A copy: the target reads the body too. */
async function bodyOf(request: Request): Promise<Result<Bytes>> {
  const body = await readChunks(request.clone().body, LIMITS.requestBodyBytes);
  const message = `A signed body has at most ${LIMITS.requestBodyBytes} bytes.`;
  return body === undefined ? fail('request.too-large', message) : ok(body);
}
