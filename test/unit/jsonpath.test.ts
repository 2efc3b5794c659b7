import { describe, expect, it } from 'vitest';
import { compileJsonPath } from '../../src/core/data/jsonpath.ts';
import { readShared, sharedMissing } from '../support/shared.ts';

interface Case {
  readonly name: string;
  readonly selector: string;
  readonly document?: unknown;
  readonly result?: unknown;
  readonly results?: readonly unknown[];
  readonly invalid_selector?: boolean;
}

describe.skipIf(sharedMissing)('the JSONPath compliance suite', () => {
  const { tests } = JSON.parse(readShared('suites/jsonpath-cts.json') ?? '{"tests":[]}') as { tests: readonly Case[] };

  it('is there as a whole', () => expect(tests.length).toBeGreaterThan(600));

  it.each(tests.filter((test) => test.invalid_selector))('refuses $name', ({ selector }) => {
    expect(compileJsonPath(selector).ok).toBe(false);
  });

  it.each(tests.filter((test) => !test.invalid_selector))(
    'answers $name',
    ({ selector, document, result, results }) => {
      const compiled = compileJsonPath(selector);
      if (!compiled.ok) throw new Error(compiled.fault.message);
      expect(results ?? [result]).toContainEqual(compiled.value.query(document));
    },
  );
});

describe('a JSONPath', () => {
  it('tells whether it selects at most one value', () => {
    const singular = (source: string) => {
      const compiled = compileJsonPath(source);
      return compiled.ok && compiled.value.singular;
    };
    expect(singular('$.a.b[0]')).toBe(true);
    expect(singular('$.a[*]')).toBe(false);
    expect(singular('$..a')).toBe(false);
  });

  it.each(['$[?(@.constructor.constructor("return process")())]', '$[(@.length-1)]', '$..[?(process.exit())]'])(
    'refuses script and filter code: %s',
    (source) => expect(compileJsonPath(source).ok).toBe(false),
  );
});
