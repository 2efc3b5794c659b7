/**
 * Each driver through TLS that succeeds: a gateway as `npm start` runs it, told to trust the authority by which the
 * servers have their certificate. The certificate is good for `localhost` only, so that `127.0.0.1` is another name.
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import * as mariadb from '../../scripts/servers/mariadb.ts';
import * as mongo from '../../scripts/servers/mongo.ts';
import * as mosquitto from '../../scripts/servers/mosquitto.ts';
import * as nats from '../../scripts/servers/nats.ts';
import * as postgres from '../../scripts/servers/postgres.ts';
import type { Running } from '../../scripts/servers/process.ts';
import * as rabbitmq from '../../scripts/servers/rabbitmq.ts';
import * as redis from '../../scripts/servers/redis.ts';
import * as smtp from '../../scripts/servers/smtp.ts';
import { startGateway, type StartedGateway } from '../adversarial/system/support.ts';
import { makeAuthority } from '../support/authority.ts';

interface Connection {
  readonly connector: string;
  readonly settings: Record<string, unknown>;
  readonly secrets: Record<string, string>;
}

type Tls = 'demanded' | 'off';

interface Secured {
  /** Demands TLS of the server, by this name of it. */
  at(host: string): Connection;
  /** To a server that has none. */
  plain(tls: Tls): Connection;
}

const TRUST = 'NODE_EXTRA_CA_CERTS';
const trustedBefore = process.env[TRUST];
const folder = mkdtempSync(join(tmpdir(), 'tidegate-tls-'));
const running: Running[] = [];
const secured = new Map<string, Secured>();
let gateway: StartedGateway;

async function keep<T extends Running>(starting: Promise<T>): Promise<T> {
  const server = await starting;
  running.push(server);
  return server;
}

/** Left out, it is demanded. */
const settingOf = (tls: Tls): { tls?: 'disable' } => (tls === 'off' ? { tls: 'disable' } : {});

type Certificate = Awaited<ReturnType<typeof makeAuthority>>['certificate'];

/** Start the server of a driver, and say how it is reached. */
const SERVERS: Readonly<Record<string, (certificate: Certificate) => Promise<Secured>>> = {
  async postgres(certificate) {
    const server = await keep(postgres.start({ dataDirectory: join(folder, 'postgres'), certificate }));
    const to = (connectionString: string, hostname: string, tls: Tls): Connection => {
      const url = new URL(connectionString);
      url.hostname = hostname;
      const settings = { transport: 'tcp', ...settingOf(tls) };
      return { connector: 'postgres', settings, secrets: { connectionString: url.href } };
    };
    return {
      at: (host) => to(server.connectionString, host, 'demanded'),
      plain: (tls) => to(inject('servers').postgres.connectionString, 'localhost', tls),
    };
  },
  async mysql(certificate) {
    const [server, plain] = await Promise.all([
      keep(mariadb.start({ dataDirectory: join(folder, 'mariadb'), certificate })),
      keep(mariadb.start({ dataDirectory: join(folder, 'mariadb-plain') })),
    ]);
    const to = ({ port, user, password, database }: mariadb.MariadbServer, host: string, tls: Tls): Connection => ({
      connector: 'mysql',
      settings: { host, port, database, ...settingOf(tls) },
      secrets: { user, password },
    });
    return { at: (host) => to(server, host, 'demanded'), plain: (tls) => to(plain, 'localhost', tls) };
  },
  async redis(certificate) {
    const server = await keep(redis.start({ dataDirectory: join(folder, 'redis'), certificate }));
    const to = (scheme: string, host: string, port: number | string): Connection => ({
      connector: 'redis',
      settings: { url: `${scheme}://${host}:${port}` },
      secrets: { password: server.password },
    });
    return {
      at: (host) => to('rediss', host, server.tlsPort),
      plain: (tls) => to(tls === 'off' ? 'redis' : 'rediss', 'localhost', new URL(server.url).port),
    };
  },
  async mqtt(certificate) {
    const server = await keep(mosquitto.start({ dataDirectory: join(folder, 'mosquitto'), certificate }));
    const to = (scheme: string, host: string, url: string | undefined): Connection => ({
      connector: 'mqtt',
      settings: { url: `${scheme}://${host}:${new URL(url ?? '').port}` },
      secrets: { username: server.username, password: server.password },
    });
    return {
      at: (host) => to('mqtts', host, server.tlsUrl),
      plain: (tls) => to(tls === 'off' ? 'mqtt' : 'mqtts', 'localhost', server.url),
    };
  },
  async rabbitmq(certificate) {
    const server = await keep(rabbitmq.start({ certificate }));
    const to = (host: string, port: number | undefined, tls: Tls): Connection => ({
      connector: 'rabbitmq',
      settings: { host, port, ...settingOf(tls) },
      secrets: { user: server.user, password: server.password },
    });
    return {
      at: (host) => to(host, server.tlsPort, 'demanded'),
      plain: (tls) => to('localhost', server.port, tls),
    };
  },
  async nats(certificate) {
    const { main, token } = await keep(nats.start({ dataDirectory: join(folder, 'nats'), certificate }));
    const to = (scheme: string, host: string, tcp: string, secrets: Record<string, string>): Connection => ({
      connector: 'nats',
      settings: { url: `${scheme}://${host}:${new URL(`tcp://${tcp}`).port}` },
      secrets,
    });
    const { user, password } = main;
    return {
      at: (host) => to('tls', host, token.tcp, { token: token.token }),
      plain: (tls) => to(tls === 'off' ? 'nats' : 'tls', 'localhost', main.tcp, { user, password }),
    };
  },
  async mongodb(certificate) {
    const tls = { certificate: readFileSync(certificate.path, 'utf8'), key: readFileSync(certificate.keyPath, 'utf8') };
    const [server, plain] = await Promise.all([keep(mongo.start({ tls })), keep(mongo.start())]);
    const to = ({ port, user, password }: mongo.MongoServer, host: string, of: Tls): Connection => ({
      connector: 'mongodb',
      settings: { hosts: [`${host}:${port}`], database: 'shop', ...settingOf(of) },
      secrets: { user, password },
    });
    return { at: (host) => to(server, host, 'demanded'), plain: (of) => to(plain, 'localhost', of) };
  },
  async smtp(certificate) {
    const [cert, key] = [readFileSync(certificate.path, 'utf8'), readFileSync(certificate.keyPath, 'utf8')];
    const { ports } = await keep(smtp.start({ cert, key }));
    const to = (host: string, port: number, tls: 'starttls' | 'disable'): Connection => ({
      connector: 'smtp',
      settings: { host, port, tls, from: 'shop@example.com', username: smtp.LOGIN.username },
      secrets: { password: smtp.LOGIN.password },
    });
    return {
      at: (host) => to(host, ports.starttls, 'starttls'),
      plain: (tls) => to('localhost', ports.plain, tls === 'off' ? 'disable' : 'starttls'),
    };
  },
};

interface Case {
  readonly driver: string;
  readonly use: string;
  readonly with: Record<string, unknown>;
  /** What the step gives; where the server can tell, that it was asked through TLS. */
  readonly gives: unknown;
  /** What a server without TLS comes to. */
  readonly refusal: string;
}

const CASES: readonly Case[] = [
  {
    driver: 'postgres',
    use: 'postgres.query',
    with: { sql: 'select ssl from pg_stat_ssl where pid = pg_backend_pid()' },
    gives: { rows: [{ ssl: true }] },
    refusal: 'connection.invalid',
  },
  {
    driver: 'mysql',
    use: 'mysql.query',
    with: { sql: "show session status like 'Ssl_version'" },
    gives: { rows: [{ Variable_name: 'Ssl_version', Value: expect.stringMatching(/^TLSv1\.[23]$/) as unknown }] },
    refusal: 'connection.invalid',
  },
  {
    driver: 'redis',
    use: 'redis.command',
    with: { command: ['PING', 'secured'] },
    gives: { result: 'secured' },
    // It waits for the end of what it takes for a command.
    refusal: 'upstream.timeout',
  },
  {
    driver: 'mqtt',
    use: 'mqtt.publish',
    with: { topic: 'secured', text: 'yes', qos: 1 },
    gives: { published: 1 },
    refusal: 'upstream.unreachable',
  },
  { driver: 'rabbitmq', use: 'rabbitmq.ping', with: {}, gives: {}, refusal: 'upstream.unreachable' },
  { driver: 'nats', use: 'nats.ping', with: {}, gives: {}, refusal: 'upstream.unreachable' },
  {
    driver: 'mongodb',
    use: 'mongodb.command',
    with: { command: { ping: 1 } },
    gives: { reply: { ok: 1 } },
    refusal: 'upstream.unreachable',
  },
  { driver: 'smtp', use: 'smtp.verify', with: {}, gives: {}, refusal: 'connection.invalid' },
];

beforeAll(async () => {
  const authority = await makeAuthority(folder);
  await Promise.all(
    Object.entries(SERVERS).map(async ([driver, begin]) => secured.set(driver, await begin(authority.certificate))),
  );
  process.env[TRUST] = authority.path;
  gateway = await startGateway();
  running.push({
    stop: async () => {
      await gateway.stop();
      gateway.remove();
    },
  });
});

afterAll(async () => {
  if (trustedBefore === undefined) delete process.env[TRUST];
  else process.env[TRUST] = trustedBefore;
  await Promise.all(running.map((each) => each.stop()));
  rmSync(folder, { recursive: true, force: true });
});

const securedOf = (driver: string): Secured => {
  const found = secured.get(driver);
  if (found === undefined) throw new Error(`There is no server of ${driver}.`);
  return found;
};

interface Outcome {
  readonly status: number;
  readonly body: unknown;
  readonly shown: string;
}

/** Runs a chain of that one step; gives also all that may be read of it from outside. */
async function run(name: string, { use, with: params }: Case, connection: Connection): Promise<Outcome> {
  await gateway.manage('PUT', `/connections/${name}`, connection);
  await gateway.manage('PUT', `/chains/${name}`, {
    triggers: { api: { type: 'http', method: 'POST', path: `/${name}`, auth: 'public' } },
    steps: { ask: { use, connection: name, with: params } },
    output: '{{ steps.ask }}',
  });
  const logged = gateway.lines.length;
  const response = await fetch(`${gateway.url}/${name}`, { method: 'POST' });
  const text = await response.text();
  const body: unknown = JSON.parse(text);
  return { status: response.status, body, shown: [text, ...gateway.lines.slice(logged)].join('\n') };
}

/** What nobody else knows; names of users stand in many texts. */
const secretOf = ({ secrets: { password, token, connectionString = '' } }: Connection): string =>
  password ?? token ?? new URL(connectionString).password;

describe.concurrent.each(CASES)('$driver', (each) => {
  const { driver, gives, refusal } = each;

  test('does its work through TLS with a server whose certificate is good', async () => {
    const done = await run(`${driver}-good`, each, securedOf(driver).at('localhost'));
    expect(done).toMatchObject({ status: 200, body: gives });
  });

  test('does not speak with a server whose certificate is for another name, and shows no secret', async () => {
    const connection = securedOf(driver).at('127.0.0.1');
    const { status, body, shown } = await run(`${driver}-other`, each, connection);
    expect({ status, body }).toMatchObject({ status: 502, body: { code: 'upstream.unreachable' } });
    expect(shown).not.toContain(secretOf(connection));
  });

  test('does not speak with a server that has no TLS unless told to, and shows no secret', async () => {
    const { plain } = securedOf(driver);
    expect(await run(`${driver}-clear`, each, plain('off'))).toMatchObject({ status: 200 });
    const connection = plain('demanded');
    const { body, shown } = await run(`${driver}-plain`, each, connection);
    expect(body).toMatchObject({ code: refusal });
    expect(shown).not.toContain(secretOf(connection));
  });
});
