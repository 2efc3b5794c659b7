/** The canonical form of a document (RFC 8785), and the hash that identifies a version by content. */

import { isObject } from '../json.ts';

/**
 * JSON with sorted keys, no white space and ECMAScript's numbers. Deviates from RFC 8785 in one point:
 * a lone surrogate is written as an escape instead of being an error, because any document has a hash.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  if (!isObject(value)) return JSON.stringify(value);
  // The default order of sort() is by UTF-16 code units, as section 3.2.3 asks.
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key])}`);
  return `{${members.join(',')}}`;
}

/** SHA-256 of the canonical form, 64 hexadecimal digits. The document is one that has been compiled. */
export async function hashDocument(document: unknown): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(canonicalJson(document)));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
