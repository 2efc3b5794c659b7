/** Rows on their way from one store to another. */

import { Buffer } from 'node:buffer';
import { env } from 'cloudflare:workers';
import { describe, expect, it } from 'vitest';
import { objects } from '../../../src/connectors/objects/index.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { actionsOf, faultOf, output, type CallOptions } from './fixtures.ts';
import { stores, type StoreName } from './object-stores.ts';
import { cutAfter, optionsFor, STORE_NAMES } from './store-options.ts';

const transform = (params: object, given?: Partial<CallOptions>) =>
  actionsOf(objects)('transform', params, optionsFor(given));
const at = (store: StoreName) => (store === 'r2' ? {} : { connection: store });
const callOf = (store: StoreName) => actionsOf(stores[store].connector, stores[store].credentials);

/** A transform from CSV in R2 to NDJSON in R2, where a test says nothing else. */
async function rows(text: string | Uint8Array | ReadableStream, given: object = {}, options?: Partial<CallOptions>) {
  await env.OBJECTS.put('in', text);
  const { from = {}, to = {}, ...rest } = given as { from?: object; to?: object };
  const params = {
    from: { key: 'in', format: 'csv', ...from },
    to: { key: 'out', format: 'ndjson', ...to },
    ...rest,
  };
  return transform(params, options);
}
const out = async (key = 'out') => (await (await env.OBJECTS.get(key))?.text()) ?? 'nothing';
const gzip = async (text: string): Promise<Uint8Array> =>
  new Uint8Array(
    await new Response(new Blob([text]).stream().pipeThrough(new CompressionStream('gzip'))).arrayBuffer(),
  );

const ORDERS = 'id,country,total\r\n1,DE,10.5\r\n2,FR,200\r\n3,DE,300\r\n3,DE,300\r\n';

describe('objects.transform', () => {
  it('filters, types and maps the rows, and says how many of each there were', async () => {
    const done = await output(
      rows(ORDERS, {
        types: { total: 'number' },
        where: "{{ row.country = 'DE' }}",
        map: { id: '{{ row.id }}', gross: '{{ row.total * 2 }}', line: '{{ number }}' },
        distinct: 'id',
      }),
    );
    expect(await out()).toBe('{"id":"1","gross":21,"line":2}\n{"id":"3","gross":600,"line":4}\n');
    expect(done).toMatchObject({
      rowsRead: 4,
      rowsWritten: 2,
      rowsFiltered: 1,
      rowsRepeated: 1,
      rowsSkipped: 0,
      rejected: [],
      readBytes: ORDERS.length,
      writtenBytes: (await out()).length,
    });
  });

  const WAYS: readonly (readonly [StoreName, StoreName])[] = [
    ['s3', 'azure-blob'],
    ['azure-blob', 'gcs'],
    ['gcs', 'r2'],
    ['r2', 's3'],
  ];
  it.each(WAYS)('reads CSV from %s and writes it in parts to %s, gzip on both sides or none', async (from, to) => {
    // Half of it in one column that gzip cannot make small.
    const lines = Array.from({ length: 30_000 }, (_, line) => `${line},${crypto.randomUUID().repeat(6)}\r\n`);
    const text = `id,text\r\n${lines.join('')}`;
    await env.OBJECTS.put('source', await gzip(text));
    if (from !== 'r2') {
      const source = { from: { key: 'source' }, to: { ...at(from), key: 'source' } };
      await output(actionsOf(objects)('copy', source, optionsFor()));
    }
    const done = await output(
      transform({
        from: { ...at(from), key: 'source', format: 'csv', gzip: true },
        to: { ...at(to), key: 'large', format: 'csv' },
      }),
    );
    expect(done).toMatchObject({ rowsRead: 30_000, rowsWritten: 30_000, writtenBytes: text.length });
    const back = transform({
      from: { ...at(to), key: 'large', format: 'csv' },
      to: { key: 'back', format: 'csv', gzip: true },
    });
    expect(await output(back)).toMatchObject({ readBytes: text.length });
    const packed = await env.OBJECTS.get('back');
    expect(packed?.httpMetadata?.contentType).toBe('application/gzip');
    const unpacked = await new Response(packed?.body.pipeThrough(new DecompressionStream('gzip'))).text();
    expect(unpacked === text).toBe(true);
  });

  it('sums up groups exactly, holding no rows', async () => {
    await output(
      rows(ORDERS, {
        aggregate: {
          by: { country: 'country' },
          figures: { orders: { op: 'count' }, total: { op: 'sum', of: 'total' } },
        },
        to: { format: 'csv' },
      }),
    );
    expect(await out()).toBe('country,orders,total\r\nDE,3,610.5\r\nFR,1,200\r\n');
  });

  it('reads names and cells of a prototype as mere data, and no cell as an expression', async () => {
    await output(
      rows('__proto__,constructor\n{{ 1+1 }},$eval("1")\n', {
        map: { a: '{{ row.constructor }}', b: '{{ $string(row) }}' },
      }),
    );
    expect(await out()).toBe(
      `${JSON.stringify({ a: '$eval("1")', b: '{"__proto__":"{{ 1+1 }}","constructor":"$eval(\\"1\\")"}' })}\n`,
    );
  });

  it('reads another encoding, a byte order mark and another delimiter', async () => {
    const latin = Uint8Array.from(Buffer.from('name;city\r\nJosé;K\r\n', 'latin1'));
    await output(rows(latin, { from: { charset: 'windows-1252', csv: { delimiter: ';' } } }));
    expect(await out()).toBe('{"name":"José","city":"K"}\n');
    await output(rows('\u{feff}{"a":1}\n', { from: { format: 'ndjson' }, to: { format: 'csv' } }));
    expect(await out()).toBe('a\r\n1\r\n');
  });

  it('reads several members of gzip one after another', async () => {
    const members = [await gzip('a\n1\n'), await gzip('2\n')];
    await output(rows(new Uint8Array(members.flatMap((member) => [...member])), { from: { gzip: true } }));
    expect(await out()).toBe('{"a":"1"}\n{"a":"2"}\n');
  });

  it.each([
    ['no rows', '', { to: { format: 'csv' } }, ''],
    ['only a header', 'a,b\n', { columns: ['a'], to: { format: 'csv' } }, 'a\r\n'],
    ['no rows to count', 'a\n', { aggregate: { figures: { n: { op: 'count' } } } }, '{"n":0}\n'],
  ])('makes something sensible of %s', async (_, text, given, expected) => {
    await output(rows(text, given));
    expect(await out()).toBe(expected);
  });
});

describe('a row that cannot be used', () => {
  const BAD = 'id,total\n1,2\n2,x\n3\n4,"5"6\n5,7\n';

  it('fails the step by its number, and leaves the target as it was', async () => {
    await env.OBJECTS.put('out', 'before');
    const fault = await faultOf(rows(BAD, { types: { total: 'number' } }), 'data.malformed');
    expect(fault).toMatchObject({ message: 'Row 3: total: Must be a number.', retryable: false });
    expect(await out()).toBe('before');
  });

  it('is left out and told, where the author says so', async () => {
    const done = await output(rows(BAD, { types: { total: 'number' }, onRowError: 'skip' }));
    expect(done).toMatchObject({ rowsRead: 5, rowsWritten: 2, rowsSkipped: 3 });
    expect(done).toMatchObject({
      rejected: [
        { row: 3, reason: 'total: Must be a number.' },
        { row: 4, reason: 'has 1 cells, not 2.' },
        { row: 5, reason: 'has characters after the closing quote of cell 2.' },
      ],
    });
    expect(await out()).toBe('{"id":"1","total":2}\n{"id":"5","total":7}\n');
  });

  it('is told with the reason of the first hundred only', async () => {
    const done = await output(rows(`a\n${'1,2\n'.repeat(300)}`, { onRowError: 'skip' }));
    expect(done).toMatchObject({ rowsSkipped: 300 });
    expect((done as { rejected: unknown[] }).rejected).toHaveLength(LIMITS.transformReasons);
  });

  it.each([
    ['a condition that gives a text', { where: '{{ row.id }}' }, 'expression.failed', 'must give true or false'],
    ['a value that is missing', { map: { a: '{{ row.nothing }}' } }, 'expression.missing', 'Row 2: map.a: '],
    [
      'an expression without end',
      { where: '{{ ($f := function($n) { $f($n + 1) + 1 }; $f(0) > 0) }}' },
      'expression.bounds',
      'Row 2: ',
    ],
    ['what has become no row', { map: '{{ row.id }}', to: { format: 'csv' } }, 'data.malformed', 'Must be an object'],
    [
      'a figure over what is no number',
      { aggregate: { figures: { n: { op: 'sum', of: 'id' } } } },
      'data.malformed',
      'Row 2: id: ',
    ],
  ] as const)('because of %s is named', async (_, given, code, words) => {
    expect((await faultOf(rows('id\nx\n', given), code)).message).toContain(words);
  });

  it('leaves nothing of itself in a figure', async () => {
    const figures = { n: { op: 'count' }, sum: { op: 'sum', of: 'a' } };
    await output(rows('a\n1\nx\n2\n', { aggregate: { figures }, onRowError: 'skip' }));
    expect(await out()).toBe('{"n":2,"sum":"3"}\n'.replace('"3"', '3'));
  });
});

describe('hostile input', () => {
  /** Bytes without end, until nobody wants any more. */
  function endless(text: string, head = '', mostBytes = 100_000_000): ReadableStream<Uint8Array> {
    const piece = new TextEncoder().encode(text.repeat(Math.ceil(65_536 / text.length)));
    let left = mostBytes;
    const source = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new TextEncoder().encode(head)),
      pull(controller) {
        controller.enqueue(piece);
        left -= piece.byteLength;
        if (left < 0) controller.close();
      },
    });
    return source;
  }
  const bomb = async (text: string, head = ''): Promise<Uint8Array> =>
    new Uint8Array(await new Response(endless(text, head).pipeThrough(new CompressionStream('gzip'))).arrayBuffer());

  it.each(['csv', 'ndjson'])('of 100 MB in one line of %s is refused by the number of the row', async (format) => {
    const packed = await bomb('x', 'a\n');
    expect(packed.byteLength).toBeLessThan(200_000);
    const fault = await faultOf(rows(packed, { from: { format, gzip: true }, onRowError: 'skip' }), 'data.too-large');
    expect(fault.message).toContain('Row 2 has more than');
  });

  it('with a quote that is never closed is refused with a hint at the quote', async () => {
    const fault = await faultOf(rows(await bomb('y,z\n', 'a,b\n1,"'), { from: { gzip: true } }), 'data.too-large');
    expect(fault.message).toContain('A quote in it may never be closed.');
  });

  it('of small rows without end stops when the step is given up', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 300);
    const packed = await bomb('1\n', 'a\n');
    await faultOf(
      rows(packed, { from: { gzip: true }, to: { key: 'given up' } }, { signal: controller.signal }),
      'step.timeout',
    );
    expect(await env.OBJECTS.head('given up')).toBeNull();
  });

  it.each([
    ['is no gzip', new TextEncoder().encode('a\n1\n')],
    ['is cut off', undefined],
  ])('that %s is refused', async (_, bytes) => {
    const packed = bytes ?? (await gzip(ORDERS)).slice(0, -12);
    expect((await faultOf(rows(packed, { from: { gzip: true } }), 'data.malformed')).message).toContain('gzip');
  });

  it.each([
    ['keys', { distinct: 'a' }],
    ['groups', { aggregate: { by: { a: 'a' }, figures: { n: { op: 'count' } } } }],
    ['distinct values', { aggregate: { figures: { n: { op: 'count-distinct', of: 'a' } } } }],
  ])('of more %s than may be remembered is refused, by the bound', async (_, given) => {
    const numbers = Array.from({ length: LIMITS.transformRemembered + 1 }, (_each, index) => index).join('\n');
    const fault = await faultOf(rows(`a\n${numbers}\n`, { ...given, onRowError: 'skip' }), 'data.too-large');
    expect(fault.message).toContain(`more than ${LIMITS.transformRemembered} keys`);
  });

  it.each(['from', 'to'] as const)(
    'that chooses the connection in `%s` is refused before any is opened',
    async (side) => {
      const params = {
        from: { connection: 's3', key: 'a', format: 'csv' },
        to: { connection: 's3', key: 'b', format: 'csv' },
      };
      const written = { ...params, [side]: { ...params[side], connection: '{{ input.store }}' } };
      const openStore = () => Promise.reject(new Error('opened'));
      expect(
        (await faultOf(actionsOf(objects)('transform', params, { written, openStore }), 'step.params')).message,
      ).toContain(`${side}.connection`);
    },
  );
});

describe('a transform that cannot go on', () => {
  /** 12 MB, so that the target is written in parts. */
  const large = () =>
    new TextEncoder().encode(
      `id,text\n${Array.from({ length: 12_000 }, (_, id) => `${id},${'x'.repeat(1_000)}\n`).join('')}`,
    );
  const LATE_BYTES = 9 * 1024 * 1024;

  async function stored(store: StoreName): Promise<void> {
    await env.OBJECTS.put('large', large());
    await output(
      actionsOf(objects)('copy', { from: { key: 'large' }, to: { ...at(store), key: 'large' } }, optionsFor()),
    );
  }
  const to = (store: StoreName) => ({ ...at(store), key: 'unfinished', format: 'csv' });
  const nothingAt = async (store: StoreName) => {
    expect(await output(callOf(store)('head', { key: 'unfinished' }))).toEqual({ exists: false });
  };

  it.each(STORE_NAMES)('since its source breaks off leaves nothing at %s, and may be tried again', async (store) => {
    const from = store === 's3' ? 'azure-blob' : 's3';
    await stored(from);
    const cut: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (init?.method !== 'GET') return response;
      const body = response.body?.pipeThrough(cutAfter(LATE_BYTES)).pipeThrough(new IdentityTransformStream()) ?? null;
      return new Response(body, { status: response.status, headers: response.headers });
    };
    const params = { from: { ...at(from), key: 'large', format: 'csv' }, to: to(store) };
    const fault = await faultOf(transform(params, { fetch: cut }), 'upstream.unreachable');
    expect(fault.retryable).toBe(true);
    await nothingAt(store);
  });

  it.each([
    ['s3', 'partNumber=2'],
    ['azure-blob', 'comp=block&'],
    ['gcs', 'session'],
  ] as const)('since %s breaks off leaves nothing there, and may be tried again', async (store, part) => {
    await env.OBJECTS.put('large', large());
    let parts = 0;
    const breaking: typeof fetch = (input, init) =>
      init?.method === 'PUT' && String(input).includes(part) && (store === 's3' || ++parts === 2)
        ? Promise.reject(new Error('connection lost'))
        : fetch(input, init);
    const fault = await faultOf(
      transform({ from: { key: 'large', format: 'csv' }, to: to(store) }, { fetch: breaking }),
      'upstream.unreachable',
    );
    expect(fault.retryable).toBe(true);
    await nothingAt(store);
  });

  it('since its target breaks off lets go of the source', async () => {
    await stored('s3');
    const cancelled = Promise.withResolvers<void>();
    const breaking: typeof fetch = async (input, init) => {
      if (String(input).includes('comp=block&')) throw new Error('connection lost');
      const response = await fetch(input, init);
      if (init?.method !== 'GET') return response;
      const reader = response.body?.getReader();
      const watched = new ReadableStream<Uint8Array>({
        async pull(controller) {
          const read = await reader?.read();
          if (read?.value === undefined) controller.close();
          else controller.enqueue(read.value);
        },
        async cancel() {
          await reader?.cancel();
          cancelled.resolve();
        },
      });
      return new Response(watched.pipeThrough(new IdentityTransformStream()), { headers: response.headers });
    };
    const params = { from: { ...at('s3'), key: 'large', format: 'csv' }, to: to('azure-blob') };
    await faultOf(transform(params, { fetch: breaking }), 'upstream.unreachable');
    await cancelled.promise;
  });

  it('since a row in the middle is bad gives up the upload to S3 that it has begun', async () => {
    await env.OBJECTS.put('large', await new Blob([large(), '1,2,3\n']).arrayBuffer());
    const requests: string[] = [];
    const watching: typeof fetch = (input, init) => {
      requests.push(
        `${init?.method} ${String(input)
          .replace(/^[^?]*/, '')
          .replace(/uploadId=[^&]*/, 'uploadId')}`,
      );
      return fetch(input, init);
    };
    const params = { from: { key: 'large', format: 'csv' }, to: to('s3') };
    await faultOf(transform(params, { fetch: watching }), 'data.malformed');
    expect(requests.at(0)).toMatch(/^POST \?uploads/);
    expect(requests.at(-1)).toBe('DELETE ?uploadId');
    await nothingAt('s3');
  });

  it.each(['s3', 'azure-blob'] as const)(
    'since it is cancelled between two parts stops, with nothing at %s',
    async (store) => {
      await env.OBJECTS.put('large', large());
      const controller = new AbortController();
      const cancelling: typeof fetch = async (input, init) => {
        const response = await fetch(input, init);
        if (init?.method === 'PUT') controller.abort();
        return response;
      };
      const options = { fetch: cancelling, signal: controller.signal };
      await faultOf(transform({ from: { key: 'large', format: 'csv' }, to: to(store) }, options), 'step.timeout');
      await nothingAt(store);
    },
  );

  it('since its source is not there fails for good', async () => {
    const params = { from: { connection: 's3', key: 'not there', format: 'csv' }, to: to('r2') };
    expect((await faultOf(transform(params), 'upstream.rejected')).data).toMatchObject({ status: 404 });
    await nothingAt('r2');
  });

  it('reads no faster than the target takes', async () => {
    await stored('s3');
    let read = 0;
    let readAtFirstPart: number | undefined;
    const slow: typeof fetch = async (input, init) => {
      if (init?.method === 'GET') {
        const response = await fetch(input, init);
        const counted = response.body?.pipeThrough(
          new TransformStream<Uint8Array, Uint8Array>({
            transform: (chunk, controller) => {
              read += chunk.byteLength;
              controller.enqueue(chunk);
            },
          }),
        );
        return new Response(counted?.pipeThrough(new IdentityTransformStream()) ?? null, { headers: response.headers });
      }
      const before = read;
      await new Promise((resolve) => setTimeout(resolve, 300));
      readAtFirstPart ??= read - before;
      return fetch(input, init);
    };
    await output(
      transform(
        { from: { ...at('s3'), key: 'large', format: 'csv' }, to: { ...at('azure-blob'), key: 'slow', format: 'csv' } },
        { fetch: slow },
      ),
    );
    expect(read).toBeGreaterThan(12_000_000);
    expect(readAtFirstPart).toBeLessThan(1_000_000);
  });
});
