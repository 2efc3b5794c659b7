import { describe, expect, it } from 'vitest';
import { readBody, readBytes } from '../../../src/gateway/body.ts';
import { parseJson } from '../../../src/core/data/exact-json.ts';
import type { Result } from '../../../src/core/errors.ts';
import { LIMITS } from '../../../src/core/limits.ts';

const request = (body: BodyInit | undefined, headers: Record<string, string> = {}): Request =>
  new Request('http://gateway.test/', { method: 'POST', headers, ...(body === undefined ? {} : { body }) });

/** A body of unknown length that tells how much of it was asked for. */
function stream(chunks: number, bytes: number): { readonly body: ReadableStream; readonly pulled: () => number } {
  let pulled = 0;
  const body = new ReadableStream({
    pull(controller) {
      if (pulled++ < chunks) controller.enqueue(new Uint8Array(bytes).fill(97));
      else controller.close();
    },
  });
  return { body, pulled: () => pulled };
}
const streamed = (body: ReadableStream): Request =>
  new Request('http://gateway.test/', { method: 'POST', body, ...{ duplex: 'half' } });

const valueOf = <T>(result: Result<T>): unknown => (result.ok ? result.value : result.fault.code);
const json = { 'content-type': 'application/json' };
const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

describe('bytes', () => {
  it('are those that came', async () => {
    const bytes = new Uint8Array([0, 255, 13, 10, 128]);
    expect(valueOf(await readBytes(request(bytes), 5))).toEqual(bytes);
  });

  it('over the limit are refused by their declared length, unread', async () => {
    const body = request('123456', { 'content-length': '6' });
    expect(valueOf(await readBytes(body, 5))).toBe('request.too-large');
    expect(body.bodyUsed).toBe(false);
  });

  it('over the limit of unknown length are refused as soon as the limit is passed', async () => {
    const { body, pulled } = stream(1_000, 100);
    expect(valueOf(await readBytes(streamed(body), 250))).toBe('request.too-large');
    expect(pulled()).toBeLessThan(10);
  });

  it('of unknown length within the limit are put together', async () => {
    expect(valueOf(await readBytes(streamed(stream(3, 100).body), 300))).toEqual(new Uint8Array(300).fill(97));
  });
});

describe('a body', () => {
  it.each([
    ['application/json', '{"a":1}', { a: 1 }],
    ['application/json; charset=utf-8', '[1]', [1]],
    ['APPLICATION/JSON', 'null', null],
    ['application/problem+json', '0', 0],
    ['application/x-www-form-urlencoded', 'a=1&b=x+y&a=2', { a: '2', b: 'x y' }],
    ['text/plain', '{"a":1}', '{"a":1}'],
    ['application/jsonp', '1', '1'],
    ['application/json', '', undefined],
  ])('of type %s, %s is read as %j', async (type, text, expected) => {
    expect(valueOf(await readBody('POST', request(text, { 'content-type': type })))).toEqual(expected);
  });

  it('that is not there is undefined', async () => {
    expect(valueOf(await readBody('POST', request(undefined)))).toBeUndefined();
  });

  it.each(['{', '{"a":1}}', "{'a':1}", '01', 'undefined', '{"a":1,}', 'NaN'])('%s is no JSON', async (text) => {
    expect(valueOf(await readBody('POST', request(text, json)))).toBe('request.invalid');
  });

  it('over the limit is refused, declared or not', async () => {
    const large = 'x'.repeat(LIMITS.requestBodyBytes + 1);
    expect(valueOf(await readBody('POST', request(large, json)))).toBe('request.too-large');
    expect(valueOf(await readBody('POST', request(large, { 'content-length': String(large.length) })))).toBe(
      'request.too-large',
    );
  });

  it('cannot change the prototype of anything', async () => {
    const value = valueOf(await readBody('POST', request('{"__proto__":{"polluted":true}}', json)));
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
    expect({}).not.toHaveProperty('polluted');
  });
});

describe('depth', () => {
  it('up to the limit is read', () => {
    expect(parseJson(nested(LIMITS.jsonDepth)).ok).toBe(true);
  });

  it.each([
    ['one more level', nested(LIMITS.jsonDepth + 1)],
    ['objects', '{"a":'.repeat(200) + '1' + '}'.repeat(200)],
    ['100,000 brackets that are never closed', '['.repeat(100_000)],
  ])('%s is refused before it is parsed', (_what, text) => {
    const result = parseJson(text);
    expect(result.ok ? '' : result.fault.message).toContain('nested deeper');
  });

  it('does not count brackets in texts, nor siblings', () => {
    expect(parseJson(JSON.stringify({ a: '['.repeat(500), b: '\\"[[['.repeat(200) })).ok).toBe(true);
    expect(parseJson(`[${'[],'.repeat(500)}[]]`).ok).toBe(true);
  });
});
