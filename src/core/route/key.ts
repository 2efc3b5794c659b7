/** What one API key may call, and how much of it: kept with the key, the limits obeyed by the limiter. */

import * as v from 'valibot';
import { DURATION } from '../chain/duration.ts';

const count = (description: string) =>
  v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1_000_000_000_000), v.description(description));

export const keyLimitsSchema = v.strictObject({
  rate: v.optional(
    v.strictObject({
      limit: count('Requests in a period.'),
      period: v.pipe(v.string(), v.regex(DURATION), v.examples(['10s', '1m']), v.description('The period.')),
    }),
  ),
  quota: v.optional(
    v.strictObject({
      day: v.optional(count('Requests in a day, in UTC.')),
      month: v.optional(count('Requests in a month, in UTC.')),
    }),
  ),
});

export type KeyLimits = v.InferOutput<typeof keyLimitsSchema>;

/** With what the owner of a key signs requests, as stored. `previous` counts as long as the replaced key does. */
export type KeySigning =
  | { readonly algorithm: 'hmac-sha256'; readonly sealed: string; readonly previous?: string }
  | { readonly algorithm: 'ed25519'; readonly publicKey: string };

/** `chain:<name>`, `route:<name>`, a word of the owner's such as `orders:read`, `<word>:*` for all of a word, `*`. */
export const KEY_SCOPE = /^(?:\*|[a-z][a-z0-9-]{0,62}:(?:\*|[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?))$/;

/** @param wanted e.g. `chain:orders` */
export const scopesAllow = (scopes: readonly string[], wanted: string): boolean =>
  scopes.includes(wanted) || scopes.includes('*') || scopes.includes(`${wanted.slice(0, wanted.indexOf(':') + 1)}*`);
