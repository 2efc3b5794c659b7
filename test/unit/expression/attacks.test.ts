import { describe, expect, it } from 'vitest';
import { compileExpression, compileTemplate } from '../../../src/core/expression/index.ts';
import { canExplode } from '../../../src/core/expression/library.ts';
import { FaultError } from '../../../src/core/errors.ts';

async function codeOf(source: string, input: unknown = {}): Promise<string | undefined> {
  const compiled = compileExpression(source);
  if (!compiled.ok) return compiled.fault.code;
  try {
    const value = await compiled.value.evaluate(input);
    return value === undefined ? 'nothing' : 'value';
  } catch (thrown) {
    return thrown instanceof FaultError ? thrown.fault.code : 'exception';
  }
}

describe('an expression from a hostile author', () => {
  it.each([
    ['__proto__.polluted'],
    ["$lookup($, '__proto__')"],
    ["__lookupSetter__('__proto__')"],
    ['constructor.prototype'],
    ['input.constructor'],
    ['toString'],
  ])('finds nothing inherited: %s', async (source) => {
    expect(['nothing', 'expression.failed', 'expression.syntax']).toContain(await codeOf(source, { input: { a: 1 } }));
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it.each([['$spread($string).constructor'], ['($f := $spread($string); $f.constructor("return 1")())']])(
    'reaches no constructor through a function: %s',
    async (source) => {
      expect(['nothing', 'expression.failed']).toContain(await codeOf(source));
    },
  );

  it('cannot change its input through an overridden $clone, nor later evaluations', async () => {
    const input = { a: { b: 1 } };
    expect(await codeOf('($clone := function($x){$x}; $ ~> |a|{"b": 2}|)', input)).toBe('expression.syntax');
    expect(await codeOf('function($clone){$ ~> |a|{"b": 2}|}(function($x){$x})', input)).toBe('expression.syntax');
    expect(input).toEqual({ a: { b: 1 } });
    const clean = compileExpression('$ ~> |a|{"b": 3}|');
    expect(clean.ok && (await clean.value.evaluate(input))).toEqual({ a: { b: 3 } });
    expect(input).toEqual({ a: { b: 1 } });
  });

  it.each([
    ['[1..10000000]'],
    ['($f := function($n){$n + $f($n + 1)}; $f(0))'],
    ['($f := function(){$f()}; $f())'],
    ["$pad('x', 200000000)"],
    ["$join([1..100000].$pad('x', 1000))"],
  ])('is bounded: %s', async (source) => {
    expect(await codeOf(source)).toBe('expression.bounds');
  });

  it.each([['$match(text, /(a+)+$/)'], ['$replace(text, /(a|aa)*b/, "")'], ['text ~> /(.*)*x/']])(
    'is refused a regular expression that can take forever: %s',
    async (source) => {
      expect(await codeOf(source, { text: 'a'.repeat(50_000) })).toBe('expression.syntax');
    },
  );

  it('keeps harmless regular expressions', () => {
    for (const source of ['^a+$', '(foo|bar)', '[a-z]+@[a-z]+', '(?:abc)', '(ab){3}'])
      expect(canExplode(source)).toBe(false);
  });

  it('has no $eval', async () => {
    expect(await codeOf("$eval('1+1')")).toBe('expression.failed');
    expect(await codeOf("($e := $eval; $e('1+1'))")).toBe('expression.failed');
  });

  it('has a bounded source', async () => {
    expect(await codeOf(`1${'+1'.repeat(10_000)}`)).toBe('expression.syntax');
    expect(await codeOf('('.repeat(8_000))).toBe('expression.syntax');
  });

  it('makes no object with a dangerous key from a template', async () => {
    const template = compileTemplate(JSON.parse('{"__proto__": {"polluted": "{{ 1 }}"}, "a": "{{ 1 }}"}'));
    const made = template.ok ? await template.value.evaluate({}) : undefined;
    expect(Object.keys(made as object)).toEqual(['a']);
    expect((made as Record<string, unknown>)['polluted']).toBeUndefined();
  });
});
