/**
 * Permits of requests under way. Each request that is under way keeps its permit alive by itself, so that a
 * stream of hours holds it, and a crashed isolate does not.
 */

import { callLimiter } from '../../runtime/limiter-calls.ts';
import type { Exchange } from '../exchange.ts';
import { LIMITS } from '../../core/limits.ts';
import { storeOf, type Answer, type Ask, type PermitRule } from '../../core/policy/limiter.ts';
import type { Env } from '../../env.ts';

/** Permits that one answer gave, or what is left of them. */
interface Grant {
  readonly id: number;
  busy: number;
  idle: number;
  expiresAt: number;
  saidAt: number;
}

/** How long permits rest in an isolate where the limit has some to spare. */
const REST_MILLISECONDS = 1_000;

export class Permits {
  readonly key: string;
  rule: PermitRule;
  readonly #grants = new Set<Grant>();

  constructor(key: string, rule: PermitRule) {
    this.key = key;
    this.rule = rule;
  }

  /** A permit of this isolate, where one is idle. */
  take(now: number): Grant | undefined {
    for (const grant of this.#grants) {
      if (grant.idle === 0 || grant.expiresAt <= now) continue;
      grant.idle--;
      grant.busy++;
      return grant;
    }
    return undefined;
  }

  get ask(): Ask {
    return { key: this.key, rule: this.rule, need: 1, want: storeOf(this.rule.limit), settle: [] };
  }

  learn({ ok, id, tokens, lifeMilliseconds }: Answer, sentAt: number): Grant | undefined {
    if (!ok) return undefined;
    const grant = { id, busy: 1, idle: tokens - 1, expiresAt: sentAt + lifeMilliseconds, saidAt: sentAt };
    this.#grants.add(grant);
    return grant;
  }

  /** Keeps the permit for a request until the function that it returns is called. */
  hold(grant: Grant, { env, ctx }: Pick<Exchange, 'env' | 'ctx'>): () => void {
    let end = (): void => undefined;
    const ended = new Promise<'ended'>((resolve) => {
      end = () => resolve('ended');
    });
    ctx.waitUntil(this.#keep(grant, ended, env));
    return end;
  }

  async #keep(grant: Grant, ended: Promise<'ended'>, env: Env): Promise<void> {
    while ((await Promise.race([ended, pause(LIMITS.limiterHeartbeatMilliseconds, ended)])) !== 'ended') {
      if (Date.now() - grant.saidAt >= LIMITS.limiterHeartbeatMilliseconds / 2) await this.#say(grant, env);
    }
    grant.busy--;
    grant.idle++;
    if (storeOf(this.rule.limit) > 0) await scheduler.wait(REST_MILLISECONDS);
    if (grant.idle > 0) {
      grant.idle = 0;
      if (grant.busy === 0) this.#grants.delete(grant);
      await this.#say(grant, env);
    }
  }

  /** Tells the object how many permits of the grant are held. */
  async #say(grant: Grant, env: Env): Promise<void> {
    const sentAt = Date.now();
    grant.saidAt = sentAt;
    const held = grant.busy + grant.idle;
    const settlement = { id: grant.id, used: [0, held], returned: held === 0 ? 0 : undefined };
    const { key, rule } = this;
    const [answer] = await callLimiter(env, [{ key, rule, need: 0, want: 0, settle: [settlement] }]);
    if (answer !== undefined) grant.expiresAt = sentAt + answer.lifeMilliseconds;
  }
}

/** A timer that does not outlive what it waits beside. */
async function pause(milliseconds: number, ended: Promise<unknown>): Promise<'pause'> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    void ended.then(() => clearTimeout(timer));
  });
  return 'pause';
}

const pools = new Map<string, Permits>();

export function permitsOf(key: string, rule: PermitRule): Permits {
  const known = pools.get(key);
  if (known !== undefined) {
    known.rule = rule;
    return known;
  }
  const [oldest] = pools.keys();
  // Requests that are under way keep their grants; only idle permits are given up.
  if (pools.size >= LIMITS.limiterKeysPerIsolate && oldest !== undefined) pools.delete(oldest);
  const made = new Permits(key, rule);
  pools.set(key, made);
  return made;
}
