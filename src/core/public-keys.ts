/**
 * Public keys that somebody publishes at an address, for the tokens of callers and of webhooks alike.
 * Guarantee: reading is bounded in time and size and follows no redirect; a secret key in a set verifies nothing.
 */

import { createLocalJWKSet } from 'jose';
import * as v from 'valibot';
import { readChunks } from './bytes.ts';
import { fail, ok, type Result } from './errors.ts';

export type KeySet = ReturnType<typeof createLocalJWKSet>;

const PUBLIC_TYPES: ReadonlySet<string> = new Set(['RSA', 'EC', 'OKP']);
const published = v.pipe(v.string(), v.parseJson(), v.object({ keys: v.array(v.looseObject({ kty: v.string() })) }));

/** @param text a JWK Set (RFC 7517, section 5); undefined for any other */
export function parseKeySet(text: string): KeySet | undefined {
  const parsed = v.safeParse(published, text);
  if (!parsed.success) return undefined;
  return createLocalJWKSet({ keys: parsed.output.keys.filter(({ kty }) => PUBLIC_TYPES.has(kty)) });
}

interface Bounds {
  readonly timeoutMilliseconds: number;
  readonly limitBytes: number;
}

/** Fault `upstream.unavailable`, whose message names the address and is not for everybody. */
export async function readText(
  url: string,
  fetcher: (url: string, init: RequestInit) => Promise<Response>,
  { timeoutMilliseconds, limitBytes }: Bounds,
  init?: RequestInit,
): Promise<Result<string>> {
  const unread = (why: string): Result<never> => fail('upstream.unavailable', `${url} ${why}`);
  try {
    const signal = AbortSignal.timeout(timeoutMilliseconds);
    const { status, body } = await fetcher(url, { ...init, redirect: 'manual', signal });
    if (status !== 200 || body === null) {
      await body?.cancel();
      return unread(`answered ${status}`);
    }
    const bytes = await readChunks(body, limitBytes);
    if (bytes === undefined) return unread(`answered more than ${limitBytes} bytes`);
    return ok(new TextDecoder().decode(bytes));
  } catch (thrown) {
    return unread(`did not answer (${thrown instanceof Error ? thrown.message : 'unknown'})`);
  }
}
