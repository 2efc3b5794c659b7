/** What one API key may call. */

/** With what the owner of a key signs requests, as stored. `previous` counts as long as the replaced key does. */
export type KeySigning =
  | { readonly algorithm: 'hmac-sha256'; readonly sealed: string; readonly previous?: string }
  | { readonly algorithm: 'ed25519'; readonly publicKey: string };

/** `chain:<name>`, `route:<name>`, a word of the owner's such as `orders:read`, `<word>:*` for all of a word, `*`. */
export const KEY_SCOPE = /^(?:\*|[a-z][a-z0-9-]{0,62}:(?:\*|[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?))$/;

/** @param wanted e.g. `chain:orders` */
export const scopesAllow = (scopes: readonly string[], wanted: string): boolean =>
  scopes.includes(wanted) || scopes.includes('*') || scopes.includes(`${wanted.slice(0, wanted.indexOf(':') + 1)}*`);
