import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, get, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildBench } from '../../bench/support/build.ts';
import { databaseId } from '../../scripts/launcher/launch.ts';
import { readBindings } from '../../scripts/launcher/worker.ts';
import { migrate } from '../../scripts/launcher/migrate.ts';
import { startWorker, type RunningWorker } from '../../scripts/launcher/worker.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const MINUTE = { 'cache-control': 'max-age=60' };
const directory = mkdtempSync(join(tmpdir(), 'tidegate-cache-'));

/** Answers of the upstream by path, and what it was asked. */
const listeners = new Map<string, RequestListener>();
const asked: string[] = [];
let upstream: Server;
let worker: RunningWorker;

const timesAsked = (path: string): number => asked.filter((each) => each === path).length;

beforeAll(async () => {
  upstream = createServer((request, response) => {
    const path = request.url ?? '';
    asked.push(path);
    listeners.get(path)?.(request, response);
  });
  await new Promise<void>((listening) => upstream.listen(0, '127.0.0.1', listening));
  const build = await buildBench('cache', join(ROOT, 'wrangler.toml'), join(ROOT, 'test/support/cache-worker.ts'));
  const stateDirectory = join(directory, 'state');
  mkdirSync(stateDirectory);
  await migrate(stateDirectory, databaseId(readBindings(build)), join(ROOT, 'migrations'));
  worker = await startWorker({
    ...{ build, directory, stateDirectory, host: '127.0.0.1', port: 0 },
    variables: { UPSTREAM: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}` },
    networks: ['127.0.0.1/32'],
    log: () => undefined,
  });
});

afterAll(async () => {
  await worker.stop(0);
  upstream.closeAllConnections();
  upstream.close();
  rmSync(directory, { recursive: true, force: true });
});

interface Got {
  readonly status: number | undefined;
  readonly how: string;
  readonly text: string;
}

/** Over a connection of its own; `leave` ends it before the answer. */
function call(path: string, headers: Record<string, string> = {}, leave?: Promise<void>): Promise<Got> {
  return new Promise((resolve, reject) => {
    const request = get(worker.url + path, { agent: false, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part: string) => (text += part));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode, how: String(response.headers['cache-status']), text }),
      );
    });
    request.on('error', reject);
    void leave?.then(() => request.destroy());
  });
}

const many = (count: number, path: string): Promise<Got[]> =>
  Promise.all(Array.from({ length: count }, () => call(path)));

/** An upstream that answers when it is let go. */
function held(path: string, body: string): { readonly asked: Promise<void>; readonly letGo: () => void } {
  const { promise: isAsked, resolve: noteAsked } = Promise.withResolvers<void>();
  const { promise: gone, resolve: letGo } = Promise.withResolvers<void>();
  listeners.set(path, (_, response) => {
    noteAsked();
    void gone.then(() => response.writeHead(200, MINUTE).end(body));
  });
  return { asked: isAsked, letGo };
}

const bodies = (answers: readonly Got[]): Set<string> => new Set(answers.map(({ text }) => text));

describe('coalescing', () => {
  it('makes one upstream request of 1,000 concurrent misses, and all get the body', async () => {
    const { asked: isAsked, letGo } = held('/hot', 'the body');
    const answers = many(1_000, '/hot');
    await isAsked;
    setTimeout(letGo, 1_000);
    const got = await answers;
    expect(bodies(got)).toEqual(new Set(['the body']));
    expect(got.filter(({ status }) => status !== 200)).toEqual([]);
    expect(timesAsked('/hot')).toBe(1);
  });

  it('makes one upstream request also of a body that memory does not hold', async () => {
    const body = 'x'.repeat(1024 * 1024);
    const { asked: isAsked, letGo } = held('/large', body);
    const answers = many(50, '/large');
    await isAsked;
    letGo();
    expect([...bodies(await answers)].map((text) => text.length)).toEqual([body.length]);
    expect(timesAsked('/large')).toBe(1);
  });

  it('goes on for those who wait when the one who asked has left', async () => {
    const { asked: isAsked, letGo } = held('/left', 'still');
    const { promise: leave, resolve: goAway } = Promise.withResolvers<void>();
    const first = call('/left', {}, leave).catch(() => 'left');
    await isAsked;
    const others = many(20, '/left');
    goAway();
    expect(await first).toBe('left');
    setTimeout(letGo, 500);
    expect(bodies(await others)).toEqual(new Set(['still']));
    expect(timesAsked('/left')).toBe(1);
  });

  it('lets one of those who wait take over when the upstream breaks off', async () => {
    listeners.set('/broken', (request, response) => {
      if (timesAsked('/broken') === 1) setTimeout(() => request.destroy(), 500);
      else setTimeout(() => response.writeHead(200, MINUTE).end('second'), 300);
    });
    const first = call('/broken');
    await expect.poll(() => timesAsked('/broken')).toBe(1);
    const others = await many(20, '/broken');
    expect((await first).status).toBe(500);
    expect(bodies(others)).toEqual(new Set(['second']));
    expect(timesAsked('/broken')).toBe(2);
  });

  it('does not take half a body for a whole one', async () => {
    listeners.set('/half', (request, response) => {
      const isFirst = timesAsked('/half') === 1;
      response.writeHead(200, { ...MINUTE, ...(isFirst ? { 'content-length': '100' } : {}) });
      if (isFirst) response.write('half', () => setTimeout(() => request.destroy(), 300));
      else response.end('whole');
    });
    const first = call('/half').catch(() => 'broken');
    await expect.poll(() => timesAsked('/half')).toBe(1);
    const others = await many(10, '/half');
    expect(await first).not.toMatchObject({ text: 'whole' });
    expect(bodies(others)).toEqual(new Set(['whole']));
  });

  it('asks once for each of two languages, though nobody knew that they differ', async () => {
    listeners.set('/language', (request, response) => {
      const language = request.headers['accept-language'] ?? '';
      setTimeout(() => response.writeHead(200, { ...MINUTE, vary: 'accept-language' }).end(language), 300);
    });
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, index) => {
        const language = index % 2 === 0 ? 'de' : 'fr';
        return call('/language', { 'accept-language': language }).then(({ text }) => text === language);
      }),
    );
    expect(answers.every(Boolean)).toBe(true);
    expect(timesAsked('/language')).toBe(2);
  });

  it('holds nobody up for what cannot be shared', async () => {
    listeners.set('/private', (_, response) => {
      setTimeout(() => response.writeHead(200, { 'cache-control': 'private' }).end(String(asked.length)), 300);
    });
    const startedAt = performance.now();
    const answers = await many(20, '/private');
    expect(bodies(answers).size).toBeGreaterThan(1);
    expect(timesAsked('/private')).toBe(20);
    // Two rounds, not twenty.
    expect(performance.now() - startedAt).toBeLessThan(4_000);
  });
});
