import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { authoredIssue, type Reading } from '../../../src/connectors/mongodb/authored.ts';

const issue = (value: unknown, written: unknown, reading: Reading = 'query') =>
  authoredIssue(value, written, reading, 'filter');

describe('of a document', () => {
  it.each([
    ['an operator in place of a value', { a: { $gt: '' } }, { a: '{{ x }}' }],
    ['an operator further down', { a: { b: [{ c: { $ne: 1 } }] } }, { a: '{{ x }}' }],
    ['an operator of its own in a whole document', { $where: '1' }, '{{ x }}'],
    ['an operator beside what is written', { a: 1, $where: '1' }, { a: 1 }],
    ['an operator in a list that the author wrote', { $or: [{ a: { $gt: 1 } }] }, { $or: ['{{ x }}'] }],
    ['a regular expression', { a: { $regularExpression: { pattern: '.*', options: '' } } }, { a: '{{ x }}' }],
    ['code', { a: { $code: 'x' } }, { a: '{{ x }}' }],
    ['an operator in the clothes of a type', { a: { $oid: 'x', $gt: '' } }, { a: '{{ x }}' }],
    ['an expression in $where', { $where: 'this.a === 1' }, { $where: 'this.a === {{ x }}' }],
    ['an expression in the code of a type', { a: { $code: 'x' } }, { a: { $code: '{{ x }}' } }],
    // The first item was missing and has left: what is now first stands where the author wrote another.
    ['an operator in a list that has shrunk', { $or: [{ $where: '1' }] }, { $or: ['{{ a? }}', { $where: '{{ b }}' }] }],
  ])('refuses %s', (_, value, written) => {
    expect(issue(value, written)).toMatch(/^filter/);
  });

  it.each([
    [
      'operators that are written',
      { a: { $gt: 5 }, $or: [{ b: 1 }] },
      { a: { $gt: '{{ x }}' }, $or: [{ b: '{{ y }}' }] },
    ],
    ['values of every type', { a: { $oid: 'x' }, b: { $date: { $numberLong: '1' } } }, { a: '{{ x }}', b: '{{ y }}' }],
    ['texts that look like operators', { a: '$where' }, { a: '{{ x }}' }],
    ['documents of values', { a: { b: [1, { c: null }] } }, '{{ x }}'],
    ['code that is written', { $where: 'this.a === 1' }, { $where: 'this.a === 1' }],
  ])('takes %s', (_, value, written) => {
    expect(issue(value, written)).toBeUndefined();
  });
});

describe('of a pipeline', () => {
  it.each([
    ['the name of a field', [{ $project: { a: '$password' } }], [{ $project: { a: '{{ x }}' } }]],
    ['the name of a field in $expr', [{ $match: { $expr: ['$a', '$b'] } }], [{ $match: { $expr: ['$a', '{{ x }}'] } }]],
    ['a stage', [{ $out: 'users' }], '{{ x }}'],
    [
      'the body of a function',
      [{ $set: { a: { $function: { body: 'x', args: [], lang: 'js' } } } }],
      [{ $set: { a: { $function: { body: '{{ x }}', args: [], lang: 'js' } } } }],
    ],
    [
      'a function as a whole',
      [{ $set: { a: { $function: { body: 'x' } } } }],
      [{ $set: { a: { $function: '{{ x }}' } } }],
    ],
  ])('refuses %s', (_, value, written) => {
    expect(issue(value, written, 'expression')).toMatch(/^filter/);
  });

  it.each([
    ['a text in $match', [{ $match: { a: '$5' } }], [{ $match: { a: '{{ x }}' } }]],
    ['a text in $literal', [{ $set: { a: { $literal: '$5' } } }], [{ $set: { a: { $literal: '{{ x }}' } } }]],
    [
      'the arguments of a function',
      [{ $set: { a: { $function: { body: 'x', args: [5] } } } }],
      [{ $set: { a: { $function: { body: 'x', args: ['{{ x }}'] } } } }],
    ],
  ])('takes %s', (_, value, written) => {
    expect(issue(value, written, 'expression')).toBeUndefined();
  });
});

test('no data of whatever shape brings a key that begins with $ and is no type', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom('$gt', '$where', '$expr', '$set', '$code', '$'), (inner, operator) => {
      for (const value of [{ [operator]: inner }, [{ a: { [operator]: inner } }]]) {
        expect(issue({ field: value }, { field: '{{ x }}' })).toMatch(/^filter\.field/);
      }
    }),
  );
});
