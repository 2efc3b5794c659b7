/** Listening to a source, as a laptop does that was offline for a while. */

import { env, exports } from 'cloudflare:workers';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { codeOf, manage, ORIGIN } from '../gateway/fixtures.ts';
import { deliver, eventsOf, SECRET, type Delivery } from '../gateway/hook-fixtures.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { inboxOf } from '../../../src/runtime/inbox.ts';
import { Feed } from '../../../src/runtime/inbox-feed.ts';

let source = '';
let count = 0;
beforeEach(async () => {
  source = `feed-${++count}`;
  await manage(`PUT /sources/${source}`, { scheme: 'standard', secret: SECRET });
});

const send = async (n: number, more: Delivery = {}): Promise<string> =>
  String((await deliver({ source, body: `{"n":${n}}`, ...more })).body['event']);

interface Heard {
  readonly cursor: string;
  readonly id: string;
  readonly body?: string;
  readonly bodyBase64?: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Listens until so many events have come, then hangs up. */
async function listen(query: string, until: number, headers: Record<string, string> = {}): Promise<Heard[]> {
  const request = new Request(`${ORIGIN}/_/api/v1/sources/${source}/events/stream${query}`, {
    headers: { authorization: 'Bearer test-admin-key', ...headers },
  });
  const response = await exports.default.fetch(request);
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
  const reader = (response.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  const heard = (): Heard[] =>
    [...text.matchAll(/id: (\d+)\ndata: (.*)\n\n/g)].map(
      ([, cursor = '', data = '']) => ({ cursor, ...JSON.parse(data) }) as Heard,
    );
  while (heard().length < until) {
    const { value, done } = await reader.read();
    if (done) break;
    text += value;
  }
  await reader.cancel();
  return heard();
}

describe('a listener', () => {
  it('catches up from its cursor, and then hears what comes, each once and in order', async () => {
    const before = [await send(1), await send(2), await send(3)];
    const [first] = await listen('?after=0', 1);
    expect(first).toMatchObject({ id: before[0], body: '{"n":1}', headers: { 'content-type': 'application/json' } });
    const listening = listen(`?after=${first?.cursor}`, 30);
    const later: string[] = [];
    for (let n = 4; n < 32; n++) later.push(await send(n));
    expect((await listening).map(({ id }) => id)).toEqual([...before.slice(1), ...later]);
  });

  it('that comes back with Last-Event-ID goes on there, whatever its address says', async () => {
    const sent = [await send(1), await send(2), await send(3)];
    const [, second] = await listen('?after=0', 3);
    const heard = await listen('?after=0', 1, { 'last-event-id': second?.cursor ?? '' });
    expect(heard.map(({ id }) => id)).toEqual(sent.slice(2));
  });

  it('without a cursor hears only what comes, and nothing of what is refused', async () => {
    await send(1);
    const listening = listen('', 1);
    await scheduler.wait(50);
    await deliver({ source, without: 'webhook-signature' });
    const id = await send(2);
    expect((await listening).map((heard) => heard.id)).toEqual([id]);
  });

  it('gets bytes that are no text in base64, and bodies from R2 whole', async () => {
    const text = 'x'.repeat(200_000);
    await send(0, { body: JSON.stringify({ text }) });
    await send(0, { body: '\u{1F600}', headers: { 'content-type': 'image/png' } });
    const [large, bytes] = await listen('?after=0', 2);
    expect(large?.body).toBe(JSON.stringify({ text }));
    expect([bytes?.body, bytes?.bodyBase64]).toEqual([undefined, btoa('\xf0\x9f\x98\x80')]);
  });

  it('of a source that is not there, or with no cursor that was ever given, is refused', async () => {
    expect(codeOf(await manage('GET /sources/nowhere/events/stream'))).toEqual([404, 'source.not-found']);
    expect(codeOf(await manage(`GET /sources/${source}/events/stream?after=x`))).toEqual([400, 'request.invalid']);
  });

  it('over the number that may listen is refused, and leaves its place when it hangs up', async () => {
    const open = () => inboxOf(env, source).fetch('https://inbox/?after=0');
    const streams = await Promise.all(Array.from({ length: LIMITS.listenersPerSource }, open));
    expect((await open()).status).toBe(429);
    expect(codeOf(await manage(`GET /sources/${source}/events/stream`))).toEqual([429, 'inbox.busy']);
    await Promise.all(streams.map(async ({ body }) => body?.cancel()));
    await vi.waitFor(async () => {
      const again = await open();
      await again.body?.cancel();
      expect(again.status).toBe(200);
    });
    expect((await eventsOf(source)).status).toBe(200);
  });
});

describe('a feed', () => {
  const stored = (sequence: number) => ({
    sequence,
    scheme: 'standard',
    deliveryId: String(sequence),
    type: null,
    receivedAt: 0,
    bytes: 2,
    blob: null,
    query: '',
    headers: '{}',
    body: new TextEncoder().encode('{}'),
  });

  it('reads no further for a listener that takes nothing, and cuts it off; one that waits gets heartbeats', async () => {
    vi.useFakeTimers();
    try {
      let reads = 0;
      const endless = new Feed({ readAfter: (after) => Promise.resolve((reads++, [stored(after + 1)])) });
      const stuck = endless.open(0);
      await vi.advanceTimersByTimeAsync(LIMITS.listenStallMilliseconds + 2 * LIMITS.liveHeartbeatMilliseconds);
      expect(reads).toBeLessThanOrEqual(2);
      await expect(stuck.text()).rejects.toThrow('takes nothing');

      const quiet = new Feed({ readAfter: () => Promise.resolve([]) });
      const reader = quiet.open(0).body?.pipeThrough(new TextDecoderStream()).getReader();
      expect((await reader?.read())?.value).toContain('retry:');
      const next = reader?.read();
      await vi.advanceTimersByTimeAsync(LIMITS.liveHeartbeatMilliseconds);
      expect((await next)?.value).toBe(': heartbeat\n\n');
      await reader?.cancel();
    } finally {
      vi.useRealTimers();
    }
  });
});
