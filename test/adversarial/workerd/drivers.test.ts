/** Rows 38–40: input on its way into databases and stores, through chains and against the real servers. */

import { beforeAll, describe, expect, inject, test } from 'vitest';
import { call, codeOf, manage, publish } from '../../workerd/gateway/fixtures.ts';

const servers = inject('servers');

beforeAll(async () => {
  const { postgres, redis, s3 } = servers;
  for (const [name, connection] of Object.entries({
    'attacked-db': {
      connector: 'postgres',
      settings: { endpoint: postgres.endpoint },
      secrets: { connectionString: postgres.connectionString, token: postgres.token },
    },
    'attacked-cache': { connector: 'redis', settings: { url: redis.url }, secrets: { token: redis.token } },
    'attacked-store': {
      connector: 's3',
      settings: { endpoint: s3.endpoint, region: s3.region, bucket: s3.bucket },
      secrets: { accessKeyId: s3.accessKeyId, secretAccessKey: s3.secretAccessKey },
    },
  })) {
    expect((await manage(`PUT /connections/${name}`, connection)).status).toBeLessThan(300);
  }
});

const step = (use: string, connection: string, parameters: unknown) => ({
  steps: { a: { use, connection, with: parameters } },
  output: '{{ steps.a }}',
});

describe('attack 38: SQL in an input', () => {
  const INPUTS = [
    "' or 1=1 --",
    "1'; drop table orders; --",
    '$1',
    '\\',
    "'||pg_sleep(5)||'",
    '"; select 1',
    'a\u0000b',
  ];

  test('stays a value: parameters never become part of a statement', async () => {
    const { route } = await publish(
      step('postgres.query', 'attacked-db', { sql: 'select $1::text as given', params: ['{{ trigger.body.v }}'] }),
    );
    for (const v of INPUTS) {
      const answered = await call(route, { v });
      // Postgres itself has no text with a zero character.
      if (v.includes('\u0000')) expect(answered.status, JSON.stringify(v)).toBe(502);
      else expect(answered.body['rows'], JSON.stringify(v)).toEqual([{ given: v }]);
    }
    const count = await publish(
      step('postgres.query', 'attacked-db', { sql: 'select count(*)::int as n from orders' }),
    );
    expect((await call(count.route)).status).toBe(200);
  });

  test('a statement holds one statement, so that none can be appended', async () => {
    const { route } = await publish(step('postgres.query', 'attacked-db', { sql: 'select 1; drop table orders' }));
    expect((await call(route)).status).toBe(502);
  });
});

describe('attack 39: Redis commands in an input', () => {
  test('a value with line breaks and commands is one argument', async () => {
    const hostile = 'v\r\n*1\r\n$8\r\nFLUSHALL\r\nSET injected yes';
    const set = await publish(
      step('redis.set', 'attacked-cache', { key: '{{ trigger.body.k }}', value: '{{ trigger.body.v }}' }),
    );
    const get = await publish(step('redis.get', 'attacked-cache', { key: '{{ trigger.body.k }}' }));
    for (const k of ['attack 39', 'a\r\nFLUSHALL', 'a" "b', '{{ 1 }}']) {
      expect((await call(set.route, { k, v: hostile })).body).toEqual({ stored: true });
      expect((await call(get.route, { k })).body).toEqual({ value: hostile });
    }
    expect((await call(get.route, { k: 'injected' })).body).toEqual({ value: null });
  });

  test.each([
    'FLUSHALL',
    'eval',
    'Config',
    'SCRIPT',
    'MODULE',
    'SLAVEOF',
    'REPLICAOF',
    'MIGRATE',
    'DEBUG',
    'ACL',
    'CLIENT',
    'get\r\nflushall',
    '',
  ])('the command %j is refused, also where it comes from an input', async (name) => {
    const one = await publish(step('redis.command', 'attacked-cache', { command: ['{{ trigger.body.name }}', 'x'] }));
    expect(codeOf(await call(one.route, { name }))).toEqual([500, 'step.params']);
    const many = await publish(
      step('redis.pipeline', 'attacked-cache', {
        commands: [
          ['GET', 'a'],
          ['{{ trigger.body.name }}', 'x'],
        ],
      }),
    );
    expect(codeOf(await call(many.route, { name }))).toEqual([500, 'step.params']);
  });

  test('an argument that is no text or number is refused', async () => {
    const { route } = await publish(
      step('redis.command', 'attacked-cache', { command: ['SET', 'a', '{{ trigger.body.v }}'] }),
    );
    for (const v of [['x', 'EX', '1'], { a: 1 }, true, null]) {
      expect(codeOf(await call(route, { v })), JSON.stringify(v)).toEqual([500, 'step.params']);
    }
  });
});

describe('attack 40: S3 keys that walk or confuse', () => {
  test('are stored literally, beside one another', async () => {
    const put = await publish(
      step('s3.put', 'attacked-store', { key: '{{ trigger.body.k }}', text: '{{ trigger.body.k }}' }),
    );
    const get = await publish(step('s3.get', 'attacked-store', { key: '{{ trigger.body.k }}' }));
    const keys = [
      'attack/../up',
      'attack/%2e%2e/up',
      'attack//up',
      'attack/./up',
      'attack/u\u0308p',
      'attack/\u00fcp',
      'attack/\u202eup',
      'up',
    ];
    for (const k of keys) expect((await call(put.route, { k })).status, JSON.stringify(k)).toBe(200);
    for (const k of keys) expect((await call(get.route, { k })).body['body'], JSON.stringify(k)).toBe(k);
  });

  test('do not leave the bucket', async () => {
    const { route } = await publish(step('s3.get', 'attacked-store', { bucket: '{{ trigger.body.b }}', key: 'a' }));
    for (const b of ['../other', 'a/../b', 'a/b', '..', 'b?x', 'b#x', 'evil.example/b']) {
      expect(codeOf(await call(route, { b })), b).toEqual([500, 'step.params']);
    }
  });
});
