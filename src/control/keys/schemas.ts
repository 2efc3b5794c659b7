/** What a key is made of, as sent and as shown. */

import * as v from 'valibot';
import { instant, iso, isoOrNull } from '../schemas.ts';
import { DURATION } from '../../core/chain/duration.ts';
import { KEY_SCOPE } from '../../core/route/key.ts';
import { keyLimits } from '../../core/route/limits.ts';
import { LIMITS } from '../../core/limits.ts';
import type { KeyRow, ListedKey } from '../../store/keys.ts';

const label = v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(LIMITS.labelCharacters));
const scopes = v.pipe(
  v.array(v.pipe(v.string(), v.regex(KEY_SCOPE))),
  v.minLength(1),
  v.maxLength(LIMITS.keyScopes),
  v.description(
    'What the key may call: `chain:<name>`, `route:<name>`, scopes that a route demands such as `orders:read`; `chain:*` for every chain, `*` for all.',
  ),
);

const changeable = {
  name: v.exactOptional(label),
  scopes: v.exactOptional(scopes),
  expiresAt: v.exactOptional(v.nullable(v.pipe(v.string(), v.isoTimestamp()))),
  owner: v.exactOptional(v.nullable(v.pipe(label, v.description('Who answers for the key.')))),
  tenant: v.exactOptional(v.nullable(v.pipe(label, v.description('The end customer that it acts for.')))),
  description: v.exactOptional(v.nullable(v.pipe(v.string(), v.maxLength(LIMITS.descriptionCharacters)))),
  limits: v.exactOptional(v.nullable(keyLimits)),
};

const signing = v.variant('algorithm', [
  v.strictObject({
    algorithm: v.literal('hmac-sha256'),
    secret: v.optional(
      v.pipe(
        v.string(),
        v.minLength(32),
        v.maxLength(512),
        v.description('A secret that exists already. Default: one is made, and shown this once.'),
      ),
    ),
  }),
  v.strictObject({
    algorithm: v.literal('ed25519'),
    publicKey: v.pipe(v.string(), v.maxLength(64), v.description('32 bytes in base64.')),
  }),
]);

export const newKeySchema = v.strictObject({
  ...changeable,
  name: label,
  scopes: v.optional(scopes, ['chain:*', 'route:*']),
  signing: v.optional(v.pipe(signing, v.description('With what its owner signs requests or tokens.'))),
});

export const changedKeySchema = v.strictObject(changeable);

export const rotationSchema = v.strictObject({
  overlap: v.optional(
    v.pipe(
      v.string(),
      v.regex(DURATION),
      v.examples(['24h']),
      v.description('How long the present key, and its signing secret, can still be used; at most 30d.'),
    ),
    '24h',
  ),
});

export const shownKey = {
  id: v.string(),
  name: v.string(),
  hint: v.pipe(v.string(), v.description('Its beginning and its last four characters.')),
  scopes: v.array(v.string()),
  owner: v.nullable(v.string()),
  tenant: v.nullable(v.string()),
  description: v.nullable(v.string()),
  limits: v.nullable(keyLimits),
  signing: v.nullable(v.picklist(['hmac-sha256', 'ed25519'])),
  createdAt: instant,
  expiresAt: v.nullable(instant),
  previousExpiresAt: v.nullable(v.pipe(instant, v.description('Until when the key that it replaced is good.'))),
  usedAt: v.nullable(v.pipe(instant, v.description('When it was used last, to the minute.'))),
};

export const secretsShownOnce = {
  key: v.string(),
  signingSecret: v.optional(v.string()),
};

export const showKey = (row: KeyRow & Partial<Pick<ListedKey, 'usedAt'>>) => ({
  id: row.id,
  name: row.name,
  hint: row.hint,
  scopes: row.scopes,
  owner: row.owner,
  tenant: row.tenant,
  description: row.description,
  limits: row.limits,
  signing: row.signing?.algorithm ?? null,
  createdAt: iso(row.createdAt),
  expiresAt: isoOrNull(row.expiresAt),
  previousExpiresAt: isoOrNull(row.previousExpiresAt),
  usedAt: isoOrNull(row.usedAt),
});
