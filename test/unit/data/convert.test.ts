import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { accepts, outputOf, refusal } from './support.ts';
import { data } from '../../../src/connectors/data/index.ts';
import { LIMITS } from '../../../src/core/limits.ts';

const convert = (value: unknown, rest: object) => outputOf('convert', { value, ...rest });
const refused = (
  value: unknown,
  rest: object,
  message: RegExp,
  code: 'data.malformed' | 'data.too-large' = 'data.malformed',
) => refusal('convert', { value, ...rest }, code, message);

test('the example works', async () => {
  expect(await outputOf('convert', data.actions['convert']?.example)).toBe(
    '{"id":1,"paid":true,"at":"2026-01-31T08:30:00.000Z"}\n',
  );
});

test('without formats and types a value stays as it is', async () => {
  expect(await convert({ a: [1, null] }, {})).toEqual({ a: [1, null] });
});

describe('CSV', () => {
  test('is read by its header, all cells as texts, and written again', async () => {
    const text = 'id,name\r\n007,"Ada, ""the first"""\r\n8,"two\r\nlines"\r\n';
    const rows = [
      { id: '007', name: 'Ada, "the first"' },
      { id: '8', name: 'two\r\nlines' },
    ];
    expect(await convert(text, { from: 'csv' })).toEqual(rows);
    expect(await convert(rows, { to: 'csv' })).toBe(text.trimEnd());
  });

  test('may have another delimiter, no header, a byte order mark', async () => {
    expect(await convert('\ufeffa;b\n1;2\n', { from: 'csv', csv: { delimiter: ';' } })).toEqual([{ a: '1', b: '2' }]);
    const header = { csv: { header: false } };
    expect(await convert('a,b\n1,2', { from: 'csv', ...header })).toEqual([
      ['a', 'b'],
      ['1', '2'],
    ]);
    expect(
      await convert(
        [
          ['a', null],
          [1, { x: 1 }],
        ],
        { to: 'csv', ...header },
      ),
    ).toBe('a,\r\n1,"{""x"":1}"');
  });

  test('takes the columns of all objects, and leaves cells empty', async () => {
    expect(await convert([{ a: 1 }, { b: 2 }], { to: 'csv' })).toBe('a,b\r\n1,\r\n,2');
  });

  test('with formulas is left alone, or made harmless where told', async () => {
    const rows = [{ a: '=1+1' }, { a: '@x' }, { a: '-5' }];
    expect(await convert(rows, { to: 'csv' })).toBe('a\r\n=1+1\r\n@x\r\n-5');
    const harmless = await convert(rows, { to: 'csv', csv: { escapeFormulas: true } });
    expect(
      String(harmless)
        .split('\r\n')
        .slice(1)
        .every((cell) => /^"?'/.test(cell)),
    ).toBe(true);
  });

  test('round-trips any texts', async () => {
    const cell = fc.string({ unit: 'binary' }).filter((text) => !text.startsWith('\ufeff'));
    const rows = fc.array(fc.record({ a: cell, b: fc.constantFrom('x', ' y ', '"', '\n') }), { minLength: 1 });
    await fc.assert(
      fc.asyncProperty(rows, async (list) => {
        expect(await convert(await convert(list, { to: 'csv' }), { from: 'csv' })).toEqual(list);
      }),
      { numRuns: 100 },
    );
  });

  test('a column named __proto__ is a column', async () => {
    const rows = await convert('__proto__,b\nx,1', { from: 'csv' });
    expect(JSON.stringify(rows)).toBe('[{"__proto__":"x","b":"1"}]');
  });

  test('that is ragged, ambiguous or broken is refused by its row', async () => {
    await refused('a,b\n1,2\n3\n', { from: 'csv' }, /row 3 has 1 cells, not 2/);
    await refused('a,a\n1,2\n', { from: 'csv' }, /the column "a" stands twice/);
    await refused('a\n"x\n', { from: 'csv' }, /row \d/);
    await refused({ a: 1 }, { to: 'csv' }, /a list/);
    await refused([{ a: 1 }, 2], { to: 'csv' }, /item 1/);
    await refused(','.repeat(LIMITS.dataColumns + 1), { from: 'csv' }, /more than/, 'data.too-large');
  });

  test('of 100,000 rows is read and written', async () => {
    const rows = Array.from({ length: 100_000 }, (_, id) => ({ id: String(id), name: `n${id}` }));
    const text = await convert(rows, { to: 'csv' });
    expect(await convert(text, { from: 'csv' })).toEqual(rows);
  });
});

describe('JSON and NDJSON', () => {
  test('keep large integers, and name the line that is wrong', async () => {
    expect(await convert('{"a":12345678901234567890}\n\n[1]\n', { from: 'ndjson' })).toEqual([
      { a: '12345678901234567890' },
      [1],
    ]);
    expect(await convert([{ a: 1 }, null], { to: 'ndjson' })).toBe('{"a":1}\nnull\n');
    await refused('{}\n{"a":1,"a":2}\n', { from: 'ndjson' }, /line 2: .*stands twice/);
    await refused('{', { from: 'json' }, /Is not JSON/);
    await refused('['.repeat(100_000), { from: 'json' }, /nested deeper/);
    await refused({}, { to: 'ndjson' }, /a list/);
  });
});

describe('XML', () => {
  const xml = '<order id="7"><line sku="a">1</line><line sku="b"/><note>x &lt; y &amp; &#65;</note></order>';
  const value = {
    order: { '@id': '7', line: [{ '@sku': 'a', '#text': '1' }, { '@sku': 'b' }], note: 'x < y & A' },
  };

  test('is read with attributes and texts, and written again', async () => {
    expect(await convert(`<?xml version="1.0"?>\n${xml}`, { from: 'xml' })).toMatchObject({
      order: { '@id': '7', note: 'x < y & A', line: [{ '@sku': 'a', '#text': '1' }, { '@sku': 'b' }] },
    });
    expect(await convert(await convert(value, { to: 'xml' }), { from: 'xml' })).toMatchObject(value);
  });

  test('what looks like a number stays a text, and a list of one is a list where told', async () => {
    const text = '<order><line>007</line></order>';
    expect(await convert(text, { from: 'xml' })).toEqual({ order: { line: '007' } });
    expect(await convert(text, { from: 'xml', xml: { lists: ['order.line'] } })).toEqual({ order: { line: ['007'] } });
  });

  test.each([
    ['an external entity', '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>'],
    ['an external document type', '<!DOCTYPE a SYSTEM "http://169.254.169.254/a.dtd"><a/>'],
    ['a parameter entity', '<!doctype a [<!ENTITY % x SYSTEM "http://evil.example/"> %x;]><a/>'],
    [
      'a billion laughs',
      `<!DOCTYPE l [<!ENTITY a "ha">${'bcdefghij'
        .split('')
        .map((name, index) => `<!ENTITY ${name} "${`&${'abcdefghi'[index] ?? ''};`.repeat(10)}">`)
        .join('')}]><l>&j;</l>`,
    ],
  ])('with %s is refused before it is parsed', async (_what, text) => {
    await refused(text, { from: 'xml' }, /document type/);
  });

  test.each([
    ['an element without end', '<a><b></a>', /line 1/],
    ['nothing', '', /Is not XML/],
    ['no markup', 'text', /Is not XML/],
    ['two roots', '<a/><b/>', /Is not XML/],
    ['twice the same root', '<a/><a/>', /Is not XML/],
    ['too deep a nesting', '<a>'.repeat(5_000) + '</a>'.repeat(5_000), /Is not XML/],
    ['a name of a prototype', '<a><__proto__>x</__proto__></a>', /reserved/],
  ])('with %s is refused', async (_what, text, message) => {
    await refused(text, { from: 'xml' }, message);
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  test('an entity that nobody declared stays as it is written, and so does CDATA', async () => {
    expect(await convert('<a>&copy;&x;</a>', { from: 'xml' })).toEqual({ a: '©&x;' });
    expect(await convert('<a><![CDATA[&lt;<b>]]></a>', { from: 'xml' })).toEqual({ a: '&lt;<b>' });
  });

  test('data cannot become markup', async () => {
    const text = String(await convert({ a: { '@b': '"><x/>', c: '</c><script>' } }, { to: 'xml' }));
    expect(await convert(text, { from: 'xml' })).toEqual({ a: { '@b': '"><x/>', c: '</c><script>' } });
    for (const value of [
      { 'a><script': 1 },
      { a: { '@b="1" c': 1 } },
      { '?xml': 1 },
      { a: '\0' },
      { a: { '#text': { b: 1 } } },
      { a: 1, b: 2 },
      'x',
    ]) {
      await refused(value, { to: 'xml' }, /XML/);
    }
  });

  test('writing what is nested without measure is refused', async () => {
    let deep: unknown = 'x';
    for (let depth = 0; depth < 5_000; depth++) deep = { a: deep };
    await refused(deep, { to: 'xml' }, /too deep/);
  });
});

describe('forms', () => {
  test('are read and written, repeated fields as lists', async () => {
    expect(await convert('a=1&b=x+y%26&a=2&e=', { from: 'form' })).toEqual({ a: ['1', '2'], b: 'x y&', e: '' });
    expect(await convert({ a: [1, true], b: 'ü&', c: null }, { to: 'form' })).toBe('a=1&a=true&b=%C3%BC%26');
    await refused({ a: { b: 1 } }, { to: 'form' }, /a is not plain/);
    await refused([1], { to: 'form' }, /an object/);
    await refused('a&'.repeat(LIMITS.dataColumns + 1), { from: 'form' }, /More than/, 'data.too-large');
  });

  const parts = [
    { name: 'a', value: 'x\r\ny' },
    { name: 'f', filename: 'ü.bin', type: 'application/x-thing', base64: '/wD/' },
  ];

  test('multipart is written and read back, files in base64', async () => {
    const boundary = 'B0undary-1';
    const body = await convert(parts, { to: ['multipart', 'base64'], multipart: { boundary } });
    expect(await convert(body, { from: ['base64', 'multipart'] })).toEqual(parts);
    expect(await convert(body, { from: ['base64', 'multipart'], multipart: { boundary } })).toEqual(parts);
  });

  test('a name, a type or a part cannot smuggle in another part', async () => {
    const evil = [{ name: 'a"\r\n\r\nx', value: '1' }];
    const body = await convert(evil, { to: 'multipart' });
    expect(
      String(body)
        .split('\r\n')
        .filter((line) => line.startsWith('--')),
    ).toHaveLength(2);
    expect(String(body)).toContain('name="a%22%0D%0A%0D%0Ax"');
    await refused([{ ...parts[1], type: 'a/b\r\nX: y' }], { to: 'multipart' }, /parts/);
    await refused([{ name: 'a', value: 'x\r\n--form-data-boundary--' }], { to: 'multipart' }, /holds the boundary/);
    expect(accepts('convert', { value: [], to: 'multipart', multipart: { boundary: 'a"\r\nb' } })).toBe(false);
  });

  test('what is no multipart body is refused', async () => {
    for (const text of ['', 'a=1', '--x\r\nnothing', '--x\r\n\r\n']) {
      await refused(text, { from: 'multipart' }, /Is not multipart/);
    }
  });
});

describe('encodings', () => {
  test.each([
    ['base64', 'w7w='],
    ['base64url', 'w7w'],
    ['hex', 'c3bc'],
  ])('%s of a text and back', async (format, encoded) => {
    expect(await convert('ü', { to: format })).toBe(encoded);
    expect(await convert(encoded, { from: format })).toBe('ü');
  });

  test.each([
    ['base64', 'w7w'],
    ['base64', 'w7 w='],
    ['base64', '-_'],
    ['base64url', 'w7w='],
    ['base64url', 'wwwww'],
    ['hex', 'c3b'],
    ['hex', 'zz'],
  ])('what is no %s, as %j, is refused and not skipped over', async (format, text) => {
    await refused(text, { from: format }, new RegExp(`Is not ${format}`));
  });

  test('bytes of another character encoding are read by its name', async () => {
    expect(await convert('/OT2', { from: 'base64', charset: 'iso-8859-1' })).toBe('üäö');
    expect(await convert('gA==', { from: 'base64', charset: 'windows-1252' })).toBe('€');
    expect(accepts('convert', { value: '', charset: 'klingon' })).toBe(false);
  });

  test('bytes that are no text are refused where there is no format to hold them', async () => {
    await refused('/w==', { from: 'base64' }, /add `base64` to `to`/);
    expect(await convert('/w==', { from: 'base64', to: 'hex' })).toBe('ff');
  });
});

describe('packed bytes', () => {
  test.each(['gzip', 'deflate', 'deflate-raw'])('%s is put on and taken off', async (format) => {
    const rows = Array.from({ length: 5_000 }, (_, id) => ({ id }));
    const packed = await convert(rows, { to: ['ndjson', format, 'base64'] });
    expect(String(packed).length).toBeLessThan(40_000);
    expect(await convert(packed, { from: ['base64', format, 'ndjson'] })).toEqual(rows);
  });

  test('a bomb is refused while it is unpacked', async () => {
    const bomb = await bombOf(4 * LIMITS.dataBytes);
    await refused(bomb, { from: ['base64', 'gzip'] }, /Unpacks to more than/, 'data.too-large');
  });

  test.each([
    ['cut off', (bytes: Buffer) => bytes.subarray(0, -9)],
    ['damaged', (bytes: Buffer) => Buffer.concat([bytes.subarray(0, 12), Buffer.from([255, 255]), bytes.subarray(14)])],
    ['no gzip', () => Buffer.from('hello')],
    ['empty', () => Buffer.alloc(0)],
  ])('what is %s is refused', async (_what, harm) => {
    const packed = Buffer.from(String(await convert('hello, hello, hello', { to: ['gzip', 'base64'] })), 'base64');
    await refused(harm(packed).toString('base64'), { from: ['base64', 'gzip'] }, /Is not gzip/);
  });

  test('more than a step takes is refused before anything is done', async () => {
    await refused('A'.repeat(LIMITS.dataBytes + 1), { to: 'hex' }, /More than/, 'data.too-large');
    await refused('A'.repeat(LIMITS.dataBytes), { to: 'hex' }, /More than/, 'data.too-large');
  });
});

/** So many zeros as gzip, in base64, made without the step, which refuses to. */
async function bombOf(size: number): Promise<string> {
  const { readable, writable } = new CompressionStream('gzip');
  const packed = new Response(readable).arrayBuffer();
  const writer = writable.getWriter();
  const zeros = new Uint8Array(1024 * 1024);
  for (let written = 0; written < size; written += zeros.length) await writer.write(zeros);
  await writer.close();
  return Buffer.from(await packed).toString('base64');
}

describe('types', () => {
  const typed = (value: unknown, type: unknown) => convert({ a: value }, { types: { a: type } });

  test.each([
    ['12.50', 'number', 12.5],
    [' 7 ', 'integer', 7],
    ['12345678901234567890', 'integer', '12345678901234567890'],
    ['FALSE', 'boolean', false],
    [1, 'boolean', true],
    [7, 'text', '7'],
    ['{"x":[1]}', 'json', { x: [1] }],
    ['', 'number', null],
    ['', 'text', ''],
    [null, 'integer', null],
  ])('%j as %s is %j', async (value, type, expected) => {
    expect(await typed(value, type)).toEqual({ a: expected });
  });

  test.each([
    ['x', 'number', /value\.a: Must be a number/],
    ['0x10', 'number', /Must be a number/],
    ['1e999', 'number', /Must be a number/],
    [true, 'number', /Must be a number/],
    ['12345678901234567890', 'number', /lose digits/],
    ['1.5', 'integer', /whole number/],
    [1.5, 'integer', /whole number/],
    ['yes', 'boolean', /true, false/],
    ['{', 'json', /not JSON/],
  ])('%j as %s is refused', async (value, type, message) => {
    await refused({ a: value }, { types: { a: type } }, message);
  });

  test('are those of each item of a list, and all that is wrong is told at once', async () => {
    const rows = [{ n: '1' }, { n: 'x', d: 'y' }, {}];
    const fault = await refused(rows, { types: { n: 'number', d: 'boolean' } }, /^value\.1\.n: /);
    expect(fault.issues?.map(({ path }) => path)).toEqual(['value.1.n', 'value.1.d']);
    expect(await convert(['1', '2'], { types: { $: 'integer' } })).toEqual([1, 2]);
    expect(await convert({ a: { b: ['1'] } }, { types: { 'a.b.0': 'integer' } })).toEqual({ a: { b: [1] } });
  });

  test('a member named __proto__ stays a member', async () => {
    const value: unknown = JSON.parse('{"__proto__":{"x":1},"n":"1"}');
    expect(JSON.stringify(await convert(value, { types: { n: 'number' } }))).toBe('{"__proto__":{"x":1},"n":1}');
  });
});

describe('dates', () => {
  const dated = (value: unknown, date: object) => convert(value, { types: { $: { date } } });

  test.each<[unknown, object, unknown]>([
    ['2026-01-31T23:59:58Z', {}, '2026-01-31T23:59:58.000Z'],
    ['2026-01-31T23:59:58.123456+02:00', {}, '2026-01-31T21:59:58.123Z'],
    ['2026-01-31', {}, '2026-01-31T00:00:00.000Z'],
    ['2026-01-31', { fromZone: 'Europe/Berlin' }, '2026-01-30T23:00:00.000Z'],
    ['2026-07-31 12:00', { fromZone: 'America/New_York' }, '2026-07-31T16:00:00.000Z'],
    [1_767_323_045, { from: 'unix' }, '2026-01-02T03:04:05.000Z'],
    ['1767323045.5', { from: 'unix', to: 'unix-ms' }, 1_767_323_045_500],
    ['2026-01-02T03:04:05.500Z', { to: 'unix' }, 1_767_323_045.5],
    ['31.01.2026 23:59', { from: 'dd.MM.yyyy HH:mm' }, '2026-01-31T23:59:00.000Z'],
    ['20260131', { from: 'yyyyMMdd', to: 'MM/dd/yyyy' }, '01/31/2026'],
    ['2026-07-01T10:00:00Z', { toZone: 'Asia/Kolkata' }, '2026-07-01T15:30:00.000+05:30'],
    ['2026-07-01T10:00:00Z', { to: 'dd.MM.yyyy HH:mm XXX', toZone: 'Europe/Berlin' }, '01.07.2026 12:00 +02:00'],
    ['1969-12-31T23:59:59Z', { toZone: 'America/St_Johns' }, '1969-12-31T20:29:59.000-03:30'],
    // A clock that goes back: the first of the two.
    ['2026-10-25T02:30:00', { fromZone: 'Europe/Berlin' }, '2026-10-25T00:30:00.000Z'],
    ['2024-02-29', {}, '2024-02-29T00:00:00.000Z'],
  ])('%j with %j is %j', async (value, date, expected) => {
    expect(await dated(value, date)).toBe(expected);
  });

  test.each<[unknown, object, RegExp]>([
    ['2026-02-30', {}, /There is no 2026-02-30/],
    ['2026-13-01', {}, /There is no/],
    ['2026-01-01T24:00:00Z', {}, /There is no/],
    ['2026-03-29T02:30:00', { fromZone: 'Europe/Berlin' }, /There is no .* in Europe\/Berlin: clocks skip it/],
    ['tomorrow', {}, /Must be a text in the form/],
    ['1.1.2026', { from: 'dd.MM.yyyy' }, /in the form dd\.MM\.yyyy/],
    ['31x01', { from: 'dd.MM' }, /in the form/],
    [20_260_131, { from: 'yyyyMMdd' }, /Must be a text/],
    ['x', { from: 'unix' }, /number of seconds/],
    [1e300, { from: 'unix' }, /number of seconds/],
    [-1e14, { from: 'unix-ms' }, /four digits/],
  ])('%j with %j is refused', async (value, date, message) => {
    await refused(value, { types: { $: { date } } }, message);
  });

  test('a time zone that there is not is refused at once', () => {
    const types = { $: { date: { fromZone: 'Mars/Olympus' } } };
    expect(accepts('convert', { value: '', types })).toBe(false);
  });

  test('any instant survives a way through any zone', async () => {
    const zones = fc.constantFrom('UTC', 'Europe/Berlin', 'Asia/Kathmandu', 'America/Sao_Paulo', 'Pacific/Apia');
    const instant = fc.integer({ min: Date.UTC(1950, 0), max: Date.UTC(2100, 0) });
    await fc.assert(
      fc.asyncProperty(instant, zones, async (milliseconds, toZone) => {
        const text = await dated(milliseconds, { from: 'unix-ms', toZone });
        expect(await dated(text, { to: 'unix-ms' })).toBe(milliseconds);
      }),
      { numRuns: 300 },
    );
  });
});
