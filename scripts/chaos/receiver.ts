/**
 * The receiver of the effects, in a process that nobody kills. It notes every request, and honours
 * idempotency keys in the usual way: a repeated key gets the reply of the first and takes effect no more.
 */

import { createServer, type IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Effect, Receipt } from './verdict.ts';
import { listen, type Running } from '../servers/process.ts';

export interface Receiver extends Running {
  readonly host: string;
  readonly receipts: readonly Receipt[];
  readonly effects: readonly Effect[];
}

/** @param replyMilliseconds how long an effect takes; a kill falls into that */
export async function startReceiver(
  replyMilliseconds: () => number,
  tookEffect: (effect: Effect) => void,
): Promise<Receiver> {
  const receipts: Receipt[] = [];
  const effects: Effect[] = [];
  const replies = new Map<string, Promise<Effect>>();

  async function take(run: string, step: string, key: string | undefined): Promise<Effect> {
    await delay(replyMilliseconds());
    const effect = { run, step, key, token: effects.length };
    effects.push(effect);
    tookEffect(effect);
    return effect;
  }

  function replyTo(request: IncomingMessage): Promise<Effect> {
    const [, run = '', step = ''] = (request.url ?? '').split('/');
    const header = request.headers['idempotency-key'];
    const key = typeof header === 'string' ? header : undefined;
    receipts.push({ run, step, key, at: performance.now() });
    // Whoever hangs up meanwhile changes nothing: an effect that has begun happens.
    const reply = (key === undefined ? undefined : replies.get(key)) ?? take(run, step, key);
    if (key !== undefined) replies.set(key, reply);
    return reply;
  }

  const server = createServer((request, response) => {
    request.resume();
    void replyTo(request).then(({ token }) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ token })),
    );
  });
  const { port, stop } = await listen(server);
  return { host: `127.0.0.1:${port}`, receipts, effects, stop };
}
