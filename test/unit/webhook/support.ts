/** Verbs that make a webhook test one line. */

import { expect } from 'vitest';
import { NOW, sampleOf, URL_GIVEN, type Sample } from './samples.ts';
import type { Result } from '../../../src/core/errors.ts';
import { prepareSource, verify, type PreparedSource } from '../../../src/core/webhook/index.ts';
import type { WebhookRequest } from '../../../src/core/webhook/request.ts';
import type { SignatureScheme } from '../../../src/core/webhook/scheme.ts';
import type { VerifiedWebhook } from '../../../src/core/webhook/verify.ts';

export { NOW, SECONDS, SOME_BODY } from './samples.ts';

export const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** By default with the secret and the settings of the scheme's sample. */
export async function source(
  scheme: string,
  secrets?: readonly string[],
  settings: unknown = sampleOf(scheme).settings,
): Promise<PreparedSource> {
  const { secret } = sampleOf(scheme);
  const prepared = await prepareSource({
    name: 'shop',
    scheme,
    secrets: secrets ?? (secret === undefined ? [] : [secret]),
    settings,
  });
  if (!prepared.ok) throw new Error(prepared.fault.message);
  return prepared.value;
}

export function signatureScheme({ scheme }: PreparedSource): SignatureScheme {
  if (scheme.proof !== 'signature') throw new Error(`${scheme.title} signs nothing.`);
  return scheme;
}

export type Changes = Partial<Pick<WebhookRequest, 'method' | 'url' | 'nowMilliseconds' | 'fetch'>> & {
  readonly headers?: HeadersInit;
  readonly body?: string | Uint8Array;
};

export function requestOf(sample: Sample, changes: Changes = {}): WebhookRequest {
  const body = changes.body ?? sample.body;
  return {
    method: changes.method ?? sample.method ?? 'POST',
    url: changes.url ?? sample.url ?? URL_GIVEN,
    headers: new Headers(changes.headers ?? sample.headers),
    body: typeof body === 'string' ? bytes(body) : body,
    nowMilliseconds: changes.nowMilliseconds ?? NOW,
    fetch: changes.fetch ?? sample.fetch ?? (() => Promise.reject(new Error('The test serves no address.'))),
  };
}

export const check = (prepared: PreparedSource, sample: Sample, changes?: Changes): Promise<Result<VerifiedWebhook>> =>
  verify(prepared, requestOf(sample, changes));

export async function expectAccepted(result: Promise<Result<VerifiedWebhook>>): Promise<VerifiedWebhook> {
  const settled = await result;
  if (!settled.ok) throw new Error(`Refused: ${settled.fault.message}`);
  return settled.value;
}

/** Refused with a message that says which part failed. */
export async function expectRefused(result: Promise<Result<VerifiedWebhook>>, message: RegExp): Promise<void> {
  const settled = await result;
  expect(settled.ok, 'must be refused').toBe(false);
  if (settled.ok) return;
  expect(settled.fault.code).toBe('webhook.unverified');
  expect(settled.fault.message).toMatch(message);
}

/** One bit flipped at each position, each byte dropped, and something appended. */
export function* mutationsOf(original: Uint8Array): Generator<Uint8Array> {
  for (let index = 0; index < original.length; index++) {
    const flipped = original.slice();
    flipped[index] = (flipped[index] ?? 0) ^ (1 << (index % 8));
    yield flipped;
    yield Uint8Array.from([...original.subarray(0, index), ...original.subarray(index + 1)]);
  }
  for (const more of ['\0', ' ', '0', '=', '\n', '}', '&']) yield Uint8Array.from([...original, ...bytes(more)]);
}

/** The same of a header's value, as far as it can arrive: what is no header value never does. */
export function* headerMutations(value: string): Generator<string> {
  const seen = new Set([value]);
  for (const mutated of mutationsOf(bytes(value))) {
    const text = new TextDecoder('latin1').decode(mutated);
    if (!/^[!-~](?:[ -~]*[!-~])?$/.test(text) || seen.has(text)) continue;
    seen.add(text);
    yield text;
  }
}
