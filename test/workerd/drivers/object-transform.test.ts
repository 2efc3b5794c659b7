/** Rows on their way from one store to another. */

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
});
