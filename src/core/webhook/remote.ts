/**
 * Keys that stand at an address: certificates and key sets, kept by source.
 *
 * Guarantee: an address is fetched only after its caller has checked it, at most so many times a minute,
 * with a bound on time and size, and no redirect is followed. Only values are kept, never promises: the
 * platform does not let one request wait for the network traffic of another.
 * Accepted weakness: who names many unknown keys uses up the fetches of that minute; a key that is kept
 * already goes on working, a new one waits for the next minute.
 */

import type { Reading } from './request.ts';
import type { UrlPattern } from './scheme.ts';
import { readChunks } from '../bytes.ts';
import { fail, ok, type Result } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { hostOf } from '../url.ts';

const MINUTE_MILLISECONDS = 60_000;

interface Kept<T> {
  readonly value: T;
  readonly atMilliseconds: number;
}

export interface Remote<T> {
  /**
   * @param id what the value is kept under
   * @param anew fetched again even where it is kept
   * Fault `upstream.unavailable`, `upstream.invalid`, or those of the guarded fetch.
   */
  get(id: string, url: string, reading: Reading, init?: RequestInit, anew?: boolean): Promise<Result<T>>;
}

/** @param parse undefined where the text holds no such key */
export function remote<T>(parse: (text: string) => Promise<T | undefined>): Remote<T> {
  const kept = new Map<string, Kept<T>>();
  let fetchedAt: number[] = [];
  return {
    async get(id, url, { request }, init, anew = false) {
      const now = request.nowMilliseconds;
      const known = kept.get(id);
      if (known !== undefined && !anew && now - known.atMilliseconds < LIMITS.webhookKeyMilliseconds) {
        return ok(known.value);
      }
      fetchedAt = fetchedAt.filter((at) => now - at < MINUTE_MILLISECONDS);
      if (fetchedAt.length >= LIMITS.webhookKeyFetchesPerMinute) return unavailable(url);
      fetchedAt.push(now);
      const text = await fetchText(url, request.fetch, init);
      if (!text.ok) return text;
      const value = await parse(text.value);
      if (value === undefined) return fail('upstream.invalid', `What ${hostOf(url)} sent holds no usable key.`);
      if (kept.size >= LIMITS.webhookKeysInMemory) kept.delete(kept.keys().next().value ?? '');
      kept.set(id, { value, atMilliseconds: now });
      return ok(value);
    },
  };
}

const unavailable = (url: string): Result<never> =>
  fail('upstream.unavailable', `The key at ${hostOf(url)} could not be fetched.`);

async function fetchText(
  url: string,
  fetcher: Reading['request']['fetch'],
  init?: RequestInit,
): Promise<Result<string>> {
  try {
    const signal = AbortSignal.timeout(LIMITS.webhookKeyTimeoutMilliseconds);
    const response = await fetcher(url, { ...init, redirect: 'manual', signal });
    if (response.status !== 200 || response.body === null) return unavailable(url);
    const bytes = await readChunks(response.body, LIMITS.webhookKeyBytes);
    return bytes === undefined ? unavailable(url) : ok(new TextDecoder().decode(bytes));
  } catch {
    return unavailable(url);
  }
}

/** Whether the address is one of these: https, the usual port, no credentials, and host and path fit. */
export function isAllowed(url: string, { host, path }: UrlPattern): boolean {
  const parsed = URL.parse(url);
  return (
    parsed?.protocol === 'https:' &&
    parsed.host === parsed.hostname &&
    parsed.username === '' &&
    parsed.password === '' &&
    host.test(parsed.hostname) &&
    path.test(parsed.pathname)
  );
}
