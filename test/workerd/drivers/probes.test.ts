import { describe, expect, it } from 'vitest';
import { manage } from '../gateway/fixtures.ts';
import { servers } from './fixtures.ts';

interface Case {
  readonly connector: string;
  readonly settings: Record<string, unknown>;
  readonly secrets: Record<string, unknown>;
  /** In place of those of `secrets`, each a canary. */
  readonly wrong: Record<string, unknown>;
  /** In place of those of `settings` or `secrets`. */
  readonly dead: { readonly settings?: Record<string, unknown>; readonly secrets?: Record<string, unknown> };
}

const { postgres, mysql, redis, s3 } = servers;
const withPassword = (password: string): string => {
  const url = new URL(postgres.connectionString);
  url.password = password;
  return url.href;
};
const elsewhere = new URL(postgres.connectionString);
elsewhere.port = '1';
const onMysql = { host: mysql.host, port: mysql.port, database: mysql.database, tls: 'disable' };
const DEAD = 'http://127.0.0.1:1';

const CASES: Readonly<Record<string, Case>> = {
  'Postgres over TCP': {
    connector: 'postgres',
    settings: { tls: 'disable' },
    secrets: { connectionString: postgres.connectionString },
    wrong: { connectionString: withPassword('canary') },
    dead: { secrets: { connectionString: elsewhere.href } },
  },
  'Postgres over HTTP': {
    connector: 'postgres',
    settings: { endpoint: postgres.endpoint },
    secrets: { connectionString: postgres.connectionString, token: postgres.token },
    wrong: { token: 'canary' },
    dead: { settings: { endpoint: `${DEAD}/sql` } },
  },
  'MySQL over TCP': {
    connector: 'mysql',
    settings: onMysql,
    secrets: { user: mysql.user, password: mysql.password },
    wrong: { password: 'canary' },
    dead: { settings: { port: 1 } },
  },
  'MySQL over HTTP': {
    connector: 'mysql',
    settings: { endpoint: mysql.endpoint },
    secrets: { user: 'any', password: mysql.token },
    wrong: { password: 'canary' },
    dead: { settings: { endpoint: DEAD } },
  },
  'Redis over TCP': {
    connector: 'redis',
    settings: { url: redis.tcp },
    secrets: { password: redis.password },
    wrong: { password: 'canary' },
    dead: { settings: { url: 'redis://127.0.0.1:1' } },
  },
  'Redis over HTTP': {
    connector: 'redis',
    settings: { url: redis.url },
    secrets: { token: redis.token },
    wrong: { token: 'canary' },
    dead: { settings: { url: DEAD } },
  },
  S3: {
    connector: 's3',
    settings: { endpoint: s3.endpoint, region: s3.region, bucket: s3.bucket },
    secrets: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey },
    wrong: { secretAccessKey: 'canary' },
    dead: { settings: { endpoint: DEAD } },
  },
};

async function probe(connection: Pick<Case, 'connector' | 'settings' | 'secrets'>) {
  const name = `probed-${crypto.randomUUID()}`;
  const { connector, settings, secrets } = connection;
  const made = await manage(`PUT /connections/${name}`, { connector, settings, secrets });
  expect(made.status, made.text).toBe(201);
  return manage(`POST /connections/${name}/probe`);
}

describe.each(Object.entries(CASES))('the probe of %s', (_, { wrong, dead, ...connection }) => {
  it('tells that all is well', async () => {
    expect((await probe(connection)).body).toMatchObject({ status: 'well', error: null });
  });

  it('tells that the credentials are not taken, without a word of them', async () => {
    const probed = await probe({ ...connection, secrets: { ...connection.secrets, ...wrong } });
    expect(probed.body).toMatchObject({ status: 'failing', error: { code: 'upstream.unauthorized' } });
    expect(probed.text).not.toContain('canary');
  });

  it('tells that nobody is there', async () => {
    const probed = await probe({
      ...connection,
      settings: { ...connection.settings, ...dead.settings },
      secrets: { ...connection.secrets, ...dead.secrets },
    });
    expect(probed.body).toMatchObject({ status: 'failing', error: { code: 'upstream.unreachable' } });
  });
});

it('a connection whose owner refuses PING has nothing that could be probed', async () => {
  const settings = { url: redis.tcp, refuse: ['PING'] };
  const probed = await probe({ connector: 'redis', settings, secrets: { password: redis.password } });
  expect(probed.body).toMatchObject({ status: 'failing', error: { code: 'connection.invalid' } });
});
