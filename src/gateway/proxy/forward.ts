/**
 * Route → upstream: chooses a target, sends the request, and gives back the reply while it is still coming.
 *
 * Guarantee: bodies pass as streams both ways and are never held in memory, but for a small one of a request that
 * may be repeated. Redirects are passed on, never followed. A request is repeated only where its method allows it.
 * Accepted weakness: trailers are not passed on; the runtime has none. Where the runtime does not notice that the
 * caller has left (workerd, until it writes), the upstream is given up when the timeout for headers is over.
 */

import { compressed, withTimeouts } from './body.ts';
import { within } from './deadline.ts';
import { prepareHeaders } from './headers.ts';
import { BUDGET, chooseTarget, noteCall, poolOf, stickyKey, type Pool } from './pool.ts';
import type { Exchange, Identity } from '../exchange.ts';
import { fault, FaultError, problemResponse, type Fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { admit, settleCall } from '../../core/policy/breaker.ts';
import { isRepeatable, noteRequest, takeRetry, type RetryPlan, type RetryReason } from '../../core/proxy/retries.ts';
import type { PoolPlan } from '../../core/route/upstream.ts';
import { unhealthyTargets } from '../../runtime/health.ts';
import { hostOf } from '../../runtime/host.ts';

/** What goes to the upstream. */
export interface Outgoing {
  /** With the query. Without dot segments: it is put behind the base of the target. */
  readonly path: string;
  /** Undefined: those of the request. Given ones are changed here. */
  readonly headers?: Headers | undefined;
  /** Undefined: that of the request. */
  readonly body?: string | undefined;
}

export interface ForwardOptions {
  /** Instead of the pool's own. */
  readonly headersTimeoutMilliseconds?: number | undefined;
  readonly compress?: boolean;
  /** Names of headers with credentials that the gateway itself has used up. */
  readonly credentials?: Iterable<string>;
  readonly identity?: Identity | undefined;
  /** What the expression of a sticky pool may read. */
  readonly scope?: (() => Readonly<Record<string, unknown>>) | undefined;
}

interface Call {
  readonly plan: PoolPlan;
  readonly exchange: Exchange;
  readonly path: string;
  readonly headers: Headers;
  readonly body: ReadableStream | ArrayBuffer | string | null;
  readonly timeoutMilliseconds: number;
  readonly retries: RetryPlan | undefined;
  readonly key: string | undefined;
  readonly unhealthy: ReadonlySet<string> | undefined;
}

/** What came of one, and what may be tried again for that reason. */
type Attempt = { readonly reason: RetryReason | undefined } & (Replied | Failed);
interface Replied {
  readonly reply: Response;
  readonly fault?: undefined;
}
interface Failed {
  readonly reply?: undefined;
  readonly fault: Fault;
}

/** The reply of the pool, or problem JSON: 502 `upstream.unreachable`, 503 `upstream.unavailable`, 504 `upstream.timeout`. */
export function forward(
  plan: PoolPlan,
  exchange: Exchange,
  outgoing: Outgoing,
  options: ForwardOptions = {},
): Promise<Response> {
  const { method, request, receivedAt, env, ctx } = exchange;
  const headers = outgoing.headers ?? new Headers(exchange.headers);
  prepareHeaders(headers, exchange, { forwarded: plan.forwarded, credentials: options.credentials ?? [] });
  const { retries } = plan;
  const hasKey = (): boolean => headers.has('idempotency-key');
  const call: Call = {
    plan,
    exchange,
    path: outgoing.path,
    headers,
    body: outgoing.body ?? request.body,
    timeoutMilliseconds: options.headersTimeoutMilliseconds ?? plan.headersTimeoutMilliseconds,
    retries: retries !== undefined && isRepeatable(retries, method, hasKey) ? retries : undefined,
    key: undefined,
    unhealthy: plan.active === undefined ? undefined : unhealthyTargets(env, ctx, plan.name, receivedAt),
  };
  const answerOf = ({ reply, fault: reason }: Attempt): Response =>
    reply === undefined ? problemResponse(reason) : finished(reply, plan, exchange, options.compress === true);
  const [first = ''] = plan.urls;
  // Nothing to choose, and what could be noted of the target nobody would read.
  const isPlain =
    call.retries === undefined && plan.urls.length === 1 && plan.breaker === undefined && plan.by === undefined;
  return isPlain ? send(call, first, answerOf) : byRules(call, options).then(answerOf);
}

function finished(reply: Response, plan: PoolPlan, { method, headers, receivedAt }: Exchange, compress: boolean) {
  const { idleTimeoutMilliseconds: idleMilliseconds, totalTimeoutMilliseconds: total } = plan;
  let answer = reply;
  if (idleMilliseconds !== undefined || total !== undefined) {
    const totalMilliseconds = total === undefined ? undefined : total - (Date.now() - receivedAt);
    answer = withTimeouts(answer, { idleMilliseconds, totalMilliseconds });
  }
  return compress ? compressed(answer, method, headers.get('accept-encoding')) : answer;
}

async function byRules(given: Call, { identity, scope }: ForwardOptions): Promise<Attempt> {
  const { plan, exchange } = given;
  const key = await stickyKey(plan, exchange, identity, scope);
  const call = { ...(await withRepeatableBody(given)), key };
  const pool = poolOf(plan, exchange.receivedAt);
  return call.retries === undefined ? attempt(call, pool, []) : attempts(call, pool, call.retries);
}

/** Without retries where the body is too large to be kept for them. */
async function withRepeatableBody(call: Call): Promise<Call> {
  const { retries, body, exchange } = call;
  if (retries === undefined || typeof body !== 'object' || body === null) return call;
  const length = Number(exchange.headers.get('content-length') ?? Infinity);
  if (length > LIMITS.retryBodyBytes) return { ...call, retries: undefined };
  return { ...call, body: await exchange.request.arrayBuffer() };
}

async function attempts(call: Call, pool: Pool, retries: RetryPlan): Promise<Attempt> {
  const { budget } = pool;
  noteRequest(budget, BUDGET, call.exchange.receivedAt);
  const tried: number[] = [];
  for (let count = 1; ; count++) {
    const result = await attempt(call, pool, tried);
    const again = result.reason !== undefined && retries.on.has(result.reason);
    if (!again || count >= retries.attempts || !takeRetry(budget)) return result;
    await result.reply?.body?.cancel();
    if (tried.length >= pool.all.length) {
      await scheduler.wait(LIMITS.retryPauseMilliseconds * 2 ** (count - 1) * (0.5 + Math.random() / 2));
    }
  }
}

/** @param tried where the target is added that was chosen */
async function attempt(call: Call, pool: Pool, tried: number[]): Promise<Attempt> {
  const { plan, key, unhealthy } = call;
  const { breaker } = pool;
  const startedAt = Date.now();
  const callMilliseconds = call.timeoutMilliseconds + LIMITS.breakerProbeGraceMilliseconds;
  const admission = breaker && admit(breaker, startedAt, callMilliseconds);
  if (admission !== undefined && admission.pass === undefined) return refusedUntil(admission.until, startedAt);
  const index = chooseTarget(pool, { key, unhealthy, tried }, startedAt);
  tried.push(index);
  const result = await send(call, plan.urls[index] ?? '', (outcome) => outcome);
  const now = Date.now();
  const failed = result.reply === undefined || plan.failures.has(result.reply.status);
  noteCall(pool, index, failed, startedAt, now);
  if (breaker !== undefined && admission !== undefined) {
    const news = settleCall(breaker, admission.pass, { kind: failed ? 'failed' : 'succeeded' }, now);
    if (news !== undefined) console.warn(`upstream ${plan.name}: the breaker has ${news}`);
  }
  return result;
}

function refusedUntil(until: number, now: number): Attempt {
  const message = 'The upstream has failed too often; it gets no requests for a while.';
  const extra = { status: 503, retryAfterMilliseconds: until - now };
  return { fault: fault('upstream.unavailable', message, extra), reason: undefined };
}

const REASONS: ReadonlyMap<number, RetryReason> = new Map([
  [502, '502'],
  [503, '503'],
  [504, '504'],
]);

/** What `make` makes of the attempt. Never rejects. */
function send<T>(call: Call, base: string, make: (outcome: Attempt) => T): Promise<T> {
  const { exchange, headers, body, path, retries, timeoutMilliseconds } = call;
  const { env, ctx, method, hops } = exchange;
  // A last attempt needs none: the runtime ends it with the request.
  const controller = retries === undefined ? undefined : new AbortController();
  const init: RequestInit = { method, headers, body, redirect: 'manual' };
  if (controller !== undefined) init.signal = controller.signal;
  // Cloudflare's own cache knows nothing of who is asking.
  if (env.EGRESS === undefined && (method === 'GET' || method === 'HEAD')) init.cache = 'no-store';
  const done = (reply: Response | undefined): T => {
    if (reply !== undefined) return make({ reply, reason: retries && REASONS.get(reply.status) });
    controller?.abort();
    return make({ fault: fault('upstream.timeout', 'The upstream did not answer in time.'), reason: 'timeout' });
  };
  const failed = (thrown: unknown): T => {
    if (thrown instanceof FaultError) return make({ fault: { ...thrown.fault, status: 502 }, reason: undefined });
    console.warn(`upstream ${call.plan.name}: ${base} could not be reached`, thrown);
    const reason = fault('upstream.unreachable', 'The upstream could not be reached.', { detail: thrown });
    return make({ fault: reason, reason: 'connect' });
  };
  try {
    return within(hostOf(env).fetch(base + path, init, { hops }), timeoutMilliseconds, ctx, done, failed);
  } catch (thrown) {
    return Promise.resolve(failed(thrown));
  }
}
