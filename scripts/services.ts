/**
 * `npm run services [-- --url http://127.0.0.1:8787 --data .tidegate]`: a Postgres, a Redis and an S3 store on
 * this machine with their bridges, and the connections of the sample chains to them. For trying out:
 * their data goes with them.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { chmod, readFile } from 'node:fs/promises';
import { createServer, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import pg from 'pg';
import { createPostgresBridge } from './bridge/postgres.ts';
import { createRedisBridge } from './bridge/redis.ts';
import { call } from './launcher/api.ts';
import { SERVICE_PORTS } from './launcher/launch.ts';
import { listen, type Running } from './servers/process.ts';
import * as postgres from './servers/postgres.ts';
import * as redis from './servers/redis.ts';
import * as s3 from './servers/s3.ts';

const ORDERS =
  'create table orders (id text primary key, email text not null, amount_cents integer not null, currency text not null)';
const BUCKET = 'archive';

const { values } = parseArgs({
  options: {
    url: { type: 'string', default: 'http://127.0.0.1:8787' },
    data: { type: 'string', default: '.tidegate' },
  },
});

const folder = mkdtempSync(join(tmpdir(), 'tidegate-services-'));
const running: Running[] = [];
const keep = <T extends Running>(server: T): T => {
  running.push(server);
  return server;
};

async function stop(code: number): Promise<never> {
  await Promise.allSettled(running.map((server) => server.stop()));
  rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}
process.on('SIGTERM', () => void stop(0));
process.on('SIGINT', () => void stop(0));

async function startPostgres(): Promise<unknown> {
  const { connectionString } = keep(await postgres.start({ dataDirectory: join(folder, 'postgres') }));
  const client = new pg.Client({ connectionString });
  await client.connect();
  await client.query(ORDERS);
  await client.end();
  const token = randomBytes(24).toString('base64url');
  keep(await listen(createPostgresBridge({ connectionString, token }), SERVICE_PORTS.postgres));
  const endpoint = `http://127.0.0.1:${SERVICE_PORTS.postgres}/sql`;
  return { connector: 'postgres', settings: { endpoint }, secrets: { connectionString, token } };
}

async function startRedis(): Promise<unknown> {
  const { url } = keep(await redis.start({ dataDirectory: join(folder, 'redis') }));
  const token = randomBytes(24).toString('base64url');
  keep(await listen(createRedisBridge({ url, token }), SERVICE_PORTS.redis));
  return { connector: 'redis', settings: { url: `http://127.0.0.1:${SERVICE_PORTS.redis}` }, secrets: { token } };
}

async function startS3(): Promise<unknown> {
  const store = keep(await s3.start({ dataDirectory: join(folder, 's3') }));
  await store.createBucket(BUCKET);
  keep(await forward(SERVICE_PORTS.s3, Number(new URL(store.endpoint).port)));
  const { region, accessKeyId, secretAccessKey } = store;
  const endpoint = `http://127.0.0.1:${SERVICE_PORTS.s3}`;
  const settings = { endpoint, region, bucket: BUCKET, pathStyle: true };
  return { connector: 's3', settings, secrets: { accessKeyId, secretAccessKey } };
}

/** The store takes any free port; chains may reach only the ports that the gateway lists. */
async function forward(port: number, target: number): Promise<Running> {
  const server = createServer((incoming) => {
    const outgoing = connect(target, '127.0.0.1');
    incoming.on('error', () => outgoing.destroy());
    outgoing.on('error', () => incoming.destroy());
    incoming.pipe(outgoing).pipe(incoming);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  });
  return { stop: async () => void server.close() };
}

try {
  await chmod(folder, 0o755);
  const adminKey = process.env['TIDEGATE_ADMIN_KEY'] ?? (await readFile(join(values.data, 'admin-key'), 'utf8')).trim();
  const api = { url: values.url, adminKey };
  console.log('Starting Postgres, Redis and S3; the first time, what is missing is installed.');
  const [shop, cache, archive] = await Promise.all([startPostgres(), startRedis(), startS3()]);
  await call(api, 'PUT', '/connections/shop-db', shop);
  await call(api, 'PUT', '/connections/cache', cache);
  await call(api, 'PUT', '/connections/archive', archive);
  console.log('Ready: the connections shop-db, cache and archive. Try: npm run sample -- order-paid');
} catch (thrown) {
  console.error(thrown instanceof Error ? thrown.message : thrown);
  console.error(`Is the gateway running at ${values.url} (npm start), with its data in ${values.data}?`);
  await stop(1);
}
