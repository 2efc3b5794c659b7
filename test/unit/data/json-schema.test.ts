import { validate, type Schema } from '@cfworker/json-schema';
import fc from 'fast-check';
import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { compileFast } from '../../../src/core/data/json-schema-fast.ts';
import { compileJsonSchema } from '../../../src/core/data/json-schema.ts';
import { isObject } from '../../../src/core/json.ts';
import { readShared, sharedMissing } from '../../support/shared.ts';

function issuesOf(schema: unknown, value: unknown): readonly { path: string; message: string }[] {
  const compiled = compileJsonSchema(schema);
  if (!compiled.ok) throw new Error(compiled.fault.message);
  return compiled.value(value);
}

const order = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  required: ['id', 'lines'],
  properties: {
    id: { type: 'string', minLength: 2, maxLength: 8 },
    state: { enum: ['new', 'paid'] },
    lines: {
      type: 'array',
      minItems: 1,
      items: {
        type: 'object',
        required: ['sku'],
        properties: { sku: { type: 'string' }, count: { type: 'integer', minimum: 1 } },
      },
    },
  },
  additionalProperties: false,
};

describe('messages', () => {
  test.for<[unknown, string, RegExp]>([
    [null, '', /Must be an object, not null/],
    [{ lines: [{ sku: 'a' }] }, 'id', /is missing/],
    [{ id: 'a', lines: [{ sku: 'a' }] }, 'id', /at least 2/],
    [{ id: '123456789', lines: [{ sku: 'a' }] }, 'id', /at most 8/],
    [{ id: 'abc', lines: [] }, 'lines', /at least 1/],
    [{ id: 'abc', lines: [{ sku: 'a' }, { sku: 7 }] }, 'lines.1.sku', /Must be text, not a number/],
    [{ id: 'abc', lines: [{ sku: 'a', count: 0 }] }, 'lines.0.count', /at least 1/],
    [{ id: 'abc', lines: [{ sku: 'a', count: 1.5 }] }, 'lines.0.count', /whole number/],
    [{ id: 'abc', lines: [{ sku: 'a' }], state: 'pad' }, 'state', /"paid"/],
    [{ id: 'abc', lines: [{ sku: 'a' }], sate: 'new' }, 'sate', /"state"/],
  ])('%j is told at "%s"', ([value, path, message]) => {
    expect(issuesOf(order, value)).toEqual([{ path, message: expect.stringMatching(message) }]);
  });

  test('all mistakes are told at once', () => {
    expect(
      issuesOf(order, { id: 1, lines: [{}], extra: true })
        .map(({ path }) => path)
        .toSorted(),
    ).toEqual(['extra', 'id', 'lines.0.sku']);
  });

  test('those of the library are in the same words and paths', () => {
    const schema = {
      type: 'object',
      required: ['a'],
      properties: {
        a: { type: ['string', 'null'], pattern: '^x' },
        'b/c~d': { multipleOf: 2 },
        e: { format: 'email' },
      },
      patternProperties: { '^p': { type: 'number' } },
      additionalProperties: false,
    };
    expect(issuesOf(schema, { p1: 'x', f: 1 })).toEqual([
      { path: 'a', message: '"a" is missing.' },
      { path: 'p1', message: 'Must be number, not string.' },
      { path: 'f', message: 'This field is not allowed here; remove it.' },
    ]);
    expect(issuesOf(schema, { a: 'y', 'b/c~d': 3, e: 'no' }).map(({ path }) => path)).toEqual(['a', 'b/c~d', 'e']);
    expect(issuesOf(schema, { a: null, f: 1 })).toEqual([{ path: 'f', message: expect.stringMatching(/not allowed/) }]);
    expect(issuesOf({ oneOf: [{ minimum: 1 }, { minimum: 2 }] }, 3)).toEqual([
      { path: '', message: expect.stringMatching(/exactly one/) },
    ]);
  });

  test('a const that is an object is explained too', () => {
    expect(issuesOf({ const: { a: 1 } }, { a: 2 })).toHaveLength(1);
  });
});

describe('schemas that are refused', () => {
  test.for<[unknown, string]>([
    ['text', ''],
    [null, ''],
    [[], ''],
    [{ $schema: 'https://json-schema.org/draft/2019-09/schema' }, '$schema'],
    [{ $schema: 7 }, '$schema'],
    [{ type: 'text' }, 'type'],
    [{ type: [] }, 'type'],
    [{ required: 'id' }, 'required'],
    [{ properties: [] }, 'properties'],
    [{ properties: { a: 7 } }, 'properties.a'],
    [{ items: { minimum: '1' } }, 'items.minimum'],
    [{ minLength: -1 }, 'minLength'],
    [{ pattern: '(' }, 'pattern'],
    [{ patternProperties: { '[': true } }, 'patternProperties.['],
    [{ anyOf: [] }, 'anyOf'],
    [{ $ref: 'https://example.com/schema.json' }, '$ref'],
    [{ $ref: 'http://169.254.169.254/' }, '$ref'],
    [{ $ref: 'https://json-schema.org/draft/2020-12/schema' }, '$ref'],
    [{ $ref: '#/$defs/missing' }, '$ref'],
    [{ allOf: [{ properties: { a: { $ref: 'other.json' } } }] }, '$ref'],
    [{ $dynamicRef: '#node' }, '$ref'],
    [{ $recursiveRef: '#' }, '$recursiveRef'],
  ])('%j is refused at "%s"', ([schema, path]) => {
    const compiled = compileJsonSchema(schema);
    expect(compiled).toMatchObject({ ok: false, fault: { code: 'chain.invalid' } });
    if (!compiled.ok) expect(compiled.fault.issues?.map((issue) => issue.path)).toContain(path);
  });

  test('a schema that is nested without measure', () => {
    let schema: unknown = {};
    for (let depth = 0; depth < 5_000; depth++) schema = { not: schema };
    expect(compileJsonSchema(schema)).toMatchObject({ ok: false });
  });
});

describe('hostile schemas and values', () => {
  test('a schema is not changed, and may be frozen', () => {
    const schema = Object.freeze({ $defs: Object.freeze({ a: Object.freeze({ type: 'string' }) }), $ref: '#/$defs/a' });
    expect(issuesOf(schema, 1)).toHaveLength(1);
    expect(issuesOf(schema, 'x')).toHaveLength(0);
  });

  test('endless recursion is an issue, not an exception', () => {
    expect(issuesOf({ $ref: '#' }, {})).toEqual([{ path: '', message: expect.stringMatching(/without end/) }]);
  });

  test('values that no JSON text gives are refused, not thrown at', () => {
    for (const value of [undefined, { a: undefined }, { '\ud800': 1 }]) {
      const schema = {
        type: 'object',
        propertyNames: { maxLength: 3 },
        additionalProperties: { type: 'string' },
        minProperties: 1,
      };
      expect(issuesOf(schema, value).length).toBeGreaterThan(0);
      expect(
        issuesOf({ type: 'object', additionalProperties: { type: 'string' }, required: ['b'] }, value).length,
      ).toBeGreaterThan(0);
    }
  });

  test('names of a prototype are names like any other', () => {
    expect(issuesOf({ required: ['toString', '__proto__'] }, {})).toHaveLength(2);
    const schema: unknown = JSON.parse('{"properties":{"__proto__":{"type":"string"}},"additionalProperties":false}');
    expect(issuesOf(schema, JSON.parse('{"__proto__":1}'))).toHaveLength(1);
    expect(issuesOf(schema, JSON.parse('{"__proto__":"a"}'))).toHaveLength(0);
    expect(issuesOf(schema, JSON.parse('{"constructor":1}'))).toHaveLength(1);
  });

  test('is compiled once for a schema', () => {
    const schema = { type: 'string' };
    expect(compileJsonSchema(schema)).toBe(compileJsonSchema(schema));
  });
});

describe('the compiled keywords', () => {
  const name = fc.constantFrom('a', 'b', 'c');
  const scalar = fc.oneof(
    fc.constantFrom(null, true, false, 0, 1, -1, 2, 1.5, '', 'a', 'ab', '💥', '💥b', '\ud83d'),
    fc.integer({ min: -3, max: 3 }),
  );
  const value = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      scalar,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(name, tie('value'), { maxKeys: 3 }),
    ),
  })).value;
  const type = fc.constantFrom('null', 'boolean', 'number', 'integer', 'string', 'array', 'object');
  const limit = fc.nat({ max: 3 });
  const schema = fc.letrec<{ schema: unknown }>((tie) => ({
    schema: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.boolean(),
      fc.record(
        {
          type: fc.oneof(type, fc.uniqueArray(type, { minLength: 1, maxLength: 3 })),
          enum: fc.array(value, { maxLength: 4 }),
          const: value,
          minimum: limit,
          exclusiveMaximum: limit,
          minLength: limit,
          maxLength: limit,
          maxItems: limit,
          description: fc.constant('x'),
        },
        { requiredKeys: [] },
      ),
      fc.record(
        {
          type: fc.constantFrom('object', 'array', ['object', 'array']),
          required: fc.uniqueArray(name, { maxLength: 2 }),
          properties: fc.dictionary(name, tie('schema'), { maxKeys: 3 }),
          additionalProperties: tie('schema'),
          items: tie('schema'),
          minItems: limit,
          maximum: limit,
          exclusiveMinimum: limit,
        },
        { requiredKeys: [] },
      ),
    ),
  })).schema;

  test('give the verdict of the library, and an explanation for each refusal', () => {
    let refused = 0;
    fc.assert(
      fc.property(schema, value, (randomSchema, randomValue) => {
        const fast = compileFast(randomSchema);
        const { valid } = validate(randomValue, structuredClone(randomSchema) as Schema | boolean, '2020-12');
        expect(fast?.(randomValue)).toBe(valid);
        const issues = issuesOf(randomSchema, randomValue);
        expect(issues.length === 0).toBe(valid);
        if (!valid) refused++;
      }),
      { numRuns: 3_000 },
    );
    expect(refused).toBeGreaterThan(500);
  });

  test('any other keyword goes to the library', () => {
    for (const keyword of ['pattern', 'format', '$ref', 'anyOf', 'uniqueItems', 'prefixItems']) {
      expect(compileFast({ properties: { a: { items: { [keyword]: 'x' } } } }), keyword).toBeUndefined();
    }
  });
});

/**
 * What is not passed, by draft: the schemas of JSON Schema itself are not built in, and neither are vocabularies,
 * so a `$ref` or `$schema` that names one is refused.
 */
const WRONG = {
  '2020-12': [
    'defs.json: validate definition against metaschema / valid definition schema',
    'defs.json: validate definition against metaschema / invalid definition schema',
    'ref.json: remote ref, containing refs itself / remote ref valid',
    'ref.json: remote ref, containing refs itself / remote ref invalid',
    'vocabulary.json: schema that uses custom metaschema with with no validation vocabulary / applicator vocabulary still works',
    'vocabulary.json: schema that uses custom metaschema with with no validation vocabulary / no validation: valid number',
    'vocabulary.json: schema that uses custom metaschema with with no validation vocabulary / no validation: invalid number, but it still validates',
    'vocabulary.json: ignore unrecognized optional vocabulary / string value',
    'vocabulary.json: ignore unrecognized optional vocabulary / number value',
  ],
  '7': [
    'definitions.json: validate definition against metaschema / valid definition schema',
    'definitions.json: validate definition against metaschema / invalid definition schema',
    'ref.json: remote ref, containing refs itself / remote ref valid',
    'ref.json: remote ref, containing refs itself / remote ref invalid',
  ],
} as const;

/** Formats that are only looked at roughly, above all those of other scripts than Latin. */
const OPEN = ['hostname', 'idn-hostname', 'idn-email', 'iri', 'iri-reference', 'uri', 'uri-reference'];

describe.skipIf(sharedMissing)('the public suite', () => {
  const suite = v.record(
    v.string(),
    v.array(
      v.object({
        description: v.string(),
        schema: v.unknown(),
        tests: v.array(v.object({ description: v.string(), data: v.unknown(), valid: v.boolean() })),
      }),
    ),
  );

  const remotes = Object.fromEntries(
    Object.entries(v.parse(v.record(v.string(), v.unknown()), read('json-schema-remotes.json')))
      .filter(([path]) => !/^(?:draft(?!2020-12|7)|v1)/.test(path))
      .map(([path, schema]) => [`http://localhost:1234/${path}`, schema]),
  );

  function read(file: string): unknown {
    return JSON.parse(readShared(`suites/${file}`) ?? '{}');
  }

  interface Outcome {
    readonly wrong: readonly string[];
    readonly count: number;
  }

  function play(draft: string, uri: string, assertsFormats: boolean, isWanted: (file: string) => boolean): Outcome {
    const files = v.parse(suite, read(`json-schema-draft${draft}.json`));
    const wrong: string[] = [];
    let count = 0;
    for (const [file, groups] of Object.entries(files)) {
      if (!isWanted(file)) continue;
      for (const { schema, tests, description } of groups) {
        const named = isObject(schema) ? { $schema: uri, ...schema } : schema;
        const compiled = compileJsonSchema(named, { schemas: remotes, assertsFormats });
        for (const { data, valid, description: what } of tests) {
          count++;
          const verdict = compiled.ok ? compiled.value(data).length === 0 : compiled.fault.message;
          if (verdict !== valid) wrong.push(`${file}: ${description} / ${what}`);
        }
      }
    }
    return { wrong, count };
  }

  test.for([
    ['2020-12', 'https://json-schema.org/draft/2020-12/schema', 1_299],
    ['7', 'http://json-schema.org/draft-07/schema#', 927],
  ] as const)('of draft %s is passed, but for what is named here', ([draft, uri, total]) => {
    const { wrong, count } = play(draft, uri, false, (file) => !file.startsWith('optional/'));
    expect(count).toBe(total);
    expect(wrong).toEqual(WRONG[draft]);
    expect(wrong.length / count).toBeLessThan(0.01);
  });

  test.for([
    ['2020-12', 'https://json-schema.org/draft/2020-12/schema'],
    ['7', 'http://json-schema.org/draft-07/schema#'],
  ] as const)('the formats of draft %s decide', ([draft, uri]) => {
    const files = new Set(OPEN.map((name) => `optional/format/${name}.json`));
    const isFormat = (file: string): boolean => file.startsWith('optional/format/');
    expect(play(draft, uri, true, (file) => isFormat(file) && !files.has(file)).wrong).toEqual([]);
    const open = play(draft, uri, true, (file) => files.has(file));
    expect(open.wrong.length / open.count).toBeLessThan(0.35);
  });
});
