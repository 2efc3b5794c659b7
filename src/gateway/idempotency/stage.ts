/**
 * The stage `idempotency`: a request with a key is carried out once
 * (draft-ietf-httpapi-idempotency-key-header).
 *
 * Guarantee: a repeat of the same caller, to the same target, with the same key gets the first response, or is
 * refused; never is the work done by two requests at a time, and never again once its response is kept. The
 * answer is sent when it is kept, but for bodies over `idempotencyRowBytes` and streams of events.
 * Accepted weakness: what a response that was not kept has done before (a 5xx, a crash) is for the target to
 * know. It is handed the key (`dedupeKey`), so that a durable run is found again.
 */

import { readBytes } from '../body.ts';
import type { Exchange, Identity } from '../exchange.ts';
import { fault, problemResponse, type Fault } from '../../core/errors.ts';
import { credentialsOf } from '../../core/http-cache/key.ts';
import { storedFields } from '../../core/http-cache/storing.ts';
import { LIMITS } from '../../core/limits.ts';
import { parseIdempotencyKey, type IdempotencyPlan } from '../../core/route/idempotency.ts';
import type { Env } from '../../env.ts';
import { idempotencyStub, type Begun } from '../../runtime/idempotency-object.ts';
import { sha256, toHex, type Bytes } from '../../vault/bytes.ts';
import { finished, keepBody, replayOf } from './keeping.ts';

/** @param dedupeKey the same for each try of the same work; undefined where the caller sent no key */
export type Work = (request: Request, dedupeKey: string | undefined) => Promise<Response>;

/** A key that this request holds. */
export interface Hold {
  readonly env: Env;
  readonly id: string;
  readonly token: number;
}

export function withIdempotency(
  plan: IdempotencyPlan,
  exchange: Exchange,
  identity: Identity | undefined,
  work: Work,
): Promise<Response> {
  const { method, request, headers } = exchange;
  if (!plan.methods.has(method)) return work(request, undefined);
  const header = headers.get('idempotency-key');
  if (header !== null) return keyed(plan, exchange, identity, header, work);
  if (!plan.required) return work(request, undefined);
  const message =
    'Send a random text, e.g. a UUID in double quotes, as Idempotency-Key, and the same with each repeat.';
  return Promise.resolve(problemResponse(fault('idempotency.missing', message)));
}

async function keyed(
  plan: IdempotencyPlan,
  exchange: Exchange,
  identity: Identity | undefined,
  header: string,
  work: Work,
): Promise<Response> {
  const { env, ctx, request, target } = exchange;
  const key = parseIdempotencyKey(header);
  if (!key.ok) return problemResponse(key.fault);
  const body = await readBytes(request, LIMITS.idempotencyRequestBytes);
  if (!body.ok) return problemResponse(body.fault);
  const bytes: Bytes = new Uint8Array(body.value);
  const [id, fingerprint] = await Promise.all([
    hashOf([identity === undefined ? 'anonymous' : ['identity', identity.id], target, key.value]),
    fingerprintOf(exchange, identity, bytes),
  ]);
  const begun = await begin(env, { id, fingerprint, ttlMilliseconds: plan.ttlMilliseconds });
  if (begun.kind === 'refused') return problemResponse(begun.fault);
  if (begun.kind === 'done') return replayOf(env, begun.response);
  // The request goes on where its body was, and without the signal of a caller who may leave.
  const whole = new Request(request, { method: exchange.method, body: bytes, signal: null });
  const dedupeKey = `idempotency:${id}:${begun.epoch}:${fingerprint}`;
  const running = carriedOut(plan, exchange, { env, id, token: begun.token }, () => work(whole, dedupeKey));
  ctx.waitUntil(running.catch(() => undefined));
  return running;
}

const hashOf = async (value: unknown): Promise<string> => toHex(await sha256(JSON.stringify(value)));

/** A stranger's credentials belong to what is asked: with others the key is refused, and nothing is told of the first. */
async function fingerprintOf(
  { method, url, headers }: Exchange,
  identity: Identity | undefined,
  body: Bytes,
): Promise<string> {
  const digest = toHex(new Uint8Array(await crypto.subtle.digest('SHA-256', body)));
  return hashOf([method, url, identity === undefined ? credentialsOf(headers) : [], digest]);
}

type Started = Extract<Begun, { kind: 'first' | 'done' }> | { readonly kind: 'refused'; readonly fault: Fault };

async function begin(env: Env, request: Parameters<ReturnType<typeof idempotencyStub>['begin']>[0]): Promise<Started> {
  const begun = await idempotencyStub(env, request.id)
    .begin(request)
    .catch((thrown: unknown) => {
      console.error('an idempotency key could not be looked up', thrown);
      return undefined;
    });
  const refused = (value: Fault): Started => ({ kind: 'refused', fault: value });
  if (begun === undefined) {
    return refused(
      fault('storage.unavailable', 'The idempotency key could not be looked up; nothing was done. Try again.'),
    );
  }
  switch (begun.kind) {
    case 'running':
      return refused(
        fault('idempotency.running', 'The first request with this key is being carried out; ask again later.', {
          retryAfterMilliseconds: Math.min(begun.freeInMilliseconds, LIMITS.idempotencyRetryMilliseconds),
        }),
      );
    case 'mismatch':
      return refused(
        fault('idempotency.mismatch', 'This key came with another method, address or body before. Use a new one.'),
      );
    case 'first':
    case 'done':
      return begun;
  }
}

async function carriedOut(
  plan: IdempotencyPlan,
  { ctx }: Exchange,
  hold: Hold,
  work: () => Promise<Response>,
): Promise<Response> {
  const { env, id, token } = hold;
  const stub = idempotencyStub(env, id);
  const release = (isNew: boolean): Promise<unknown> => stub.release(id, token, isNew).catch(lost);
  const alive = setInterval(() => void stub.renew(id, token).catch(lost), LIMITS.idempotencyLockMilliseconds / 3);
  let keeping: Promise<void> = Promise.resolve();
  try {
    const response = await work();
    const { status, headers, body } = response;
    if (plan.isRetryable(status)) {
      // A run that is known to have failed is not to be found again; of anything else it is not known.
      await release(headers.has('tidegate-run'));
      return response;
    }
    if (response.webSocket) throw new Error('A WebSocket has no idempotency key.');
    const kept = { status, headers: JSON.stringify(storedFields(headers)) };
    if (body === null) {
      await finished(hold, { ...kept, body: new ArrayBuffer(0), blob: undefined });
      return response;
    }
    const [own, copy] = body.tee();
    const { promise: isLarge, resolve: noteLarge } = Promise.withResolvers<void>();
    keeping = keepBody(hold, kept, copy, noteLarge).catch(async (thrown: unknown) => {
      lost(thrown);
      await release(false);
    });
    ctx.waitUntil(keeping);
    const isStream = headers.get('content-type')?.startsWith('text/event-stream') === true;
    if (!isStream) await Promise.race([keeping, isLarge]);
    return new Response(own, response);
  } catch (thrown) {
    await release(false);
    throw thrown;
  } finally {
    // A long body is still being kept when its head has been answered.
    void keeping.finally(() => clearInterval(alive));
  }
}

/** The lock ends by itself. */
const lost = (thrown: unknown): void => console.error('an idempotency key could not be brought up to date', thrown);
