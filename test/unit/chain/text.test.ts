import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseChainText } from '../../../src/core/chain/text.ts';
import { readShared, sharedMissing } from '../../support/shared.ts';

function textOf(base64: string): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.from(base64, 'base64'));
  } catch {
    return undefined;
  }
}

describe('the text of a document', () => {
  it.each([
    [
      'a duplicate key',
      '{"name": "a",\n "name": "b"}',
      'name',
      'twice in one object; remove or rename one (line 2, column 2)',
    ],
    ['a duplicate key written as an escape', '{"a": 1, "\\u0061": 2}', 'a', 'twice'],
    ['a duplicate __proto__', '{"__proto__": 1, "__proto__": 2}', '__proto__', 'twice'],
    [
      'an integer that would change',
      '{"a": [{"b": 9007199254740993}]}',
      'a.0.b',
      'write it as a text (line 1, column 14)',
    ],
    ['a number that is none', '{"a": 1e400}', 'a', 'too large'],
    ['broken JSON', '{"a": ', 'a', 'expected a value, found the end of the text'],
    ['nothing in it', '', '', 'expected a value'],
    ['a comma at the end', '{"a": 1,}', '', 'expected a key in double quotes, found "}" (line 1, column 9)'],
    ['a key in single quotes', "{'a': 1}", '', 'a key in double quotes'],
    ['a raw line break in a text', '{"a": "x\ny"}', 'a', 'raw line break'],
    ['a text that is not closed', '{"a": "x', 'a', 'not closed'],
    ['something behind its end', '{} {}', '', 'the end of the document'],
    ['nesting without measure', `${'['.repeat(100_000)}${']'.repeat(100_000)}`, /^0(\.0)+$/, 'nested deeper than 128'],
    ['a megabyte', `"${'x'.repeat(1024 * 1024)}"`, '', 'split the chain'],
  ])('with %s is refused', (_what, text, path, words) => {
    const parsed = parseChainText(text);
    const [issue] = parsed.ok ? [] : (parsed.fault.issues ?? []);
    expect(issue?.path).toEqual(typeof path === 'string' ? path : expect.stringMatching(path));
    expect(issue?.message).toContain(words);
  });

  it.skipIf(sharedMissing)('is told from what is no JSON in every case of the public parsing suite', () => {
    const cases = Object.entries(
      JSON.parse(readShared('suites/json-parsing-nst.json') ?? '{}') as Record<string, string>,
    );
    let told = 0;
    for (const [name, base64] of cases) {
      const text = textOf(base64);
      // Cases named i_ are left to the parser; bytes that are not UTF-8 never become a text.
      if (text === undefined || !/^[yn]_/.test(name)) continue;
      // The suite lets the last of two equal keys win; here they are a mistake.
      const right = name.startsWith('y_') && !name.startsWith('y_object_duplicated_key');
      expect(parseChainText(text).ok, name).toBe(right);
      told++;
    }
    expect(told).toBeGreaterThan(250);
  });

  it('is otherwise what JSON.parse makes of it', () => {
    fc.assert(
      fc.property(fc.json(), fc.constantFrom(undefined, 2), (text, indent) => {
        const written = JSON.stringify(JSON.parse(text), null, indent);
        const parsed = parseChainText(written);
        // Large whole numbers are the one thing that JSON.stringify may write and we refuse.
        if (parsed.ok) expect(parsed.value).toEqual(JSON.parse(written));
        else expect(parsed.fault.message).toContain('cannot be kept exactly');
      }),
    );
  });
});
