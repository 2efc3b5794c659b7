import { safeParse } from 'valibot';
import { describe, expect, test } from 'vitest';
import { applyMapping as applyWritten } from '../../../src/connectors/data/mapping.ts';
import { data } from '../../../src/connectors/data/index.ts';
import { FaultError, type ErrorCode } from '../../../src/core/errors.ts';
import type { ActionContext } from '../../../src/connectors/kit/types.ts';

const INPUT = { items: [{ sku: 'a' }, { sku: 'b' }], customer: { name: 'Ada', note: null } };

function run(action: 'map' | 'validate', params: unknown) {
  const facts = data.actions[action];
  if (facts === undefined) throw new Error('no such action');
  const parsed = safeParse(facts.params, params);
  if (!parsed.success) throw new Error(parsed.issues[0].message);
  // Pure actions look at nothing of the context but the input.
  return facts.run(parsed.output, { input: INPUT, written: params } as ActionContext);
}

/** A table without expressions: what is evaluated is what was written. */
const applyMapping = (table: unknown, input: unknown): unknown => applyWritten(table, table, input);

const faultCode = (call: () => unknown): ErrorCode | undefined => {
  try {
    call();
  } catch (thrown) {
    return thrown instanceof FaultError ? thrown.fault.code : undefined;
  }
  return undefined;
};

describe('data.map', () => {
  test('without a path gives back the very object', () => {
    const table = { a: 1, b: [{ c: 'x', jsonpath: 7 }], d: null };
    const result = run('map', table);
    expect(result).toEqual({ ok: true, value: table });
    expect('ok' in result && result.ok && result.value).toBe(table);
  });

  test('replaces paths at any depth, and leaves the table as it was', () => {
    const table = { skus: { jsonpath: '$.items[*].sku' }, list: [1, { name: { jsonpath: '$.customer.name' } }] };
    const before = structuredClone(table);
    expect(applyMapping(table, INPUT)).toEqual({ skus: ['a', 'b'], list: [1, { name: 'Ada' }] });
    expect(table).toEqual(before);
    expect(applyMapping({ jsonpath: '$.items[0].sku' }, INPUT)).toBe('a');
  });

  test('keeps what is beside a path as the same objects', () => {
    const same = { deep: [1, 2, 3] };
    const mapped = applyMapping({ same, name: { jsonpath: '$.customer.name' } }, INPUT);
    expect(mapped).toEqual({ same, name: 'Ada' });
    expect((mapped as { same: unknown }).same).toBe(same);
  });

  test('a path may say what it is applied to, which may itself be a path', () => {
    expect(applyMapping({ jsonpath: '$.x', of: { x: 7 } }, INPUT)).toBe(7);
    expect(applyMapping({ jsonpath: '$[*].sku', of: { jsonpath: '$.items' } }, INPUT)).toEqual(['a', 'b']);
  });

  test('a path to one value gives that value, also null; any other path gives a list, also an empty one', () => {
    expect(applyMapping({ jsonpath: '$.customer.note' }, INPUT)).toBe(null);
    expect(applyMapping({ jsonpath: '$.items[*].price' }, INPUT)).toEqual([]);
    expect(applyMapping({ jsonpath: '$..sku' }, INPUT)).toEqual(['a', 'b']);
  });

  test('a missing value is a fault that names the path, unless there is a default', () => {
    expect(faultCode(() => applyMapping({ a: { jsonpath: '$.customer.age' } }, INPUT))).toBe('expression.missing');
    expect(faultCode(() => applyMapping({ jsonpath: '$.x' }, undefined))).toBe('expression.missing');
    expect(() => applyMapping({ jsonpath: '$.customer.age' }, INPUT)).toThrow(/\$\.customer\.age/);
    expect(applyMapping({ jsonpath: '$.customer.age', default: null }, INPUT)).toBe(null);
    expect(applyMapping({ jsonpath: '$.x', default: { jsonpath: '$.customer.name' } }, INPUT)).toBe('Ada');
  });

  test.for([
    'items',
    '$.',
    '$[?',
    '$[?(@.constructor.constructor("return 1")())]',
    '',
    '$.a b',
    '$..[?(process.exit())]',
  ])('the path %j is refused as a syntax error', (jsonpath) => {
    expect(faultCode(() => applyMapping({ jsonpath }, INPUT))).toBe('expression.syntax');
  });

  test('an object with any other member is data', () => {
    for (const value of [{ jsonpath: '$.items', more: 1 }, { jsonpath: ['$'] }, { jsonPath: '$.items' }, { of: 1 }]) {
      expect(applyMapping(value, INPUT)).toBe(value);
    }
  });

  test('names of a prototype are inert', () => {
    const table: unknown = JSON.parse('{"__proto__":{"polluted":{"jsonpath":"$.customer.name"}},"constructor":1}');
    const mapped = applyMapping(table, INPUT);
    expect(JSON.stringify(mapped)).toBe('{"__proto__":{"polluted":"Ada"},"constructor":1}');
    expect(Object.getPrototypeOf(mapped)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('a path that an expression brought in is data, not a path', () => {
    const payload = { jsonpath: '$.customer.name' };
    const written = { copy: '{{ input.payload }}', list: ['{{ input.payload }}'] };
    const evaluated = { copy: payload, list: [payload] };
    expect(applyWritten(evaluated, written, INPUT)).toBe(evaluated);
  });

  test('data that is nested without measure is passed through', () => {
    let deep: unknown = 'end';
    for (let depth = 0; depth < 50_000; depth++) deep = { deep };
    expect(applyWritten(deep, '{{ input }}', INPUT)).toBe(deep);
  });

  test('a list that lost an optional item beside a path is refused', () => {
    const written = ['{{ input.x? }}', { jsonpath: '$.items' }];
    expect(faultCode(() => applyWritten([{ jsonpath: '$.items' }], written, INPUT))).toBe('step.params');
  });

  test('more paths than are kept in memory still work', () => {
    for (let index = 0; index < 1_100; index++) {
      expect(applyMapping({ jsonpath: `$.x${index}`, default: index }, INPUT)).toBe(index);
    }
  });
});

describe('data.validate', () => {
  const schema = { type: 'object', required: ['id'], properties: { id: { type: 'string' } } };

  test('gives the value itself when it is valid', () => {
    const value = { id: 'a', more: 1 };
    const result = run('validate', { value, schema });
    expect('ok' in result && result.ok && result.value).toBe(value);
  });

  test('is a fault with issues when it is not', () => {
    expect(run('validate', { value: { id: 7 }, schema })).toMatchObject({
      ok: false,
      fault: {
        code: 'data.invalid',
        retryable: false,
        message: 'value.id: Must be text, not a number.',
        issues: [{ path: 'id', message: 'Must be text, not a number.' }],
      },
    });
    expect(run('validate', { value: null, schema })).toMatchObject({ ok: false });
  });

  test('a schema that is none, or leads outside, is a mistake in the parameters', () => {
    for (const wrong of [undefined, 'x', { type: 'text' }, { $ref: 'https://example.com/a.json' }]) {
      expect(run('validate', { value: 1, schema: wrong })).toMatchObject({ ok: false, fault: { code: 'step.params' } });
    }
  });

  test('a reference leads to a schema that was given by its URI, and nowhere else', () => {
    const params = { schema: { $ref: 'https://example.com/a.json#/$defs/id' } };
    const schemas = { 'https://example.com/a.json': { $defs: { id: { type: 'string' } } } };
    expect(run('validate', { ...params, schemas, value: 'a' })).toMatchObject({ ok: true });
    expect(run('validate', { ...params, schemas, value: 1 })).toMatchObject({
      ok: false,
      fault: { code: 'data.invalid' },
    });
    const elsewhere = { 'https://example.com/b.json': schemas['https://example.com/a.json'] };
    expect(run('validate', { ...params, schemas: elsewhere, value: 'a' })).toMatchObject({
      ok: false,
      fault: { code: 'step.params', message: expect.stringContaining('leads to nothing') as string },
    });
  });

  test('a format decides, unless told that it only describes', () => {
    const schema = { format: 'date' };
    expect(run('validate', { value: 'soon', schema })).toMatchObject({ ok: false, fault: { code: 'data.invalid' } });
    expect(run('validate', { value: 'soon', schema, formats: false })).toMatchObject({ ok: true });
  });

  test('draft 7 is chosen by $schema', () => {
    const draft7 = {
      $schema: 'http://json-schema.org/draft-07/schema#',
      items: [{ type: 'string' }],
      additionalItems: false,
    };
    expect(run('validate', { value: ['a'], schema: draft7 })).toMatchObject({ ok: true });
    expect(run('validate', { value: ['a', 'b'], schema: draft7 })).toMatchObject({ ok: false });
  });
});
