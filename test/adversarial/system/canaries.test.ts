/**
 * Row 52: secrets that nobody else has are put wherever secrets come in, everything is made to fail, and then
 * nothing that the gateway wrote or said holds one: logs, answers, D1, the objects, R2.
 */

import { createHash, randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { listen, type Running } from '../../../scripts/servers/process.ts';
import { connectors } from '../../../src/connectors/index.ts';
import { startGateway, type StartedGateway } from './support.ts';

/** By what it stands for; its text is found in no other place of the world. */
const canaries = new Map<string, string>();

function canary(what: string): string {
  const text = `cnry${randomBytes(12).toString('hex')}`;
  canaries.set(`${what} (${canaries.size})`, text);
  return text;
}

/** In the forms in which a secret could lie about. */
const formsOf = (text: string): string[] => [
  text,
  encodeURIComponent(text),
  ...[0, 1, 2].map((shift) => {
    // Whatever stands before it shifts its base64; the ends depend on what stands around.
    const encoded = Buffer.from('x'.repeat(shift) + text).toString('base64');
    return encoded.slice(4, -4);
  }),
];

const leaksIn = (text: string): string[] =>
  [...canaries].filter(([, secret]) => formsOf(secret).some((form) => text.includes(form))).map(([what]) => what);

let gateway: StartedGateway;
let upstream: Running & { readonly port: number };
/** What callers were told. */
const answers: string[] = [];
let base: string;

async function ask(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  const reply = await fetch(gateway.url + path, {
    method,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  answers.push(`${[...reply.headers].join('\n')}\n${await reply.clone().text()}`);
  return reply;
}

const manage = (method: string, path: string, body?: unknown): Promise<Response> =>
  ask(method, `/_/api/v1${path}`, body, { authorization: `Bearer ${gateway.adminKey}` });

beforeAll(async () => {
  // Refuses whatever comes, and for some paths breaks off, so that every error path is taken.
  const server = createServer((request, response) => {
    request.resume();
    const path = request.url ?? '';
    if (path.includes('/break')) return void request.socket.destroy();
    if (path.includes('/away')) return void response.writeHead(302, { location: 'http://169.254.169.254/' }).end();
    if (path.includes('/fine')) return void response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
    if (path.includes('/nonsense'))
      return void response.writeHead(200, { 'content-type': 'application/json' }).end('{');
    response.writeHead(path.includes('/401') ? 401 : 500, { 'content-type': 'text/plain' }).end('no');
  });
  upstream = await listen(server);
  base = `http://127.0.0.1:${upstream.port}`;
  gateway = await startGateway();
});

afterAll(async () => {
  await upstream.stop();
  gateway.remove();
});

/** A connection for each way in which a connector takes credentials, a canary in each field of it. */
const credentialsOf = (
  address: string,
): Record<string, { connector: string; settings: Record<string, unknown>; secrets: Record<string, unknown> }> => ({
  'c-http': {
    connector: 'http',
    settings: { baseUrl: address },
    secrets: { bearer: canary('a bearer token'), headers: { 'x-vendor': canary('a secret header') } },
  },
  'c-basic': {
    connector: 'http',
    settings: { baseUrl: address },
    secrets: {
      basic: { username: canary('a user name'), password: canary('a password') },
      headers: { 'x-vendor': canary('a header beside a password') },
    },
  },
  'c-headers': {
    connector: 'http',
    settings: { baseUrl: address },
    secrets: { headers: { 'x-vendor': canary('a header alone') } },
  },
  'c-redis': { connector: 'redis', settings: { url: address }, secrets: { token: canary('a token of Redis') } },
  'c-redis-tcp': {
    connector: 'redis',
    settings: { url: address.replace('http', 'redis') },
    secrets: { user: canary('a user of Redis'), password: canary('a password of Redis') },
  },
  'c-s3': {
    connector: 's3',
    settings: { endpoint: address, region: 'r', bucket: 'bucket' },
    secrets: {
      accessKeyId: canary('a key id of S3'),
      secretAccessKey: canary('a key of S3'),
      sessionToken: canary('a session of S3'),
    },
  },
  'c-docker': {
    connector: 'docker',
    settings: { url: address },
    secrets: { username: canary('a user of Docker'), password: canary('a password of Docker') },
  },
  'c-dockerbearer': {
    connector: 'docker',
    settings: { url: address },
    secrets: { bearer: canary('a token of Docker') },
  },
  'c-git': {
    connector: 'git',
    settings: { url: `${address}/401` },
    secrets: { username: canary('a user of Git'), password: canary('a password of Git') },
  },
  'c-gitbearer': {
    connector: 'git',
    settings: { url: `${address}/fine` },
    secrets: { bearer: canary('a token of Git') },
  },
  'c-lambda': {
    connector: 'lambda',
    settings: { endpoint: address, region: 'eu-central-1', function: 'resize' },
    secrets: {
      accessKeyId: canary('a key id of Lambda'),
      secretAccessKey: canary('a key of Lambda'),
      sessionToken: canary('a session of Lambda'),
    },
  },
  'c-oauth': {
    connector: 'http',
    settings: {
      baseUrl: address,
      oauth: {
        grant: 'token_exchange',
        clientId: 'client',
        endpoints: { token: `${address}/401` },
        authentication: 'client_secret_post',
        key: { algorithm: 'RS256' },
      },
    },
    secrets: {
      oauth: {
        clientSecret: canary('a client secret'),
        privateKey: `-----BEGIN PRIVATE KEY-----\n${canary('a key of a client')}\n-----END PRIVATE KEY-----`,
        subjectToken: canary('a token of a subject'),
        actorToken: canary('a token of an actor'),
      },
    },
  },
  'c-data': {
    connector: 'data',
    settings: { algorithm: 'HS256' },
    secrets: { key: canary('a key that signs'), previousKeys: [canary('a key that has signed')] },
  },
  'c-mqtt': {
    connector: 'mqtt',
    settings: { url: `${address.replace('http', 'ws')}/mqtt` },
    secrets: { username: canary('a user of MQTT'), password: canary('a password of MQTT') },
  },
  'c-kafka': {
    connector: 'kafka',
    settings: { url: address },
    secrets: { username: canary('a user of Kafka'), password: canary('a password of Kafka') },
  },
  'c-kafka-bearer': {
    connector: 'kafka',
    settings: { url: address, proxy: 'redpanda' },
    secrets: { bearer: canary('a token of Kafka') },
  },
  'c-rabbitmq': {
    connector: 'rabbitmq',
    settings: { host: '127.0.0.1', port: Number(new URL(address).port || 80), tls: 'disable' },
    secrets: { user: canary('a user of RabbitMQ'), password: canary('a password of RabbitMQ') },
  },
  'c-mongodb': {
    connector: 'mongodb',
    settings: { hosts: [new URL(address).host], database: 'shop', tls: 'disable' },
    secrets: { user: canary('a user of MongoDB'), password: canary('a password of MongoDB') },
  },
  'c-mail': {
    connector: 'smtp',
    settings: {
      host: new URL(address).hostname,
      port: Number(new URL(address).port),
      tls: 'disable',
      username: 'mailer',
      dkim: { domain: 'example.com', selector: 's1' },
    },
    secrets: {
      password: canary('a password of mail'),
      dkimPrivateKey: `-----BEGIN PRIVATE KEY-----\n${canary('a key of mail')}\n-----END PRIVATE KEY-----`,
    },
  },
  'c-mail-oauth': {
    connector: 'smtp',
    settings: {
      host: new URL(address).hostname,
      port: Number(new URL(address).port),
      username: 'mailer',
      oauth: {
        grant: 'token_exchange',
        clientId: 'client',
        endpoints: { token: `${address}/401` },
        authentication: 'client_secret_post',
        key: { algorithm: 'RS256' },
      },
    },
    secrets: {
      oauth: {
        clientSecret: canary('a client secret of mail'),
        privateKey: `-----BEGIN PRIVATE KEY-----\n${canary('a key of a client of mail')}\n-----END PRIVATE KEY-----`,
        subjectToken: canary('a token of a subject of mail'),
        actorToken: canary('a token of an actor of mail'),
      },
    },
  },
  'c-mysql': {
    connector: 'mysql',
    settings: { endpoint: address },
    secrets: { user: canary('a user of MySQL'), password: canary('a password of MySQL') },
  },
  'c-nats': {
    connector: 'nats',
    settings: { url: address.replace('http', 'ws') },
    secrets: { user: canary('a user of NATS'), password: canary('a password of NATS') },
  },
  'c-natstoken': {
    connector: 'nats',
    settings: { url: address.replace('http', 'ws') },
    secrets: { token: canary('a token of NATS') },
  },
  'c-natsseed': {
    connector: 'nats',
    settings: { url: address.replace('http', 'ws') },
    secrets: { seed: canary('a seed of NATS') },
  },
  'c-natscreds': {
    connector: 'nats',
    settings: { url: address.replace('http', 'ws') },
    secrets: {
      creds:
        `-----BEGIN NATS USER JWT-----\n${canary('a JWT of NATS')}\n------END NATS USER JWT------\n` +
        `-----BEGIN USER NKEY SEED-----\n${canary('a seed in creds')}\n------END USER NKEY SEED------`,
    },
  },
  'c-azurekey': {
    connector: 'azure-blob',
    settings: { account: 'account', endpoint: address, bucket: 'bucket' },
    secrets: { accountKey: canary('a key of Azure') },
  },
  'c-azure': {
    connector: 'azure-blob',
    settings: { account: 'account', endpoint: address, bucket: 'bucket' },
    secrets: { sas: `sv=2021-12-02&sig=${canary('a SAS of Azure')}` },
  },
  'c-gcs': {
    connector: 'gcs',
    settings: { endpoint: address, tokenEndpoint: `${address}/token`, bucket: 'bucket' },
    secrets: {
      serviceAccount: {
        client_email: `${canary('a name at Google')}@example.com`,
        private_key: canary('a key of Google'),
        private_key_id: canary('a key id of Google'),
      },
    },
  },
  'c-hmac': {
    connector: 'gcs',
    settings: { endpoint: address, bucket: 'bucket' },
    secrets: { accessKeyId: canary('a key id of Google'), secretAccessKey: canary('an HMAC key of Google') },
  },
  'c-pg': {
    connector: 'postgres',
    settings: { endpoint: `${address}/sql` },
    secrets: {
      connectionString: `postgresql://u:${canary('a password of Postgres')}@db.example/x`,
      token: canary('a token of a bridge'),
    },
  },
});

/** Names of the fields in a schema of secrets, those of inner objects with dots. */
function fieldsOf(schema: unknown, at = ''): string[] {
  const { type, entries, options, wrapped, pipe } = schema as Record<string, unknown>;
  if (Array.isArray(options)) return [...new Set(options.flatMap((option) => fieldsOf(option, at)))];
  if (wrapped !== undefined) return fieldsOf(wrapped, at);
  if (Array.isArray(pipe) && type !== 'string') return fieldsOf({ ...(pipe[0] as object), pipe: undefined }, at);
  if (entries === undefined) return [at];
  return Object.entries(entries as object).flatMap(([name, field]) =>
    fieldsOf(field, at === '' ? name : `${at}.${name}`),
  );
}

/** The traces that a secret could leave where nobody looks for one. */
async function readEverything(): Promise<void> {
  await manage('GET', '/connection-bundle');
  const exported = await (await manage('GET', '/connection-bundle?tenant=acme')).json();
  await manage('POST', '/connection-bundle?replace=true', exported);
  await manage('GET', '/connections?tenant=acme');
  await manage('GET', '/vault/accesses');
  await manage('GET', '/vault/rotation');
  await manage('GET', '/connectors');
  await manage('GET', '/runs');
  for (const name of ['c-http', 'c-s3', 'c-pg']) await manage('GET', `/connections/${name}/uses`);
}

async function useConnections(): Promise<void> {
  const connections = credentialsOf(base);
  for (const [name, connection] of Object.entries(connections)) {
    expect((await manage('PUT', `/connections/${name}`, connection)).status).toBeLessThan(300);
    await manage('GET', `/connections/${name}`);
    await manage('POST', `/connections/${name}/probe`);
    await manage('PUT', `/connections/${name}?tenant=acme`, connection);
    // Refused, with the secrets in what was sent.
    await manage('PUT', `/connections/${name}`, {
      ...connection,
      secrets: { ...connection.secrets, unknown: canary(`a mistake in ${name}`) },
    });
    await manage('PUT', `/connections/${name}`, { ...connection, settings: { ...connection.settings, unknown: 1 } });
  }
  const steps: Record<string, unknown> = {};
  const fails = { onError: 'continue', retries: { limit: 1, delay: '10ms' } };
  for (const path of ['401', '500', 'break', 'away', 'nonsense', 'fine']) {
    for (const connection of ['c-http', 'c-basic', 'c-oauth']) {
      steps[`${connection.replace('-', '')}${path}`] = {
        use: 'http.get',
        connection,
        with: { url: `/${path}` },
        ...fails,
      };
    }
  }
  steps['redis'] = { use: 'redis.get', connection: 'c-redis', with: { key: 'a' }, ...fails };
  for (const id of ['docker', 'dockerbearer']) {
    steps[id] = { use: 'docker.version', connection: `c-${id}`, with: {}, ...fails };
  }
  for (const id of ['git', 'gitbearer']) {
    steps[id] = { use: 'git.refs', connection: `c-${id}`, with: {}, ...fails };
  }
  steps['lambda'] = { use: 'lambda.invoke', connection: 'c-lambda', with: {}, ...fails };
  steps['redistcp'] = { use: 'redis.get', connection: 'c-redis-tcp', with: { key: 'a' }, ...fails };
  steps['s3'] = { use: 's3.get', connection: 'c-s3', with: { key: 'a' }, ...fails };
  for (const [id, use] of [
    ['azure', 'azure-blob.get'],
    ['gcs', 'gcs.get'],
    ['hmac', 'gcs.get'],
    ['azurekey', 'azure-blob.get'],
  ] as const) {
    steps[id] = { use, connection: `c-${id}`, with: { key: 'a' }, ...fails };
  }
  const [from, to] = [
    { connection: 'c-azure', key: 'a' },
    { connection: 'c-gcs', key: 'a' },
  ];
  steps['copy'] = { use: 'objects.copy', with: { from, to }, ...fails };
  steps['mqtt'] = { use: 'mqtt.ping', connection: 'c-mqtt', with: {}, ...fails };
  steps['kafka'] = { use: 'kafka.ping', connection: 'c-kafka', with: {}, ...fails };
  const records = [{ text: 'a' }];
  steps['kafkabearer'] = {
    use: 'kafka.publish',
    connection: 'c-kafka-bearer',
    with: { topic: 'a', records },
    ...fails,
  };
  steps['rabbitmq'] = { use: 'rabbitmq.ping', connection: 'c-rabbitmq', with: {}, ...fails };
  const ping = { command: { ping: 1 } };
  steps['mongodb'] = { use: 'mongodb.command', connection: 'c-mongodb', with: ping, ...fails };
  steps['mysql'] = { use: 'mysql.query', connection: 'c-mysql', with: { sql: 'select 1' }, ...fails };
  for (const [id, connection] of [
    ['mail', 'c-mail'],
    ['oauthmail', 'c-mail-oauth'],
  ] as const) {
    const mail = { from: 'a@example.com', to: 'b@example.com', subject: 's', text: 't' };
    steps[id] = { use: 'smtp.send', connection, with: mail, ...fails };
    steps[`${id}probe`] = { use: 'smtp.verify', connection, with: {}, ...fails };
  }
  steps['verify'] = { use: 'data.verify', connection: 'c-data', with: { token: 'e30.e30.e30' }, ...fails };
  steps['pg'] = { use: 'postgres.query', connection: 'c-pg', with: { sql: 'select 1' }, ...fails };
  steps['elsewhere'] = { use: 'http.get', connection: 'c-http', with: { url: 'https://evil.example/' }, ...fails };
  for (const mode of ['inline', 'durable']) {
    const triggers = { api: { type: 'http', method: 'POST', path: `/use-${mode}`, auth: 'public', respond: 'result' } };
    const made = await manage('PUT', `/chains/use-${mode}`, { mode, triggers, steps, output: '{{ steps }}' });
    expect(made.status, answers.at(-1)).toBeLessThan(300);
    const used = await ask('POST', `/use-${mode}`, {});
    await manage('GET', `/runs/${used.headers.get('tidegate-run')}`);
  }
}

async function subscribe(): Promise<void> {
  const token = canary('the query of a subscription');
  written.add(token);
  const triggers: Record<string, unknown> = {
    query: { type: 'subscription', to: 'http.events', with: { url: `${base}/500?token=${token}` } },
    pg: { type: 'subscription', to: 'postgres.channel', connection: 'c-pg', with: { channels: ['a'] } },
  };
  for (const path of ['401', '500', 'break', 'away', 'nonsense', 'fine']) {
    for (const connection of ['c-http', 'c-basic', 'c-headers', 'c-oauth']) {
      const url = `/${path}`;
      triggers[connection + path] = { type: 'subscription', to: 'http.events', connection, with: { url } };
    }
  }
  const made = await manage('PUT', '/chains/subscribed', { triggers, steps: {}, output: 1 });
  expect(made.status, answers.at(-1)).toBeLessThan(300);
  await expect
    .poll(async () => {
      const { items } = (await (await manage('GET', '/subscriptions')).json()) as { items: { error: unknown }[] };
      return items.every(({ error }) => error !== null);
    })
    .toBe(true);
}

async function callWithCredentials(): Promise<void> {
  const triggers = { api: { type: 'http', method: 'POST', path: '/keyed', auth: 'key' } };
  const seen = { headers: '{{ trigger.headers }}', query: '{{ trigger.query }}' };
  for (const mode of ['inline', 'durable']) {
    const api = { ...triggers.api, path: `/keyed-${mode}`, respond: 'result' };
    await manage('PUT', `/chains/keyed-${mode}`, { mode, triggers: { api }, steps: {}, output: seen });
    const made = (await (await manage('POST', '/keys', { name: 'canary' })).json()) as { key: string };
    // The one answer that shows a new key.
    answers.pop();
    canaries.set(`an API key (${mode})`, made.key);
    const headers = (): Record<string, string> =>
      Object.fromEntries(
        [
          'cookie',
          'proxy-authorization',
          'cf-access-jwt-assertion',
          'x-auth-token',
          'x-gitlab-token',
          'x-secret',
          'x-csrf-token',
          'api-key',
          'x-amz-security-token',
          'x-goog-iap-jwt-assertion',
          'x-forwarded-authorization',
          'x-password',
        ].map((name) => [name, canary(`the header ${name} (${mode})`)]),
      );
    expect(
      (await ask('POST', `/keyed-${mode}`, {}, { ...headers(), authorization: `Bearer ${made.key}` })).status,
    ).toBe(200);
    await ask('POST', `/keyed-${mode}`, {}, { ...headers(), 'x-api-key': made.key });
    await ask('POST', `/keyed-${mode}`, {}, { ...headers(), authorization: `Bearer ${canary('a wrong API key')}` });
    await ask('POST', `/keyed-${mode}`, {}, { ...headers(), 'x-api-key': canary('another wrong API key') });
    await ask('POST', `/keyed-${mode}`, '{', { ...headers(), 'x-api-key': made.key });
  }
  await ask('GET', '/_/api/v1/chains', undefined, { authorization: `Bearer ${canary('a wrong admin key')}` });
  await ask('GET', '/_/api/v1/chains', undefined, {
    authorization: `Basic ${canary('an admin key under another scheme')}`,
  });
}

async function deliverWebhooks(): Promise<void> {
  const secret = canary('the secret of a source');
  await manage('PUT', '/sources/canary', { scheme: 'stripe', secret: `whsec_${secret}` });
  await manage('GET', '/sources/canary');
  await manage('PUT', '/sources/canary', { scheme: 'nothing', secret: `whsec_${secret}` });
  await ask(
    'POST',
    '/hooks/canary',
    { type: 'x' },
    { 'stripe-signature': 't=1,v1=00', 'x-gitlab-token': canary('a token of a webhook') },
  );
}

/** An author may write a token into an address; the document holds it then, and nothing else may. */
const written = new Set<string>();

async function callWithQueries(): Promise<void> {
  for (const mode of ['inline', 'durable']) {
    for (const path of ['401', '500', 'break', 'away', 'nonsense']) {
      const token = canary(`the query of ${path} (${mode})`);
      written.add(token);
      const name = `query-${mode}-${path}`;
      const triggers = { api: { type: 'http', method: 'POST', path: `/${name}`, auth: 'public', respond: 'result' } };
      const get = { use: 'http.get', with: { url: `${base}/${path}?token=${token}` }, retries: { limit: 0 } };
      expect((await manage('PUT', `/chains/${name}`, { mode, triggers, steps: { get } })).status).toBeLessThan(300);
      const failed = await ask('POST', `/${name}`, {});
      expect(failed.status).toBeGreaterThanOrEqual(400);
      await manage('GET', `/runs/${failed.headers.get('tidegate-run')}`);
    }
  }
}

describe('attack 52: canary secrets', () => {
  test('are found in no answer, log or file, whatever fails', async () => {
    await useConnections();
    await subscribe();
    await callWithCredentials();
    await deliverWebhooks();
    await callWithQueries();
    await readEverything();
    canaries.set('the admin key', gateway.adminKey);
    await gateway.runScheduled();
    await gateway.stop();

    expect(leaksIn(answers.join('\n')), 'in answers').toEqual([]);
    expect(leaksIn(gateway.lines.join('\n')), 'in logs').toEqual([]);
    const files = readdirSync(gateway.directory, { recursive: true, withFileTypes: true }).filter((entry) =>
      entry.isFile(),
    );
    const data = files.filter((entry) => !['admin-key', 'master-key'].includes(basename(entry.name)));
    expect(data.length).toBeGreaterThan(3);
    const texts = data.map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'));
    // The search does see what D1 holds.
    for (const secret of written) expect(texts.some((text) => text.includes(secret))).toBe(true);
    for (const [what, secret] of canaries) if (written.has(secret)) canaries.delete(what);
    for (const [index, text] of texts.entries()) expect(leaksIn(text), data[index]?.name).toEqual([]);
  });

  test('stand in every credential field of every connector', () => {
    const given = new Map<string, Set<string>>();
    for (const { connector, secrets } of Object.values(credentialsOf('http://127.0.0.1'))) {
      const known = given.get(connector) ?? new Set<string>();
      const note = (value: unknown, at: string): void => {
        if (typeof value !== 'object' || value === null) return void known.add(at);
        known.add(at);
        for (const [name, member] of Object.entries(value)) note(member, at === '' ? name : `${at}.${name}`);
      };
      note(secrets, '');
      given.set(connector, known);
    }
    for (const { name, connection } of connectors) {
      if (connection === undefined) continue;
      const fields = fieldsOf(connection.secrets);
      expect(fields, `of ${name}`).not.toEqual([]);
      const forgotten = fields.filter((field) => !(given.get(name)?.has(field) ?? false));
      expect(forgotten, `give ${name} a canary in credentialsOf()`).toEqual([]);
    }
  });

  test('would be found: the search sees what is stored on purpose', () => {
    const shown = createHash('sha256').update('x').digest('hex');
    canaries.set('on purpose', shown);
    for (const form of formsOf(shown)) expect(leaksIn(`before ${form} after`)).toContain('on purpose');
    const bytes = Buffer.from(`user:${shown}!`).toString('base64');
    expect(leaksIn(bytes)).toContain('on purpose');
  });
});
