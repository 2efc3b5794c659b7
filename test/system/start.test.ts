import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { allowedNetworks } from '../../scripts/launcher/egress.ts';
import { publishSamples } from '../../scripts/launcher/samples.ts';
import { startWorker, type RunningWorker } from '../../scripts/launcher/worker.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const CHAIN = {
  triggers: { api: { type: 'http', method: 'GET', path: '/kept', auth: 'public' } },
  steps: {},
  output: 'kept',
};

class Start {
  readonly process: ChildProcess;
  output = '';

  constructor(data: string, more: readonly string[] = [], environment: Readonly<Record<string, string>> = {}) {
    this.process = spawn(process.execPath, ['scripts/start.ts', '--data', data, '--no-samples', ...more], {
      cwd: ROOT,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    started.push(this);
  }

  /** The address, when it answers. Fails with what was printed when the process ends before. */
  async ready(): Promise<string> {
    const { stdout, stderr } = this.process;
    if (stdout === null || stderr === null) throw new Error('no pipes');
    stderr.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    const lines: string[] = [];
    for await (const line of createInterface(stdout)) {
      lines.push(line);
      const url = /answers at (\S+)/.exec(lines.join('\n'))?.[1];
      if (url !== undefined) return url;
    }
    throw new Error(`ended before it answered: ${lines.join('\n')}${this.output}`);
  }

  /** What it printed and its exit code, when it ends by itself. */
  async end(): Promise<{ readonly code: unknown; readonly output: string }> {
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    }
    const [code]: unknown[] = await once(this.process, 'close');
    return { code, output: this.output };
  }

  async kill(signal: NodeJS.Signals): Promise<unknown> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return this.process.exitCode;
    const ended = once(this.process, 'exit');
    this.process.kill(signal);
    const [code]: unknown[] = await ended;
    return code;
  }
}

let data: string;
let started: Start[] = [];
beforeEach(() => {
  data = join(mkdtempSync(join(tmpdir(), 'tidegate-start-')), 'data');
});
afterEach(async () => {
  for (const start of started) await start.kill('SIGKILL');
  started = [];
  rmSync(join(data, '..'), { recursive: true, force: true });
});

const start = (...more: string[]): Start => new Start(data, ['--port', '0', ...more]);
const modeOf = (path: string): number => statSync(path).mode & 0o777;
const keyOf = (folder: string): string => readFileSync(join(folder, 'admin-key'), 'utf8').trim();
const workerdOf = (folder: string): number => Number(readFileSync(join(folder, 'workerd.pid'), 'utf8'));

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

const manage = (url: string, method: string, body?: unknown): Promise<Response> =>
  fetch(`${url}/_/api/v1/chains/kept`, {
    method,
    headers: { authorization: `Bearer ${keyOf(data)}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });

describe('the first start', () => {
  it('makes random secrets that only their owner can read, and prints none of them', async () => {
    const first = start();
    const url = await first.ready();
    expect((await fetch(`${url}/_/health`)).status).toBe(200);
    expect(modeOf(data)).toBe(0o700);
    expect([modeOf(join(data, 'admin-key')), modeOf(join(data, 'master-key'))]).toEqual([0o600, 0o600]);
    const masterKey = readFileSync(join(data, 'master-key'), 'utf8').trim();
    expect(masterKey).toMatch(/^1:[A-Za-z0-9+/]{43}=$/);
    expect(Buffer.from(keyOf(data), 'base64url')).toHaveLength(32);
    await first.kill('SIGTERM');
    expect(first.output).not.toContain(keyOf(data));
    expect(first.output).not.toContain(masterKey);
  });

  it('takes the admin key from the environment and then makes no file of it', async () => {
    const url = await new Start(data, ['--port', '0'], { TIDEGATE_ADMIN_KEY: 'from-outside' }).ready();
    expect(readdirSync(data)).not.toContain('admin-key');
    const list = (key: string): Promise<Response> =>
      fetch(`${url}/_/api/v1/chains`, { headers: { authorization: `Bearer ${key}` } });
    expect((await list('from-outside')).status).toBe(200);
    expect((await list('another')).status).toBe(401);
  });
});

it('a client cannot claim a certificate, since nobody is in front who could have verified it', async () => {
  const url = await start().ready();
  const print = 'ab'.repeat(32);
  const api = { type: 'http', method: 'GET', path: '/kept', auth: { type: 'mtls', fingerprints: [print] } };
  expect((await manage(url, 'PUT', { ...CHAIN, triggers: { api } })).status).toBe(201);
  const tlsClientAuth = { certPresented: '1', certVerified: 'SUCCESS', certRevoked: '0', certFingerprintSHA256: print };
  // Where the runtime reads what Cloudflare would say of a request.
  const headers = { 'mf-cf-blob': JSON.stringify({ tlsClientAuth }) };
  expect((await fetch(`${url}/kept`, { headers })).status).toBe(401);
});

describe('a start is refused', () => {
  it('on a taken port, with the number and another to try', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const { code, output } = await new Start(data, ['--port', String(port)]).end();
    other.close();
    expect(code).toBe(1);
    expect(output).toBe(
      `Port ${port} on 127.0.0.1 is taken by another program. Choose another one: npm start -- --port ${port + 1}\n`,
    );
  });

  it('when another gateway runs on the same data', async () => {
    const first = start();
    await first.ready();
    const { code, output } = await start().end();
    expect(code).toBe(1);
    expect(output).toBe(
      `The data folder ${data} is in use by process ${first.process.pid}. Stop it, or choose another folder with --data.\n`,
    );
  });

  it('when others can read a secret, with the command that mends it', async () => {
    await start().ready();
    await started[0]?.kill('SIGTERM');
    chmodSync(join(data, 'master-key'), 0o644);
    const { code, output } = await start().end();
    expect(code).toBe(1);
    expect(output).toContain(`Run: chmod 600 '${join(data, 'master-key')}'`);
  });

  it.each([
    [['--port', 'http'], '--port http is not a number from 0 to 65535.'],
    [['--prot', '8787'], "Unknown option '--prot'"],
    [['--host', '192.0.2.1'], 'This machine has no address 192.0.2.1.'],
  ])('with %j', async (options, message) => {
    const { code, output } = await new Start(data, ['--port', '0', ...options]).end();
    expect(code).toBe(1);
    expect(output).toContain(message);
    expect(output).not.toContain('    at ');
  });
});

describe('the end', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('by %s is in order: exit code 0, no workerd, no lock', async (signal) => {
    const running = start();
    await running.ready();
    const workerd = workerdOf(data);
    expect(isRunning(workerd)).toBe(true);
    expect(await running.kill(signal)).toBe(0);
    expect(isRunning(workerd)).toBe(false);
    expect(readdirSync(data).sort()).toEqual(['admin-key', 'master-key', 'state']);
  });

  it('by kill -9 leaves no workerd behind: port and data are free again', async () => {
    const running = start();
    const url = await running.ready();
    const connection = connect(Number(new URL(url).port), '127.0.0.1');
    await once(connection, 'connect');
    const closed = once(connection, 'close');
    await running.kill('SIGKILL');
    await closed;
    const next = new Start(data, ['--port', new URL(url).port]);
    expect(await next.ready()).toBe(url);
  });

  it('keeps what was published', async () => {
    const first = start();
    const before = await first.ready();
    expect((await manage(before, 'PUT', CHAIN)).status).toBe(201);
    await first.kill('SIGTERM');
    const after = await start().ready();
    expect((await manage(after, 'GET')).status).toBe(200);
    expect(await (await fetch(`${after}/kept`)).json()).toBe('kept');
  });
});

it('a lock of a process that is gone does not count, even when its number is in use again', async () => {
  const running = start();
  await running.ready();
  await running.kill('SIGTERM');
  writeFileSync(join(data, 'lock'), `${process.pid} 1\n`);
  await start().ready();
});

/** Resources of one test, closed after it, the last first. */
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** An HTTP server on this machine; its URL, without a slash at the end. */
async function serve(listener: RequestListener): Promise<string> {
  const server: Server = createHttpServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(async () => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function run(script: string, networks: readonly string[]): Promise<RunningWorker> {
  mkdirSync(data, { recursive: true });
  const build = { scriptPath: join(data, 'index.js'), bindingsPath: join(data, 'bindings.json') };
  writeFileSync(build.scriptPath, script);
  writeFileSync(build.bindingsPath, JSON.stringify({ compatibilityDate: '2026-10-23' }));
  const where = { directory: data, stateDirectory: join(data, 'state'), host: '127.0.0.1', port: 0 };
  const worker = await startWorker({ build, ...where, variables: {}, networks, log: () => undefined });
  closers.push(() => worker.stop());
  return worker;
}

describe('a Worker', () => {
  const caller = `export default { async fetch(request, env) {
    const { pathname, search } = new URL(request.url);
    const way = pathname === '/binding' ? env.EGRESS : globalThis;
    return way.fetch(search.slice(1)).catch(() => new Response('refused', { status: 403 }));
  } }`;

  it.each(['binding', 'global'])(
    'reaches no private address that the owner has not listed, by its %s fetch',
    async (way) => {
      let calls = 0;
      const target = await serve((_, response) => response.end(`private ${++calls}`));
      const { port } = new URL(target);
      // `localhost` is what a rebinding name is: a name that turns out to be a private address.
      const addresses = ['127.0.0.1', 'localhost', '[::ffff:127.0.0.1]', '2130706433', '0.0.0.0'];
      const closed = await run(caller, await allowedNetworks('', () => undefined));
      for (const address of addresses) {
        const response = await fetch(`${closed.url}/${way}?http://${address}:${port}/`);
        expect([address, response.ok]).toEqual([address, false]);
      }
      expect(calls).toBe(0);
    },
  );

  it.each(['binding', 'global'])('reaches what the owner has listed, by its %s fetch', async (way) => {
    const target = await serve((_, response) => response.end('private'));
    const opened = await run(
      caller,
      await allowedNetworks(` ${new URL(target).host}, nowhere.invalid`, () => undefined),
    );
    expect(await (await fetch(`${opened.url}/${way}?${target}`)).text()).toBe('private');
  });

  it('runs its scheduled handler when the launcher calls, and a failure is told', async () => {
    const worker = await run(
      `let crons = [];
      export default {
        fetch: () => Response.json(crons),
        scheduled({ cron }) {
          crons.push(cron);
          if (crons.length > 1) throw new Error('away');
        },
      }`,
      [],
    );
    await worker.runScheduled();
    await expect(worker.runScheduled()).rejects.toThrow('the scheduled handler answered exception');
    expect(await (await fetch(worker.url)).json()).toEqual(['* * * * *', '* * * * *']);
  });

  it('that is stopped answers the request under way, and takes no other', async () => {
    const script = `export default { async fetch(request) {
      if (request.url.endsWith('/slow')) await scheduler.wait(500);
      return new Response('answered');
    } }`;
    const worker = await run(script, []);
    closers.pop();
    const slow = fetch(`${worker.url}/slow`);
    await fetch(worker.url);
    const stopped = worker.stop();
    expect(await (await slow).text()).toBe('answered');
    await stopped;
    await expect(fetch(worker.url)).rejects.toThrow();
  });
});

describe('the samples', () => {
  it('are set up and published when they are missing, and the one that fails holds up no other', async () => {
    mkdirSync(data);
    const sample = {
      title: 'A sum',
      curl: 'curl {url}/sum',
      setup: [{ path: 'connections/rates', json: { to: '{url}' } }],
    };
    writeFileSync(join(data, 'sum.json'), '{"name":"sum"}');
    writeFileSync(join(data, 'sum.sample.json'), JSON.stringify(sample));
    writeFileSync(join(data, 'there.json'), '{"name":"there"}');
    writeFileSync(join(data, 'bad.json'), '{"name":"bad"}');
    const requests: string[] = [];
    const url = await serve((request, response) => {
      const name = request.url?.split('/').at(-1);
      response.statusCode = request.method === 'GET' ? (name === 'there' ? 200 : 404) : name === 'bad' ? 422 : 201;
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        requests.push(`${request.method} ${request.url} ${request.headers.authorization} ${body}`.trim());
        response.end(name);
      });
    });
    const problems: string[] = [];
    const gateway = { url, adminKey: 'k', adminKeyPlace: '.tidegate/admin-key' };
    const samples = await publishSamples(data, gateway, (line) => problems.push(line));
    expect(samples).toMatchObject([{ title: 'A sum', curl: `curl ${url}/sum` }]);
    expect(problems).toEqual(['The sample bad was not published: PUT chains/bad answered 422 bad']);
    expect(requests).toEqual([
      'GET /_/api/v1/chains/bad Bearer k',
      'PUT /_/api/v1/chains/bad Bearer k {"name":"bad"}',
      `PUT /_/api/v1/connections/rates Bearer k {"to":"${url}"}`,
      'GET /_/api/v1/chains/sum Bearer k',
      'PUT /_/api/v1/chains/sum Bearer k {"name":"sum"}',
      'GET /_/api/v1/chains/there Bearer k',
    ]);
  });

  it('may be missing altogether', async () => {
    const gateway = { url: 'http://127.0.0.1:9', adminKey: 'k', adminKeyPlace: 'k' };
    expect(await publishSamples(join(data, 'none'), gateway, () => undefined)).toEqual([]);
  });
});
