/** Signing keys of endpoints: read by those who hand them to the receiver, and rotated with an overlap. */

import * as v from 'valibot';
import { findEndpoint, tellChanged } from './find.ts';
import { API, endpoint } from '../endpoint.ts';
import { refuse } from '../issues.ts';
import { jsonBody } from '../request.ts';
import { instant, isoOrNull } from '../schemas.ts';
import { ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { currentKeys, type SigningKey } from '../../core/outbound/signature.ts';
import { openSealed } from '../../runtime/outbound/sealed-parts.ts';
import { recordAction } from '../../store/audit.ts';
import { saveEndpoint } from '../../store/outbound-endpoints.ts';
import { Secret } from '../../vault/secret.ts';
import { isSigningKey, makeSigningKey, verificationKeyOf, type SigningAlgorithm } from '../../vault/signing-key.ts';
import { endpointContext } from '../../vault/vault.ts';

const TAG = 'Endpoints';
const PATH = `${API}/applications/{id}/endpoints/{endpoint}`;

/** What may be said of a key that is made. */
export const newKeyBody = {
  algorithm: v.optional(v.picklist(['hmac-sha256', 'ed25519']), 'hmac-sha256'),
  secret: v.optional(
    v.pipe(
      v.string(),
      v.description('A key that you bring along: `whsec_<base64>` or `whsk_<base64>`. Default: a new random one.'),
      v.transform((value) => new Secret(value)),
    ),
  ),
};

/** Fault `endpoint.invalid` for a key that is brought along and of no form that may sign. */
export async function newKey(algorithm: SigningAlgorithm, given: Secret | undefined): Promise<Result<Secret>> {
  if (given === undefined) return ok(await makeSigningKey(algorithm));
  if (isSigningKey(given.reveal())) return ok(given);
  const message = 'Send whsec_ and base64 of 24 to 64 bytes, or whsk_ and base64 of an Ed25519 seed and public key.';
  return refuse('endpoint.invalid', [{ path: 'secret', message }]);
}

const keysShown = v.strictObject({
  keys: v.pipe(
    v.array(
      v.strictObject({
        key: v.pipe(v.string(), v.description('What the receiver verifies with: `whsec_…`, or the public `whpk_…`.')),
        until: v.nullable(instant),
      }),
    ),
    v.description('The newest first. The others sign until their overlap ends.'),
  ),
});

const show = (keys: readonly SigningKey[], now: number) => ({
  keys: currentKeys(keys, now).map(({ secret, until }) => ({
    key: verificationKeyOf(secret).reveal(),
    until: isoOrNull(until),
  })),
});

const rotateBody = v.strictObject({
  ...newKeyBody,
  overlapSeconds: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(LIMITS.keyOverlapLongestSeconds)),
    LIMITS.keyOverlapSeconds,
  ),
});

export const keyResources = [
  endpoint({
    id: 'getEndpointKey',
    tag: TAG,
    summary: 'Read the keys that the receiver verifies with',
    role: 'admin',
    method: 'GET',
    path: `${PATH}/key`,
    replies: { 200: { description: 'Noted in the audit log.', schema: keysShown } },
    faults: ['application.not-found', 'endpoint.not-found', 'vault.closed', 'vault.unreadable'],
    async handle({ ports, actor, params: { id, endpoint: name } }) {
      const found = await findEndpoint(ports, id, name);
      if (!found.ok) return found;
      if (!ports.vault.ok) return ports.vault;
      const { keys } = await openSealed(ports.vault.value, found.value, { kind: 'management', actor });
      const now = ports.now();
      await recordAction(ports.db, { at: now, actor, action: 'endpoint.read-key', subject: name });
      return ok({ status: 200, body: show(keys, now) });
    },
  }),

  endpoint({
    id: 'rotateEndpointKey',
    tag: TAG,
    summary: 'Sign with a new key, and for a time with the old one too',
    role: 'admin',
    method: 'POST',
    path: `${PATH}/rotate`,
    body: jsonBody(rotateBody, true),
    replies: { 200: { description: 'Deliveries carry a signature of each key.', schema: keysShown } },
    faults: ['application.not-found', 'endpoint.not-found', 'endpoint.invalid', 'vault.closed', 'vault.unreadable'],
    async handle({ ports, actor, params: { id, endpoint: name }, body: { algorithm, secret, overlapSeconds } }) {
      const found = await findEndpoint(ports, id, name);
      if (!found.ok) return found;
      if (!ports.vault.ok) return ports.vault;
      const made = await newKey(algorithm, secret);
      if (!made.ok) return made;
      const { keys: before, headers } = await openSealed(ports.vault.value, found.value, { kind: 'management', actor });
      const now = ports.now();
      const until = now + overlapSeconds * 1_000;
      const replaced = before.map((key) => ({ ...key, until: Math.min(key.until ?? until, until) }));
      const keys = [{ secret: made.value.reveal() }, ...currentKeys(replaced, now)].slice(0, LIMITS.endpointKeys);
      const { application } = found.value;
      const sealed = await ports.vault.value.seal(endpointContext(application, name), { keys, headers });
      await saveEndpoint(ports.db, { ...found.value, sealed, updatedAt: now }, 'endpoint.rotate', actor, now);
      await tellChanged(ports, application, name);
      return ok({ status: 200, body: show(keys, now) });
    },
  }),
];
