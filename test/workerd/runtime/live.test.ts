import { abortAllDurableObjects, evictAllDurableObjects, runInDurableObject } from 'cloudflare:test';
import { env, exports } from 'cloudflare:workers';
import * as v from 'valibot';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { answerOf, call, codeOf, manage, ORIGIN, publish, QUICK, receivedAt, upstream } from '../gateway/fixtures.ts';
import { runEvent } from '../../../src/control/runs/schemas.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { objectOf } from '../../../src/runtime/shards.ts';
import { sweepRuns } from '../../../src/runtime/runs.ts';

type RunEvent = v.InferOutput<typeof runEvent>;

async function begin(steps: object, more: object = {}): Promise<string> {
  const { name } = await publish({ triggers: {}, mode: 'durable', steps, ...more });
  const started = await manage(`POST /chains/${name}/runs`);
  expect(started.status).toBe(202);
  return String(started.body['id']);
}

const get = (path: string, more: object = {}) => ({ use: 'http.get', with: { url: upstream + path }, ...more });
const forEvent = (event: string, more: object = {}) => ({ use: 'flow.wait', with: { event }, ...more });

const watch = (id: string, headers: Record<string, string> = {}): Promise<Response> =>
  exports.default.fetch(
    new Request(`${ORIGIN}/_/api/v1/runs/${id}/events`, {
      headers: { authorization: 'Bearer test-admin-key', ...headers },
    }),
  );

/** Reads a stream of events as a browser does. */
class Reader {
  readonly events: RunEvent[] = [];
  readonly comments: string[] = [];
  lastId = '';
  #text = '';
  readonly #reader: ReadableStreamDefaultReader<string>;

  constructor(response: Response) {
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    if (response.body === null) throw new Error('there is no body');
    this.#reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  }

  /** Reads on until that holds, or to the end. */
  async until(holds: (reader: this) => boolean): Promise<this> {
    while (!holds(this)) {
      const { done, value } = await this.#reader.read();
      if (done) return this;
      this.#text += value;
      const frames = this.#text.split('\n\n');
      this.#text = frames.pop() ?? '';
      for (const frame of frames) this.#take(frame);
    }
    return this;
  }

  toEnd(): Promise<this> {
    return this.until(() => false);
  }

  hangUp(): Promise<void> {
    return this.#reader.cancel();
  }

  #take(frame: string): void {
    for (const line of frame.split('\n')) {
      if (line.startsWith('data: ')) this.events.push(v.parse(runEvent, JSON.parse(line.slice(6))));
      if (line.startsWith('id: ')) this.lastId = line.slice(4);
      if (line.startsWith(': ')) this.comments.push(line.slice(2));
    }
  }

  /** As `run:running` or `a:succeeded`. */
  get states(): string[] {
    return statesOf(this.events);
  }
}

const statesOf = (events: readonly RunEvent[]): string[] =>
  events.map((event) => (event.type === 'run' ? `run:${event.run.status}` : `${event.step.id}:${event.step.status}`));

afterEach(() => vi.useRealTimers());

describe('the stream of a run', () => {
  it('is closed without the admin key, and not there for an unknown run', async () => {
    const id = await begin({ a: get('/echo') });
    expect(codeOf(await call(`GET /_/api/v1/runs/${id}/events`))).toEqual([401, 'auth.missing']);
    expect(codeOf(await manage(`GET /runs/${id.slice(0, -4)}0000/events`))).toEqual([404, 'run.not-found']);
    expect(codeOf(await manage('GET /runs/x/events'))).toEqual([404, 'run.not-found']);
  });

  it('tells how everything stands, each change, and the end with the output as the last', async () => {
    const id = await begin(
      { a: get('/delay/300?mark=live'), b: get('/delay/100?mark=live', { after: ['a'] }) },
      { output: '{{ steps.b.status }}' },
    );
    const { states, events } = await new Reader(await watch(id)).toEnd();
    expect(states.slice(0, 3)).toEqual(['run:running', 'a:running', 'b:pending']);
    for (const state of ['a:succeeded', 'b:running', 'b:succeeded']) expect(states).toContain(state);
    expect(states.indexOf('a:succeeded')).toBeLessThan(states.indexOf('b:succeeded'));
    expect(events.at(-1)).toMatchObject({ type: 'run', run: { id, status: 'succeeded', output: 200, error: null } });
    expect(states.filter((state) => state === 'run:succeeded')).toHaveLength(1);
  });

  it('shows a step that waits for its next attempt, and the error of the last', async () => {
    const id = await begin({ a: get('/fail-first/1/live', { retries: { ...QUICK, delay: '300ms' } }) });
    const { events } = await new Reader(await watch(id)).toEnd();
    const waiting = events.find((event) => event.type === 'step' && event.step.status === 'waiting');
    expect(waiting).toMatchObject({ step: { attempts: [{ error: { code: 'upstream.unavailable' } }] } });
  });

  it('tells a cancellation and ends', async () => {
    const path = '/delay/5000?mark=live-cancel';
    const id = await begin({ a: get(path) });
    const reader = new Reader(await watch(id));
    await receivedAt(path, 1);
    await manage(`POST /runs/${id}/cancel`);
    expect((await reader.toEnd()).states.slice(-2)).toEqual(['a:failed', 'run:cancelled']);
  });

  it('goes on, after the connection was lost, with what has changed since the last id', async () => {
    const id = await begin({
      a: get('/echo'),
      b: forEvent('live-resume', { after: ['a'] }),
      c: get('/delay/100', { after: ['b'] }),
    });
    const first = await new Reader(await watch(id)).until(({ states }) => states.includes('b:waiting'));
    await first.hangUp();
    const second = new Reader(await watch(id, { 'last-event-id': first.lastId }));
    await manage('POST /events', { name: 'live-resume' });
    await second.toEnd();
    expect(second.states).not.toContain('a:succeeded');
    expect(second.states).not.toContain('c:pending');
    for (const state of ['b:succeeded', 'c:succeeded']) expect(second.states).toContain(state);
    expect(second.states.at(-1)).toBe('run:succeeded');
  });

  it('loses nothing when its object dies', async () => {
    const path = '/delay/1000?mark=live-abort';
    const id = await begin({ a: get('/echo'), b: get(path, { after: ['a'] }) });
    const first = await new Reader(await watch(id)).until(({ states }) => states.includes('b:running'));
    await receivedAt(path, 1);
    await abortAllDurableObjects();
    const second = new Reader(await watch(id, { 'last-event-id': first.lastId }));
    await sweepRuns(env);
    await second.toEnd();
    expect(second.states).not.toContain('a:succeeded');
    expect(second.states.slice(-2)).toEqual(['b:succeeded', 'run:succeeded']);
  });

  it('begins anew for an id that it never gave', async () => {
    const id = await begin({ a: forEvent('live-never') });
    for (const lastId of ['x', '', '-1', '1e3', String(Date.now() + 60_000)]) {
      const reader = new Reader(await watch(id, { 'last-event-id': lastId }));
      await reader.until(({ states }) => states.includes('a:waiting'));
      expect(reader.states).toContain('run:waiting');
      await reader.hangUp();
    }
  });

  it('sends a heartbeat while nothing happens', async () => {
    const id = await begin({ a: forEvent('live-quiet') });
    await expect.poll(async () => (await manage(`GET /runs/${id}`)).body['status']).toBe('waiting');
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const reader = new Reader(await watch(id));
    const stub = objectOf(env, id);
    if (stub === undefined) throw new Error('no object');
    await runInDurableObject(stub, () => {
      vi.advanceTimersByTime(LIMITS.liveHeartbeatMilliseconds);
    });
    await reader.until(({ comments }) => comments.length > 0);
    expect(reader.comments).toEqual(['heartbeat']);
    await reader.hangUp();
  });
});

describe('the stream of a run that has ended', () => {
  it('tells everything at once, and a client that knows it not to come back', async () => {
    const id = await begin({ a: get('/echo') });
    await answerOf(id);
    const reader = await new Reader(await watch(id)).toEnd();
    expect(reader.states).toEqual(['a:succeeded', 'run:succeeded']);
    expect((await watch(id, { 'last-event-id': reader.lastId })).status).toBe(204);
  });

  it('is there for inline runs too', async () => {
    const { route } = await publish({ steps: { a: get('/status/404') } });
    const { headers } = await call(route);
    const reader = await new Reader(await watch(headers.get('tidegate-run') ?? '')).toEnd();
    expect(reader.states).toEqual(['a:failed', 'run:failed']);
  });
});

describe('watchers', () => {
  it('are turned away when there are too many, and let in when others have hung up', async () => {
    const id = await begin({ a: forEvent('live-crowd') });
    const crowd: Reader[] = [];
    for (let count = 0; count < LIMITS.liveWatchersPerObject; count++) crowd.push(new Reader(await watch(id)));
    expect(codeOf(await manage(`GET /runs/${id}/events`))).toEqual([429, 'run.busy']);
    await crowd.pop()?.hangUp();
    const late = await vi.waitFor(async () => {
      const response = await watch(id);
      expect(response.status).toBe(200);
      return response;
    });
    crowd.push(new Reader(late));
    await manage(`POST /runs/${id}/cancel`);
    for (const reader of crowd) expect((await reader.toEnd()).states.at(-1)).toBe('run:cancelled');
  }, 30_000);
});

describe('a WebSocket', () => {
  async function connect(id: string, headers: Record<string, string> = {}) {
    const response = await watch(id, { upgrade: 'websocket', ...headers });
    const { webSocket } = response;
    if (webSocket === null) throw new Error(`no WebSocket, but ${response.status}`);
    const messages: (RunEvent & { id?: string })[] = [];
    const closed = new Promise<number>((resolve) => {
      webSocket.addEventListener('close', ({ code }) => resolve(code));
    });
    webSocket.addEventListener('message', ({ data }) => messages.push(JSON.parse(String(data))));
    webSocket.accept();
    return { messages, closed, webSocket };
  }

  it('gets the same events and is closed at the end', async () => {
    const id = await begin({ a: get('/delay/200?mark=socket') });
    const { messages, closed } = await connect(id);
    expect(await closed).toBe(1000);
    expect(statesOf(messages).slice(0, 2)).toEqual(['run:running', 'a:running']);
    expect(statesOf(messages).slice(-2)).toEqual(['a:succeeded', 'run:succeeded']);
    expect(Number(messages.at(-1)?.id)).toBeGreaterThan(0);
  });

  it('stays while its object hibernates, and gets what comes after, not what came before', async () => {
    const id = await begin({ a: get('/echo'), b: forEvent('live-hibernate', { after: ['a'] }) });
    const { messages, closed } = await connect(id);
    await vi.waitFor(() => expect(statesOf(messages)).toContain('b:waiting'));
    const before = messages.length;
    await evictAllDurableObjects();
    await manage('POST /events', { name: 'live-hibernate' });
    expect(await closed).toBe(1000);
    const after = statesOf(messages.slice(before));
    expect(after).not.toContain('a:succeeded');
    expect(after.slice(-2)).toEqual(['b:succeeded', 'run:succeeded']);
  });

  it('is told of a run that has ended, and that it is not there without the key', async () => {
    const id = await begin({ a: get('/echo') });
    await answerOf(id);
    const { messages, closed } = await connect(id);
    expect(await closed).toBe(1000);
    expect(statesOf(messages)).toEqual(['a:succeeded', 'run:succeeded']);
    expect((await watch(id, { upgrade: 'websocket', authorization: 'Bearer no' })).status).toBe(401);
  });
});
