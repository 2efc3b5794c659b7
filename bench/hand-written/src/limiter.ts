/** A limit as one would write it by hand: a call of an object for each request. The other side of `-- limit`. */

import { DurableObject } from 'cloudflare:workers';

interface Env {
  readonly LIMITER: DurableObjectNamespace<Limiter>;
}

const LIMIT = 10_000_000;
const PERIOD_MILLISECONDS = 10_000;
const KEYS = 10_000;
const SHARDS = 32;

/** Fixed windows in memory. */
export class Limiter extends DurableObject<Env> {
  readonly #windows = new Map<string, { endsAt: number; left: number }>();

  take(key: string): { ok: boolean; left: number; endsAt: number } {
    const now = Date.now();
    let window = this.#windows.get(key);
    if (window === undefined || window.endsAt <= now) {
      window = { endsAt: now + PERIOD_MILLISECONDS, left: LIMIT };
      this.#windows.set(key, window);
    }
    return { ok: window.left > 0 && window.left-- > 0, left: window.left, endsAt: window.endsAt };
  }
}

let requests = 0;

export default {
  async fetch(request, env): Promise<Response> {
    const index = new URL(request.url).pathname === '/many' ? requests++ % KEYS : 0;
    const { ok, left, endsAt } = await env.LIMITER.getByName(`limiter-${index % SHARDS}`).take(`key_${index}`);
    const seconds = Math.ceil((endsAt - Date.now()) / 1_000);
    if (!ok) return Response.json({ error: 'limit' }, { status: 429, headers: { 'retry-after': String(seconds) } });
    return new Response('ok', {
      headers: { 'ratelimit-policy': `"limit";q=${LIMIT};w=10`, ratelimit: `"limit";r=${left};t=${seconds}` },
    });
  },
} satisfies ExportedHandler<Env>;
