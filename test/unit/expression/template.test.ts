import fc from 'fast-check';
import jsonata from 'jsonata';
import { describe, expect, it } from 'vitest';
import { compileExpression, compileTemplate, RANDOM } from '../../../src/core/expression/index.ts';
import { FaultError, type Fault } from '../../../src/core/errors.ts';

const scope = {
  input: { id: 7, name: 'Ada', tags: ['a', 'b'], none: null },
  steps: { order: { rows: [] as unknown[], total: 12.5 } },
  run: { id: 'r', now: 1_700_000_000_000 },
};

async function evaluate(value: unknown): Promise<unknown> {
  const template = compileTemplate(value, 'with');
  if (!template.ok) throw new FaultError(template.fault);
  return template.value.evaluate(scope);
}

async function faultOf(value: unknown): Promise<Fault> {
  try {
    await evaluate(value);
  } catch (thrown) {
    if (thrown instanceof FaultError) return thrown.fault;
    throw thrown;
  }
  throw new Error('no fault');
}

describe('a template', () => {
  it.each([
    ['{{ input.id }}', 7],
    ['{{ input.tags }}', ['a', 'b']],
    ['{{ input.none }}', null],
    ['Hello {{ input.name }}, {{ input.id }} {{ input.tags }}', 'Hello Ada, 7 ["a","b"]'],
    ['{{ {"a": {"b": input.id}} }}', { a: { b: 7 } }],
    ["{{ '}}' & input.name }}", '}}Ada'],
    ['{{ "{{" }} stays', '{{ stays'],
    ['{{ input.id /* }} */ }}', 7],
    ['{{ input.missing ?? "default" }}', 'default'],
    ['{{ input.missing ?: "default" }}', 'default'],
    ['<{{ input.missing? }}>', '<>'],
    ['{{ $now() }}', '2023-11-14T22:13:20.000Z'],
    ['no expression', 'no expression'],
    [
      { a: '{{ input.id }}', b: { c: ['{{ input.name }}', 1, null] } },
      { a: 7, b: { c: ['Ada', 1, null] } },
    ],
    [{ a: '{{ input.missing? }}', b: ['{{ input.missing? }}', 1] }, { b: [1] }],
    [['{{ input.none }}'], [null]],
  ])('gives %j as %j', async (value, expected) => {
    expect(await evaluate(value)).toEqual(expected);
  });

  it('shares what holds no expression', () => {
    const value = { a: [1, { b: 'x' }] };
    const template = compileTemplate(value);
    expect(template.ok && template.value.literal && template.value.evaluate({})).toBe(value);
  });

  it.each([
    ['{{ input.adress.street }}', 'with: `input.adress.street` is missing: `input` has no `adress`'],
    ['{{ steps.order.rows[0].vip }}', '`steps.order.rows` is empty'],
    ['{{ input.tags[5] }}', '`input.tags` has 2 items'],
    ['{{ inputs.id }}', 'there is no `inputs`'],
    ['{{ input.id + input.nothing }}', '`input` has no `nothing`'],
  ])('names the missing reference of %s', async (text, words) => {
    const fault = await faultOf(text);
    expect(fault.code).toBe('expression.missing');
    expect(fault.message).toContain(words);
  });

  it.each([
    [{ a: ['{{ input. }}'] }, 'with.a[0]'],
    ['{{ input.id', 'with'],
    [{ b: '{{ 1 + }}' }, 'with.b'],
  ])('tells where %j cannot be read', (value, path) => {
    const template = compileTemplate(value, 'with');
    expect(template.ok ? undefined : template.fault.issues?.[0]?.path).toBe(path);
  });

  it.each([
    ['{{ steps.a.x + $$.steps.`b-c`.y }}', ['a', 'b-c']],
    ['{{ $map(input.tags, function($t){ $$.steps.d }) }}', ['d']],
    ['{{ $keys(steps) }}', ['*']],
    ['{{ input.steps.a }}', []],
  ])('knows the steps that %s refers to', (text, steps) => {
    const template = compileTemplate(text);
    expect(template.ok && template.value.steps).toEqual(steps);
  });

  it.each([
    ['{{ $now() }}', true],
    ['{{ $millis() }}', true],
    ['{{ $random() }}', false],
    ['{{ ($f := $random; $f()) }}', false],
    ['{{ input.now }}', true],
  ])('knows whether %s gives the same again', (text, deterministic) => {
    const template = compileTemplate(text);
    expect(template.ok && template.value.deterministic).toBe(deterministic);
  });
});

describe('a random number', () => {
  it('comes from the source that the scope hides, at once; without one from the library', async () => {
    const template = compileTemplate({ n: '{{ $random() * 2 }}' });
    const evaluated = template.ok && template.value.evaluate({ [RANDOM]: () => 0.25 });
    expect(evaluated).toEqual({ n: 0.5 });
    expect(await (template.ok && template.value.evaluate({}))).toEqual({ n: expect.any(Number) });
  });

  it.each(['{{ $keys($) }}', '{{ $string($) }}', '{{ $.* }}', '{{ $lookup($, "random") ?? 0 }}'])(
    'cannot be told from %s',
    async (text) => {
      const template = compileTemplate(text);
      const told = template.ok && (await template.value.evaluate({ a: 1, [RANDOM]: () => 0.25 }));
      expect(JSON.stringify(told)).not.toMatch(/random|0\.25/);
    },
  );
});

describe('closures and the library', () => {
  const leaf = fc.constantFrom(
    'a',
    'b',
    'a.b',
    'a.c.d',
    'list',
    'list[0]',
    'list.a',
    'list[-1].b',
    'deep.list.a',
    '1',
    '0',
    '"x"',
    '""',
    'true',
    'null',
    'missing',
  );
  const { expression } = fc.letrec<{ expression: string }>((tie) => ({
    expression: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      leaf,
      fc
        .tuple(
          tie('expression'),
          fc.constantFrom('+', '-', '*', '/', '%', '=', '!=', '<', '<=', '>', '&', 'and', 'or'),
          tie('expression'),
        )
        .map(([left, operator, right]) => `(${left}) ${operator} (${right})`),
      fc
        .tuple(tie('expression'), tie('expression'), tie('expression'))
        .map(([test, yes, no]) => `(${test}) ? (${yes}) : (${no})`),
      fc.tuple(tie('expression'), tie('expression')).map(([first, second]) => `[${first}, ${second}]`),
      fc.tuple(tie('expression'), tie('expression')).map(([first, second]) => `{"x": ${first}, "y": ${second}}`),
      fc.tuple(tie('expression'), tie('expression')).map(([first, second]) => `(${first}) ?? (${second})`),
      fc
        .tuple(
          fc.constantFrom(
            'count',
            'exists',
            'string',
            'not',
            'boolean',
            'length',
            'uppercase',
            'sum',
            'max',
            'floor',
            'number',
          ),
          tie('expression'),
        )
        .map(([name, argument]) => `$${name}(${argument})`),
    ),
  }));
  const leafValue = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constantFrom('x', '', null, true, false, 2.5, '12'));
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 3 },
      leafValue,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), tie('value'), { maxKeys: 3 }),
    ),
  }));
  const input = fc.dictionary(fc.constantFrom('a', 'b', 'list', 'deep'), value);

  const plain = (result: unknown): unknown => (result === undefined ? undefined : JSON.parse(JSON.stringify(result)));

  it('agree on random expressions over random data', async () => {
    await fc.assert(
      fc.asyncProperty(expression, input, async (source, data) => {
        const ours = compileExpression(source);
        if (!ours.ok) return;
        let expected: unknown;
        try {
          expected = { value: plain(await jsonata(source).evaluate(data)) };
        } catch (thrown) {
          expected = { code: (thrown as { code?: unknown }).code };
        }
        let actual: unknown;
        try {
          actual = { value: plain(await ours.value.evaluate(data)) };
        } catch (thrown) {
          actual = { code: ((thrown as FaultError).fault.data as { code?: unknown }).code };
        }
        expect(actual).toEqual(expected);
      }),
      { numRuns: 3_000 },
    );
  });
});
