/**
 * Row 33: a name that points to a private address at the moment of the connection. Nobody's DNS is needed
 * for it: `localhost` is such a name, and this Worker has no guard of names of its own, so what refuses is
 * the network that the launcher gives to workerd. That `localhost` is reached where the network allows
 * it shows that nothing else refuses.
 */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { allowedNetworks } from '../../../scripts/launcher/egress.ts';
import { startWorker, type RunningWorker } from '../../../scripts/launcher/worker.ts';
import { listen, portOf, type Running } from '../../../scripts/servers/process.ts';

/** Every way that a Worker has out of workerd. */
const SCRIPT = `
import { connect } from 'cloudflare:sockets';

const GET = new TextEncoder().encode('GET / HTTP/1.0\\r\\n\\r\\n');

async function talk(socket) {
  const writer = socket.writable.getWriter();
  await writer.write(GET);
  const { value } = await socket.readable.getReader().read();
  return new TextDecoder().decode(value);
}

const WAYS = {
  'EGRESS.fetch': (env, host) => env.EGRESS.fetch('http://' + host + '/').then((reply) => reply.text()),
  'global fetch': (env, host) => fetch('http://' + host + '/').then((reply) => reply.text()),
  'EGRESS.connect': (env, host) => talk(env.EGRESS.connect(host)),
  'global connect': (env, host) => talk(connect(host)),
};

export default {
  async fetch(request, env) {
    const { way, host } = await request.json();
    const timeout = new Promise((_, reject) => setTimeout(reject, 5_000, new Error('timeout')));
    try {
      return new Response(await Promise.race([WAYS[way](env, host), timeout]));
    } catch (error) {
      return new Response(String(error), { status: 502 });
    }
  },
};
`;
const WAYS = ['EGRESS.fetch', 'global fetch', 'EGRESS.connect', 'global connect'];

let folder: string;
let target: Server;
let listening: Running;
let connections = 0;
const workers: RunningWorker[] = [];

async function workerWith(networks: readonly string[]): Promise<RunningWorker> {
  const directory = join(folder, String(workers.length));
  mkdirSync(join(directory, 'state'), { recursive: true });
  const build = { scriptPath: join(directory, 'index.js'), bindingsPath: join(directory, 'bindings.json') };
  writeFileSync(build.scriptPath, SCRIPT);
  writeFileSync(build.bindingsPath, JSON.stringify({ compatibilityDate: '2026-10-23' }));
  const worker = await startWorker({
    build,
    stateDirectory: join(directory, 'state'),
    directory,
    host: '127.0.0.1',
    port: 0,
    variables: {},
    networks,
    log: () => undefined,
  });
  workers.push(worker);
  return worker;
}

const call = async (worker: RunningWorker, way: string, host: string): Promise<[number, string]> => {
  const reply = await fetch(worker.url, { method: 'POST', body: JSON.stringify({ way, host }) });
  return [reply.status, await reply.text()];
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'tidegate-rebinding-'));
  target = createServer((_request, response) => response.end('reached'));
  target.on('connection', () => connections++);
  listening = await listen(target, 0, '0.0.0.0');
});

afterAll(async () => {
  await Promise.all(workers.map((worker) => worker.stop(0)));
  await listening.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('attack 33: a name that points to a private address', () => {
  test('gets no connection, on no way out of the runtime', async () => {
    const worker = await workerWith(await allowedNetworks('', () => undefined));
    for (const name of ['localhost', hostname(), '127.0.0.1', '[::ffff:127.0.0.1]', '0.0.0.0', '2130706433']) {
      for (const way of WAYS) {
        const [status, text] = await call(worker, way, `${name}:${portOf(target)}`);
        expect([status, text.includes('reached')], `${way} ${name}: ${text}`).toEqual([502, false]);
      }
    }
    expect(connections).toBe(0);
  });

  test('is reached where the owner lists its host, which shows that the name is known', async () => {
    const worker = await workerWith(await allowedNetworks('127.0.0.1', () => undefined));
    for (const way of ['EGRESS.fetch', 'global fetch', 'EGRESS.connect']) {
      expect(await call(worker, way, `localhost:${portOf(target)}`), way).toEqual([
        200,
        expect.stringContaining('reached'),
      ]);
    }
  });
});

describe('the networks of the launcher', () => {
  test('are the public ones alone, where the owner lists nothing', async () => {
    for (const list of ['', ' ', ',', ' , ']) expect(await allowedNetworks(list, () => undefined)).toEqual(['public']);
  });

  test('are opened by single addresses, never by ranges', async () => {
    const networks = await allowedNetworks('127.0.0.1:80, [::1]:80,10.0.0.1', () => undefined);
    expect(networks).toEqual(['public', '127.0.0.1/32', '::1/128', '10.0.0.1/32']);
  });

  test('are not opened by a name that has no address, and the owner is told', async () => {
    const told: string[] = [];
    expect(await allowedNetworks('nothing.invalid', (line) => told.push(line))).toEqual(['public']);
    expect(told).toEqual([expect.stringContaining('nothing.invalid')]);
  });
});
