/** Rows 9–14: hostile bodies, against the whole Worker. */

import { describe, expect, test } from 'vitest';
import { call, codeOf, manage, publish, runsOf } from '../../workerd/gateway/fixtures.ts';

const MEGABYTE = 1024 * 1024;
const echo = { output: { body: '{{ trigger.body }}' } };

/** The gateway still answers, in this isolate. */
async function expectAlive(): Promise<void> {
  expect((await call('GET /_/health')).status).toBe(200);
}

async function gzip(bytes: Uint8Array): Promise<Uint8Array> {
  const packed = new Blob([bytes]).stream().pipeThrough(new CompressionStream('gzip'));
  return new Uint8Array(await new Response(packed).arrayBuffer());
}

describe('attack 9: a body that names prototypes', () => {
  test.each([
    '{"__proto__":{"polluted":true}}',
    '{"constructor":{"prototype":{"polluted":true}}}',
    '{"a":{"__proto__":{"__proto__":{"polluted":true}}}}',
    '[{"__proto__":{"polluted":true}}]',
  ])('%s changes nothing in the isolate, and is read and merged as data', async (text) => {
    const { route } = await publish({
      steps: {
        merged: {
          use: 'data.map',
          with: { all: '{{ $merge([trigger.body, {"own": 1}]) }}', given: '{{ trigger.body }}' },
        },
      },
      output: { seen: '{{ $string(steps.merged.given.polluted) }}', keys: '{{ $keys(steps.merged.all) }}' },
    });
    const { status } = await call(route, text);
    expect([200, 500]).toContain(status);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(Object.keys(Object.prototype)).toEqual([]);
  });

  test('as a form, a query, a header or a parameter of the path is inert as well', async () => {
    const { route } = await publish({ output: { q: '{{ trigger.query }}', b: '{{ trigger.body }}' } });
    const form = { 'content-type': 'application/x-www-form-urlencoded', __proto__x: '1' };
    const answered = await call(
      `${route}?__proto__=x&constructor=y&__proto__[polluted]=1`,
      '__proto__=a&constructor=b',
      form,
    );
    expect(answered.status).toBe(200);
    expect(JSON.parse(answered.text)).toMatchObject({ b: { constructor: 'b' } });
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(Object.getPrototypeOf({})).toBe(Object.prototype);
  });
});

describe('attack 10: a field of an output that names a built-in', () => {
  test.each(['__proto__', 'constructor', 'prototype', '__proto__.polluted', 'constructor.prototype.polluted'])(
    '%s reaches no built-in',
    async (field) => {
      const output = JSON.stringify({ [field]: { polluted: true, toString: 'x' } });
      const text = `{"name":"field","triggers":{"api":{"type":"http","method":"POST","path":"/field","auth":"public"}},"steps":{"a":{"use":"data.map","with":${output}}},"output":"{{ steps.a }}"}`;
      const { status } = await manage('PUT /chains/field', text);
      expect([201, 422]).toContain(status);
      if (status === 201) {
        await call('POST /field', {});
        await manage('DELETE /chains/field');
      }
      expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
      expect(Object.prototype.toString.call({})).toBe('[object Object]');
    },
  );
});

describe('attack 11: a name of a built-in for a step, a chain, a trigger, a connection', () => {
  const NAMES = ['__proto__', 'toString', 'constructor', 'hasOwnProperty', 'prototype', 'valueOf'];

  test.each(NAMES)('%s is refused for a step, and for a trigger', async (name) => {
    const trigger = '"api":{"type":"http","method":"POST","path":"/built-in","auth":"public"}';
    for (const text of [
      `{"triggers":{${trigger}},"steps":{"${name}":{"use":"data.map","with":{"a":1}}}}`,
      `{"triggers":{"${name}":{"type":"http","method":"POST","path":"/built-in"}},"steps":{},"output":1}`,
    ]) {
      const refused = await manage('PUT /chains/built-in', text);
      expect(codeOf(refused), text).toEqual([422, 'chain.invalid']);
      expect(refused.text).toContain(name);
    }
  });

  test.each(NAMES)('%s is refused for a connection, a source and a chain', async (name) => {
    const connection = { connector: 'http', settings: { baseUrl: 'https://a.example' } };
    for (const answered of [
      await manage(`PUT /connections/${name}`, connection),
      await manage(`PUT /sources/${name}`, { scheme: 'stripe', secret: 'whsec_x' }),
      await manage(`PUT /chains/${name}`, { triggers: {}, steps: {} }),
    ]) {
      expect(answered.status).toBeGreaterThanOrEqual(400);
      expect(answered.status).toBeLessThan(500);
    }
  });
});

describe('attack 12: a body that is small on the wire', () => {
  test('gzip of 100 MB is refused unread by a chain, and never unpacked', async () => {
    const { route, name } = await publish(echo);
    const packed = await gzip(new Uint8Array(100 * MEGABYTE).fill(97));
    expect(packed.byteLength).toBeLessThan(900 * 1024);
    for (const encoding of ['gzip', 'deflate', 'br', 'gzip, gzip', 'GZIP']) {
      const refused = await callBytes(route, packed, { 'content-encoding': encoding });
      expect(refused, encoding).toBe(415);
    }
    expect(await callBytes('PUT /_/api/v1/chains/x', packed, { 'content-encoding': 'gzip', ...ADMIN })).toBe(415);
    expect(await runsOf(name)).toBe(0);
    await expectAlive();
  });

  test('JSON 100,000 deep is 400, in objects and in lists, for chains and for the management API', async () => {
    const { route } = await publish(echo);
    for (const text of ['['.repeat(100_000), '{"a":'.repeat(100_000), `${'['.repeat(1_000)}${']'.repeat(1_000)}`]) {
      expect(codeOf(await call(route, text))).toEqual([400, 'request.invalid']);
      expect((await manage('PUT /chains/deep', text)).status).toBeGreaterThanOrEqual(400);
    }
    await expectAlive();
  });

  test('a webhook of 100,000 brackets without a signature is refused before it is read as JSON', async () => {
    await manage('PUT /sources/deep', { scheme: 'stripe', secret: 'whsec_deep' });
    expect(codeOf(await call('POST /hooks/deep', '['.repeat(100_000)))).toEqual([401, 'webhook.unverified']);
  });
});

const ADMIN = { authorization: 'Bearer test-admin-key' };

async function callBytes(route: string, bytes: Uint8Array, headers: Record<string, string>): Promise<number> {
  const { exports } = await import('cloudflare:workers');
  const [method = '', path = ''] = route.split(' ');
  const request = new Request(`https://gateway.test${path}`, {
    method,
    headers: { 'content-type': 'application/json', ...headers },
    body: bytes,
  });
  return (await exports.default.fetch(request)).status;
}

describe('attack 13: JSON sent in place of a form, with forged fields of a file', () => {
  test('is data and names no file, and the management API takes no form', async () => {
    const { route } = await publish({ output: '{{ trigger.body }}' });
    const forged = { files: { upload: { filepath: '/etc/passwd', originalFilename: 'a', mimetype: 'text/plain' } } };
    expect((await call(route, forged)).body).toEqual(forged);
    const parts = '--x\r\ncontent-disposition: form-data; name="f"; filename="/etc/passwd"\r\n\r\nx\r\n--x--\r\n';
    expect(JSON.parse((await call(route, parts, { 'content-type': 'multipart/form-data; boundary=x' })).text)).toBe(
      parts,
    );
    for (const type of ['multipart/form-data; boundary=x', 'application/x-www-form-urlencoded', 'text/plain']) {
      expect((await call('PUT /_/api/v1/chains/form', '{}', { ...ADMIN, 'content-type': type })).status).toBe(415);
    }
  });
});

describe('attack 14: numbers and keys that a parser would change silently', () => {
  test('integers beyond 2^53 arrive whole', async () => {
    const { route } = await publish(echo);
    const { body } = await call(
      route,
      '{"id":12345678901234567890,"small":9007199254740991,"list":[-9007199254740993]}',
    );
    expect(body).toEqual({
      body: { id: '12345678901234567890', small: 9007199254740991, list: ['-9007199254740993'] },
    });
  });

  test.each(['{"a":1e400}', '{"a":[-1e999]}', '{"role":"user","role":"admin"}', '{"a":{"b":1,"\\u0062":2}}'])(
    '%s is 400 and names the place',
    async (text) => {
      const { route, name } = await publish(echo);
      const refused = await call(route, text);
      expect(codeOf(refused)).toEqual([400, 'request.invalid']);
      expect(refused.body['errors']).toMatchObject([{ path: expect.stringMatching(/^(a|role)/) }]);
      expect(await runsOf(name)).toBe(0);
    },
  );

  test.each([
    ['{"steps":{},"steps":{}}', 'twice'],
    ['{"description":1e400}', 'too large'],
    ['{"triggers":{"a":{"x":12345678901234567890}}}', 'exactly'],
  ])('the management API refuses %s', async (text, reason) => {
    const refused = await manage('PUT /chains/exact', text);
    expect(codeOf(refused)).toEqual([422, 'chain.invalid']);
    expect(refused.body['detail']).toContain(reason);
  });
});
