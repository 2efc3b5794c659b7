import { expect, it } from 'vitest';
import { servers } from './fixtures.ts';
import { probe, probesWork, type ProbeCase } from './probes.ts';

const { postgres, redis, s3 } = servers;
const withPassword = (password: string): string => {
  const url = new URL(postgres.connectionString);
  url.password = password;
  return url.href;
};
const elsewhere = new URL(postgres.connectionString);
elsewhere.port = '1';
const DEAD = 'http://127.0.0.1:1';

const CASES: Readonly<Record<string, ProbeCase>> = {
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

probesWork(CASES);

it('a connection whose owner refuses PING has nothing that could be probed', async () => {
  const settings = { url: redis.tcp, refuse: ['PING'] };
  const probed = await probe({ connector: 'redis', settings, secrets: { password: redis.password } });
  expect(probed.body).toMatchObject({ status: 'failing', error: { code: 'connection.invalid' } });
});
