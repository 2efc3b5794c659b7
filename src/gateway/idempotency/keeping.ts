/** Keeps the response of a request with an idempotency key, and gives it again. */

import type { Hold } from './stage.ts';
import { fault, problemResponse } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { Env } from '../../env.ts';
import { idempotencyStub, type KeptResponse } from '../../runtime/idempotency-object.ts';
import { array, parse, parseJson, pipe, string, tuple } from 'valibot';

type Head = Pick<KeptResponse, 'status' | 'headers'>;

/** Once more where it fails: what is not kept would be done again. */
export async function finished({ env, id, token }: Hold, response: KeptResponse): Promise<void> {
  const finish = (): Promise<boolean> => idempotencyStub(env, id).finish(id, token, response);
  const isKept = await finish().catch(finish);
  if (!isKept) console.error('another request holds the idempotency key by now; this response is not kept');
}

/**
 * Rejects where the body breaks off.
 * @param onLarge is called when it is larger than what the caller is made to wait for
 */
export async function keepBody(
  hold: Hold,
  head: Head,
  stream: ReadableStream<Uint8Array>,
  onLarge: () => void,
): Promise<void> {
  const { env, id, token } = hold;
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of stream) {
    size += part.byteLength;
    if (size > LIMITS.idempotencyRowBytes) onLarge();
    if (size > mostBytes(env)) {
      // It stays known that the work was done.
      await finished(hold, { ...head, body: undefined, blob: undefined });
      return;
    }
    parts.push(part);
  }
  const body = await new Blob(parts).arrayBuffer();
  if (size <= LIMITS.idempotencyRowBytes) return finished(hold, { ...head, body, blob: undefined });
  const blob = `idempotency/${id}/${token}`;
  await env.BLOBS?.put(blob, body);
  return finished(hold, { ...head, body: undefined, blob });
}

const mostBytes = ({ BLOBS }: Env): number =>
  BLOBS === undefined ? LIMITS.idempotencyRowBytes : LIMITS.idempotencyBodyBytes;

const fields = pipe(string(), parseJson(), array(tuple([string(), string()])));

/** The first response once more. Fault `idempotency.not-kept`. */
export async function replayOf(env: Env, kept: KeptResponse): Promise<Response> {
  const content = kept.blob === undefined ? kept.body : (await env.BLOBS?.get(kept.blob))?.body;
  if (content === undefined) {
    const message = `The request with this key was carried out and answered with ${kept.status}, but that response was too large to be kept.`;
    return problemResponse(fault('idempotency.not-kept', message));
  }
  const headers = new Headers(parse(fields, kept.headers));
  headers.set('idempotency-replayed', 'true');
  const isEmpty = content instanceof ArrayBuffer && content.byteLength === 0;
  return new Response(isEmpty ? null : content, { status: kept.status, headers });
}
