/**
 * The real servers of a test run: started once, together, before the first test, and stopped after the
 * last. Tests read where they are by `inject('servers')`.
 */

import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import pg from 'pg';
import type { TestProject } from 'vitest/node';
import { createMysqlBridge } from '../../scripts/bridge/mysql.ts';
import { createPostgresBridge } from '../../scripts/bridge/postgres.ts';
import { createRedisBridge } from '../../scripts/bridge/redis.ts';
import * as mariadbServer from '../../scripts/servers/mariadb.ts';
import * as azuriteServer from '../../scripts/servers/azurite.ts';
import * as mosquittoServer from '../../scripts/servers/mosquitto.ts';
import * as gcsServer from '../../scripts/servers/gcs.ts';
import type { GcsServiceAccount } from '../../scripts/servers/gcs.ts';
import * as gitServer from '../../scripts/servers/git.ts';
import * as kafkaProxy from '../../scripts/servers/kafka-proxy.ts';
import type { KafkaProxyServer } from '../../scripts/servers/kafka-proxy.ts';
import * as lambdaServer from '../../scripts/servers/lambda.ts';
import * as natsServer from '../../scripts/servers/nats.ts';
import * as oidcServer from '../../scripts/servers/oidc.ts';
import * as podmanServer from '../../scripts/servers/podman.ts';
import * as postgresServer from '../../scripts/servers/postgres.ts';
import { listen, type Running } from '../../scripts/servers/process.ts';
import * as redisServer from '../../scripts/servers/redis.ts';
import * as s3Server from '../../scripts/servers/s3.ts';
import * as smtpServer from '../../scripts/servers/smtp.ts';
import * as upstreamServer from '../../scripts/servers/upstream.ts';
import { startProxy } from './cutting-proxy.ts';
import * as onDemandRabbitmq from './on-demand-rabbitmq.ts';
import * as mongodbServers from './mongodb.ts';
import * as hostileMysql from './hostile-mysql.ts';
import * as hostileSmtp from './hostile-smtp.ts';
import * as hostileRedis from './hostile-redis.ts';
import * as unrulyServer from './unruly.ts';

/** Plain JSON: it travels into workerd. */
export interface TestServers {
  readonly postgres: {
    /** `/sql` of a bridge that takes any credentials for the server of `connectionString`. */
    readonly endpoint: string;
    readonly token: string;
    /** A database with the table `orders`, see {@link ORDERS}. */
    readonly connectionString: string;
    /** Another bridge, to the one database `second`, with a token of its own. */
    readonly second: { readonly endpoint: string; readonly token: string };
  };
  readonly mysql: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly password: string;
    readonly database: string;
    /** A bridge to that database, and its token. */
    readonly endpoint: string;
    readonly token: string;
    /** Ports of servers that attack who connects; see hostile-mysql.ts. */
    readonly hostile: Readonly<Record<hostileMysql.Attack, number>>;
  };
  /** See mongodb.ts. */
  readonly mongodb: mongodbServers.MongodbUnderTest;
  readonly redis: {
    /** A bridge to the database 0, and its token. */
    readonly url: string;
    readonly token: string;
    /** The server itself: `redis://` without a database and login, and by TLS; see {@link CERTIFICATE}. */
    readonly tcp: string;
    readonly tls: string;
    readonly password: string;
    /** May do little; see {@link READER}. */
    readonly reader: { readonly user: string; readonly password: string };
    /** Addresses of servers that are no good Redis; see hostile-redis.ts. */
    readonly hostile: Readonly<Record<hostileRedis.Attack, string>>;
  };
  readonly s3: {
    readonly endpoint: string;
    readonly region: string;
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly bucket: string;
  };
  readonly azure: {
    readonly endpoint: string;
    readonly account: string;
    readonly accountKey: string;
    readonly bucket: string;
  };
  /** See scripts/servers/gcs.ts. */
  readonly gcs: { readonly endpoint: string; readonly serviceAccount: GcsServiceAccount; readonly bucket: string };
  /** See scripts/servers/podman.ts. Null where nobody may start containers, or root alone may. */
  readonly docker: (Omit<podmanServer.PodmanServer, 'stop'> & { readonly cuttingUrl: string }) | null;
  /** See scripts/servers/git.ts. */
  readonly git: Omit<gitServer.GitServer, 'stop'>;
  /** Stand-ins; see scripts/servers/kafka-proxy.ts. */
  readonly kafka: Readonly<Record<'confluent' | 'redpanda', Omit<KafkaProxyServer, 'stop'>>>;
  /** See scripts/servers/lambda.ts. */
  readonly lambda: Omit<lambdaServer.LambdaServer, 'stop'>;
  readonly mqtt: Omit<mosquittoServer.MosquittoServer, 'stop'> & {
    /** Through a proxy that breaks connections; see cutting-proxy.ts. */
    readonly cuttingUrl: string;
  };
  /** To GET before the first use; see on-demand-rabbitmq.ts. */
  readonly rabbitmq: { readonly url: string };
  /** See scripts/servers/nats.ts. */
  readonly nats: Pick<natsServer.NatsServer, 'main' | 'token'>;
  /** See scripts/servers/oidc.ts. */
  readonly oidc: { readonly issuer: string; readonly client: string; readonly secret: string };
  /** See scripts/servers/upstream.ts. */
  readonly upstream: { readonly url: string };
  /** See scripts/servers/smtp.ts and hostile-smtp.ts. */
  readonly smtp: Pick<smtpServer.SmtpServers, 'ports' | 'inbox'> & {
    readonly login: { readonly username: string; readonly password: string; readonly token: string };
    readonly sizeBytes: number;
    readonly hostile: Readonly<Record<hostileSmtp.Attack, number>>;
  };
  /** See unruly.ts. */
  readonly unruly: readonly string[];
}

declare module 'vitest' {
  interface ProvidedContext {
    servers: TestServers;
  }
}

const ORDERS = `
  create table orders (
    id bigint primary key, customer text not null, vip boolean not null default false,
    total numeric(12, 2) not null check (total >= 0), items jsonb not null default '[]', placed_at timestamptz not null
  );
  insert into orders values
    (1, 'Ada', true, 120.50, '[{"sku": "A1", "quantity": 2}]', '2026-01-02T03:04:05Z'),
    (2, 'Grace', false, 7.00, '[]', '2026-01-03T00:00:00Z'),
    (3, 'Edsger', false, 0.99, '[{"sku": "B2", "quantity": 1}]', '2026-02-01T12:00:00Z')`;

const BUCKET = 'tidegate';

/** Of localhost, signed by itself: nobody trusts it. */
const CERTIFICATE = {
  path: resolve(import.meta.dirname, 'untrusted-certificate.pem'),
  keyPath: resolve(import.meta.dirname, 'untrusted-key.pem'),
};

/** Rules of the ACL of Redis. */
const READER = 'resetchannels ~reader:* +get +ping +select';

/** No test run takes so long. */
const ABANDONED_MILLISECONDS = 3_600_000;

interface Shared {
  readonly servers: Promise<TestServers>;
  readonly running: Running[];
  readonly folder: Promise<string>;
  users: number;
}

/** Each project loads this module anew; what they share stands outside of it. */
const global: { [key: symbol]: Shared | undefined } = globalThis;
const SHARED = Symbol.for('tidegate.test.servers');

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const shared = (global[SHARED] ??= startAll());
  shared.users += 1;
  const teardown = async (): Promise<void> => {
    shared.users -= 1;
    if (shared.users > 0) return;
    global[SHARED] = undefined;
    await Promise.all(shared.running.map((each) => each.stop()));
    await rm(await shared.folder, { recursive: true, force: true });
  };
  try {
    project.provide('servers', await shared.servers);
  } catch (error) {
    await teardown();
    throw error;
  }
  return teardown;
}

function startAll(): Shared {
  const running: Running[] = [];
  const folder = makeFolder();
  /** What was started is stopped, also where another server then fails. */
  const keep = async <T extends Running>(starting: Promise<T>): Promise<T> => {
    const server = await starting;
    running.push(server);
    return server;
  };
  const at = async (name: string): Promise<{ dataDirectory: string }> => ({ dataDirectory: join(await folder, name) });

  const postgres = async (): Promise<TestServers['postgres']> => {
    const { connectionString } = await keep(postgresServer.start(await at('postgres')));
    const url = new URL(connectionString);
    await run(connectionString, 'create database second', ORDERS);
    url.pathname = '/second';
    const token = 'bridge-token';
    const secondToken = 'second-bridge-token';
    const [first, second] = await Promise.all([
      keep(listen(createPostgresBridge({ hosts: [url.host], token }))),
      keep(listen(createPostgresBridge({ connectionString: url.href, token: secondToken }))),
    ]);
    const endpoint = (port: number): string => `http://127.0.0.1:${port}/sql`;
    return {
      endpoint: endpoint(first.port),
      token,
      connectionString,
      second: { endpoint: endpoint(second.port), token: secondToken },
    };
  };

  const mysql = async (): Promise<TestServers['mysql']> => {
    const [{ stop: _, ...server }, hostile] = await Promise.all([
      at('mariadb').then((options) => keep(mariadbServer.start({ ...options, certificate: CERTIFICATE }))),
      keep(hostileMysql.start()),
    ]);
    const { host, port, user, password, database } = server;
    const token = 'mysql-token';
    const url = `mysql://${user}:${password}@${host}:${port}/${database}`;
    const bridge = await keep(listen(createMysqlBridge({ url, token })));
    return { ...server, endpoint: `http://127.0.0.1:${bridge.port}`, token, hostile: hostile.ports };
  };

  const redis = async (): Promise<TestServers['redis']> => {
    const reader = { user: 'reader', password: 'password-of-reader' };
    const users = { [reader.user]: `on >${reader.password} ${READER}` };
    const [server, hostile] = await Promise.all([
      at('redis').then((options) => keep(redisServer.start({ ...options, users, certificate: CERTIFICATE }))),
      keep(hostileRedis.start()),
    ]);
    const token = 'redis-token';
    const { port } = await keep(listen(createRedisBridge({ url: server.url, token })));
    return {
      url: `http://127.0.0.1:${port}`,
      token,
      tcp: `redis://${new URL(server.url).host}`,
      tls: `rediss://localhost:${server.tlsPort}`,
      password: server.password,
      reader,
      hostile: hostile.urls,
    };
  };

  const s3 = async (): Promise<TestServers['s3']> => {
    const { endpoint, region, accessKeyId, secretAccessKey, createBucket } = await keep(s3Server.start(await at('s3')));
    await createBucket(BUCKET);
    return { endpoint, region, accessKeyId, secretAccessKey, bucket: BUCKET };
  };

  const azure = async (): Promise<TestServers['azure']> => {
    const { endpoint, account, accountKey, createContainer } = await keep(azuriteServer.start());
    await createContainer(BUCKET);
    return { endpoint, account, accountKey, bucket: BUCKET };
  };

  const gcs = async (): Promise<TestServers['gcs']> => {
    const { endpoint, serviceAccount } = await keep(gcsServer.start([BUCKET]));
    return { endpoint, serviceAccount, bucket: BUCKET };
  };

  const unruly = async (): Promise<string[]> => {
    const started = await Promise.all([1, 2, 3].map(() => keep(unrulyServer.start())));
    return started.map(({ url }) => url);
  };

  const oidc = async (): Promise<TestServers['oidc']> => {
    const { issuer } = await keep(oidcServer.start());
    return { issuer, client: oidcServer.CLIENT.id, secret: oidcServer.CLIENT.secret };
  };

  const docker = async (): Promise<TestServers['docker']> => {
    if (process.getuid?.() !== 0) {
      console.warn('The tests of Docker are left out: only root can start containers.');
      return null;
    }
    try {
      const { stop: _, ...server } = await keep(podmanServer.start());
      const proxy = await keep(startProxy(Number(new URL(server.url).port)));
      return { ...server, cuttingUrl: `http://127.0.0.1:${proxy.port}` };
    } catch (thrown) {
      if (!(thrown instanceof podmanServer.NoContainers)) throw thrown;
      console.warn('The tests of Docker are left out:', thrown.message, thrown.cause);
      return null;
    }
  };

  const git = async (): Promise<TestServers['git']> => {
    const { stop: _, ...server } = await keep(gitServer.start(await at('git')));
    return server;
  };

  const lambda = async (): Promise<TestServers['lambda']> => {
    const { stop: _, ...server } = await keep(lambdaServer.start());
    return server;
  };

  const kafka = async (): Promise<TestServers['kafka']> => {
    console.warn('Kafka: stand-ins of ours for its HTTP proxies, not Kafka.');
    const startOne = async (proxy: 'confluent' | 'redpanda') => {
      const { stop: _, ...server } = await keep(kafkaProxy.start({ proxy }));
      return server;
    };
    const [confluent, redpanda] = await Promise.all([startOne('confluent'), startOne('redpanda')]);
    return { confluent, redpanda };
  };

  const mqtt = async (): Promise<TestServers['mqtt']> => {
    const options = { ...(await at('mosquitto')), certificate: CERTIFICATE };
    const { stop: _, ...server } = await keep(mosquittoServer.start(options));
    const proxy = await keep(startProxy(Number(new URL(server.url).port)));
    return { ...server, cuttingUrl: `mqtt://127.0.0.1:${proxy.port}` };
  };

  const rabbitmq = async (): Promise<TestServers['rabbitmq']> => {
    const { url } = await keep(onDemandRabbitmq.start({ certificate: CERTIFICATE }));
    return { url };
  };

  const upstream = async (): Promise<TestServers['upstream']> => {
    const { url } = await keep(upstreamServer.start());
    return { url };
  };

  const mongodb = async (): Promise<TestServers['mongodb']> => (await keep(mongodbServers.start(CERTIFICATE))).server;

  const smtp = async (): Promise<TestServers['smtp']> => {
    const [cert, key] = await Promise.all([readFile(CERTIFICATE.path, 'utf8'), readFile(CERTIFICATE.keyPath, 'utf8')]);
    const [{ ports, inbox }, hostile] = await Promise.all([
      keep(smtpServer.start({ cert, key })),
      keep(hostileSmtp.start()),
    ]);
    return { ports, inbox, login: smtpServer.LOGIN, sizeBytes: smtpServer.SIZE_BYTES, hostile: hostile.ports };
  };

  const nats = async (): Promise<TestServers['nats']> => {
    const { main, token } = await keep(natsServer.start({ ...(await at('nats')), certificate: CERTIFICATE }));
    return { main, token };
  };

  const servers = together({
    postgres: postgres(),
    redis: redis(),
    s3: s3(),
    upstream: upstream(),
    unruly: unruly(),
    oidc: oidc(),
    azure: azure(),
    gcs: gcs(),
    mysql: mysql(),
    lambda: lambda(),
    kafka: kafka(),
    git: git(),
    docker: docker(),
    mqtt: mqtt(),
    rabbitmq: rabbitmq(),
    mongodb: mongodb(),
    smtp: smtp(),
    nats: nats(),
  });
  return { servers, running, folder, users: 0 };
}

/** Waits for all of them, so that whatever has started is known when one fails. */
async function together<T extends object>(starting: { readonly [K in keyof T]: Promise<T[K]> }): Promise<T> {
  const results = await Promise.allSettled(
    Object.entries<Promise<unknown>>(starting).map(async ([name, server]) => [name, await server] as const),
  );
  const failed = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
  if (failed.length > 0) {
    throw new AggregateError(failed, `Test servers did not start: ${failed.map(String).join('; ')}`);
  }
  return Object.fromEntries(results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))) as T;
}

async function makeFolder(): Promise<string> {
  const parent = resolve(import.meta.dirname, '../../.tidegate');
  await mkdir(parent, { recursive: true });
  for (const name of await readdir(parent)) {
    const owner = /^test-(\d+)-/.exec(name)?.[1];
    if (owner === undefined || isAlive(Number(owner))) continue;
    // A run that was killed could not clear up after itself. The age spares one of another container, whose
    // process is not visible here.
    const path = join(parent, name);
    const age = await stat(path).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    );
    if (age > ABANDONED_MILLISECONDS) await rm(path, { recursive: true, force: true });
  }
  return mkdtemp(join(parent, `test-${process.pid}-`));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

async function run(connectionString: string, ...statements: readonly string[]): Promise<void> {
  const client = new pg.Client({ connectionString });
  await client.connect();
  try {
    for (const statement of statements) await client.query(statement);
  } finally {
    await client.end();
  }
}
