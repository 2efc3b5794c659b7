/** The master key is replaced under load: no step fails, no write is lost, and the old key is gone in the end. */

import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launch, type Gateway } from '../../scripts/launcher/launch.ts';
import { listen, type Running } from '../../scripts/servers/process.ts';

const TENANTS = 120;
const directory = mkdtempSync(join(tmpdir(), 'tidegate-rotation-'));
let upstream: Running & { readonly port: number };
let gateway: Gateway;
/** What the token endpoint of the upstream has given out. */
let tokens = 0;

const start = (masterKey?: string): Promise<Gateway> =>
  launch({
    port: 0,
    dataDirectory: directory,
    samples: false,
    env: { TIDEGATE_EGRESS_ALLOW: '127.0.0.1', ...(masterKey !== undefined && { TIDEGATE_MASTER_KEY: masterKey }) },
  });

async function manage(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
  const reply = await fetch(`${gateway.url}/_/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${gateway.adminKey}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await reply.text();
  expect(reply.status, text).toBeLessThan(300);
  return text === '' ? {} : JSON.parse(text);
}

const connectionWith = (bearer: string) => ({
  connector: 'http',
  settings: { baseUrl: `http://127.0.0.1:${upstream.port}` },
  secrets: { bearer },
});

beforeAll(async () => {
  // Says which credential came.
  upstream = await listen(
    createServer((request, response) => {
      const token = { access_token: `token-${tokens + 1}`, token_type: 'Bearer', expires_in: 3_600 };
      if (request.url === '/token') tokens += 1;
      const body = request.url === '/token' ? token : request.headers.authorization;
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    }),
  );
  gateway = await start();
});

afterAll(async () => {
  await gateway.stop();
  await upstream.stop();
  rmSync(directory, { recursive: true, force: true });
});

test('a rotation under load fails no step and loses no write', async () => {
  for (let tenant = 0; tenant < TENANTS; tenant++) {
    await manage('PUT', `/connections/crm?tenant=t${tenant}`, connectionWith(`of-t${tenant}`));
  }
  await manage('PUT', '/connections/changing', connectionWith('version-0'));
  for (const mode of ['inline', 'durable']) {
    const triggers = { api: { type: 'http', method: 'POST', path: `/${mode}`, auth: 'public', respond: 'result' } };
    const steps = Object.fromEntries(
      [0, 1, 2].map((index) => [`s${index}`, { use: 'http.get', connection: `t${index}/crm`, with: { url: '/' } }]),
    );
    await manage('PUT', `/chains/${mode}`, { mode, triggers, steps, output: '{{ steps.s2.body }}' });
  }
  const changed = { api: { type: 'http', method: 'POST', path: '/changing', auth: 'public', respond: 'result' } };
  const steps = { a: { use: 'http.get', connection: 'changing', with: { url: '/' } } };
  await manage('PUT', '/chains/changing', { triggers: changed, steps, output: '{{ steps.a.body }}' });

  const oauth = {
    grant: 'client_credentials',
    clientId: 'client',
    endpoints: { token: `http://127.0.0.1:${upstream.port}/token` },
  };
  const { settings } = connectionWith('');
  const secrets = { oauth: { clientSecret: 'secret' } };
  await manage('PUT', '/connections/by-oauth', { connector: 'http', settings: { ...settings, oauth }, secrets });
  const authorized = { api: { ...changed.api, path: '/authorized' } };
  const asked = { a: { ...steps.a, connection: 'by-oauth' } };
  await manage('PUT', '/chains/authorized', { triggers: authorized, steps: asked, output: '{{ steps.a.body }}' });
  expect(await (await fetch(`${gateway.url}/authorized`, { method: 'POST' })).text()).toContain('Bearer token-1');

  const oldKey = readFileSync(join(directory, 'master-key'), 'utf8').trim();
  const newKey = `2:${randomBytes(32).toString('base64')}`;
  await gateway.stop();
  gateway = await start(`${oldKey},${newKey}`);

  let isOver = false;
  let calls = 0;
  let version = 0;
  const failures: string[] = [];
  const caller = async (path: string, expected: string): Promise<void> => {
    while (!isOver) {
      const reply = await fetch(gateway.url + path, { method: 'POST' });
      const text = await reply.text();
      calls++;
      if (reply.status !== 200 || !text.includes(expected)) failures.push(`${path}: ${reply.status} ${text}`);
    }
  };
  // Each write also makes every isolate decrypt anew.
  const writer = async (): Promise<void> => {
    while (!isOver) {
      await manage('PUT', '/connections/changing', connectionWith(`version-${++version}`));
      const reply = await fetch(`${gateway.url}/changing`, { method: 'POST' });
      const text = await reply.text();
      if (!text.includes(`version-${version}"`)) failures.push(`wrote ${version}, then read: ${text}`);
    }
  };
  const load = Promise.all([caller('/inline', 'of-t2'), caller('/durable', 'of-t2'), writer()]);

  await expect.poll(() => calls, { timeout: 20_000 }).toBeGreaterThan(50);
  const begun = await manage('POST', '/vault/rotation');
  expect(begun).toMatchObject({ version: '2', rotation: { version: '2' } });
  await expect
    .poll(async () => {
      await gateway.runScheduled();
      return manage('GET', '/vault/rotation');
    })
    .toMatchObject({ remaining: 0, rotation: { finishedAt: expect.any(String), unreadable: [] } });
  const during = calls;
  await expect.poll(() => calls, { timeout: 20_000 }).toBeGreaterThan(during + 50);
  isOver = true;
  await load;
  expect(failures).toEqual([]);

  await gateway.stop();
  gateway = await start(newKey);
  for (const [path, expected] of [
    ['/inline', 'of-t2'],
    ['/durable', 'of-t2'],
    ['/changing', `version-${version}"`],
    // Still the token that was got under the old key.
    ['/authorized', 'Bearer token-1'],
  ] as const) {
    const reply = await fetch(gateway.url + path, { method: 'POST' });
    expect(await reply.text()).toContain(expected);
  }
  expect(await manage('GET', '/vault/rotation')).toMatchObject({ records: { 2: TENANTS + 2 }, remaining: 0 });
  console.info(`${calls} calls and ${version} writes during the rotation of ${TENANTS + 2} records`);
});
