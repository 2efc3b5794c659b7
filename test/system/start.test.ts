import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const ROOT = resolve(import.meta.dirname, '../..');
const CHAIN = { triggers: { api: { type: 'http', path: '/kept', auth: 'public' } }, steps: {}, output: 'kept' };

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

/** Resolves when a process is gone; the test's own time limit is what it fails by. */
async function gone(pid: number): Promise<void> {
  while (isRunning(pid)) await new Promise((done) => setTimeout(done, 5));
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
    const workerd = workerdOf(data);
    await running.kill('SIGKILL');
    await gone(workerd);
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
