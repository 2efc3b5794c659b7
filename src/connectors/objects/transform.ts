/**
 * `objects.transform`: a table in one object made another, row by row.
 *
 * Guarantee: neither object is ever in memory as a whole; the target has all rows or is not touched; what is code
 * stands in the chain, and no row is ever read as an expression.
 */

import * as v from 'valibot';
import { bytesOf, OutgoingParts, packed, unpacked } from './bytes.ts';
import { fixedNames, openPlace, place } from './place.ts';
import { shaped, textOf } from './rows.ts';
import {
  asList,
  charset,
  delimiter,
  escapeFormulas,
  figures,
  groupBy,
  header,
  keys,
  types,
  typesOf,
} from '../kit/data-schemas.ts';
import { stored } from '../kit/object-schemas.ts';
import { defineAction, type ActionContext } from '../kit/types.ts';
import { CsvReader } from '../../core/data/rows/csv.ts';
import { LineReader } from '../../core/data/rows/lines.ts';
import { openShaper, type Evaluate, type Shaper } from '../../core/data/rows/shape.ts';
import { csvWriter, ndjsonWriter } from '../../core/data/rows/writer.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { ObjectStore, OpenedObject, PutOptions, Written } from '../../drivers/kit/objects.ts';

const format = v.picklist(['csv', 'ndjson']);
const gzip = v.optional(v.pipe(v.boolean(), v.description('The object is packed by gzip.')), false);
const column = v.pipe(v.string(), v.maxLength(LIMITS.dataPathCharacters));

const params = v.strictObject({
  from: v.pipe(
    v.strictObject({
      ...place,
      format,
      gzip,
      charset,
      csv: v.optional(v.strictObject({ delimiter, header }), {}),
    }),
    v.description('The object that is read.'),
  ),
  types: v.optional(
    v.pipe(types, v.description('Types by path in the row: cells of CSV are texts. An empty text becomes null.')),
  ),
  where: v.optional(
    v.pipe(v.string(), v.description('One expression over `row` that gives true or false. Only rows with true go on.')),
  ),
  map: v.optional(
    v.pipe(v.unknown(), v.description('What a row becomes: a template over `row` and its `number`. Default: itself.')),
  ),
  distinct: v.optional(
    v.pipe(keys, v.description('Of the rows that are equal at these paths, only the first goes on.')),
  ),
  aggregate: v.optional(
    v.pipe(
      v.strictObject({ by: groupBy, figures }),
      v.description('Writes figures over the rows, for all or for each group, in place of the rows.'),
    ),
  ),
  columns: v.optional(
    v.pipe(
      v.array(column),
      v.minLength(1),
      v.maxLength(LIMITS.dataColumns),
      v.description('What is written of a row, in this order. Default: all that the first row has.'),
    ),
  ),
  to: v.pipe(
    v.strictObject({
      ...place,
      ...stored,
      format,
      gzip,
      csv: v.optional(v.strictObject({ delimiter, header, escapeFormulas }), {}),
    }),
    v.description('What is made or replaced.'),
  ),
  onRowError: v.optional(
    v.pipe(
      v.picklist(['fail', 'skip']),
      v.description('What a row does that cannot be read, changed or written: `skip` leaves it out and tells why.'),
    ),
    'fail',
  ),
});

type Params = v.InferOutput<typeof params>;

const CONTENT_TYPES = { csv: 'text/csv; charset=utf-8', ndjson: 'application/x-ndjson' } as const;

export const transform = defineAction({
  title: 'Filter, change and sum up the rows of an object on their way to another',
  effect: 'idempotent',
  params,
  templates: { fields: ['where', 'map'], roots: ['row', 'number'] },
  example: {
    from: { connection: 'my-s3', key: 'orders/2026.csv.gz', format: 'csv', gzip: true },
    types: { total: 'number' },
    where: "{{ row.country = 'DE' and row.total > 100 }}",
    map: { id: '{{ row.id }}', gross: '{{ row.total * 1.19 }}' },
    to: { connection: 'my-azure', key: 'large-orders.ndjson', format: 'ndjson' },
  },
  async run(given, context) {
    const refused = fixedNames(context, given);
    if (refused !== undefined) return refused;
    const shaper = shaperOf(given, context);
    if (!shaper.ok) return shaper;
    const source = await openPlace(context, given.from.connection);
    if (!source.ok) return source;
    const target = await openPlace(context, given.to.connection);
    if (!target.ok) return target;
    const { bucket, key } = given.from;
    const object = await source.value.get({ bucket, key });
    if (!object.ok) return object;
    if (object.value === undefined) return fail('upstream.invalid', 'The source gave no object.');
    return write(object.value, target.value, given, shaper.value, context);
  },
});

function shaperOf(given: Params, context: ActionContext): Result<Shaper> {
  const { from, to, columns, distinct, aggregate, onRowError } = given;
  const writer = to.format === 'csv' ? csvWriter(columns, to.csv) : ndjsonWriter(columns);
  const shape = {
    isNamed: from.format === 'csv' && from.csv.header,
    types: given.types === undefined ? undefined : typesOf(given.types),
    where: context.template('where') as Evaluate | undefined,
    map: context.template('map') as Evaluate | undefined,
    distinct: distinct === undefined ? undefined : asList<string>(distinct),
    aggregate,
    onRowError,
  };
  return openShaper(shape, writer);
}

async function write(
  source: OpenedObject,
  target: ObjectStore,
  { from, to }: Params,
  shaper: Shaper,
  { signal }: ActionContext,
): Promise<Result<unknown>> {
  const read = bytesOf(source, signal);
  const texts = textOf(from.gzip ? unpacked(read) : read, from.charset);
  const reader = from.format === 'csv' ? new CsvReader(from.csv.delimiter) : new LineReader();
  const bytes = shaped(texts, reader, shaper, signal);
  const parts = new OutgoingParts(to.gzip ? packed(bytes) : bytes);
  const { contentType = to.gzip ? 'application/gzip' : CONTENT_TYPES[to.format], metadata } = to;
  try {
    const written = await send(parts, target, { bucket: to.bucket, key: to.key }, { contentType, metadata });
    if (!written.ok) return written;
    const { counts, rejected } = shaper;
    return ok({
      ...written.value,
      ...counts,
      rejected,
      readBytes: source.streamBytes,
      writtenBytes: parts.writtenBytes,
    });
  } finally {
    await parts.close();
  }
}

/** What fits one part is written at once; S3 begins no upload in parts for less. */
async function send(
  parts: OutgoingParts,
  target: ObjectStore,
  name: { readonly bucket: string | undefined; readonly key: string },
  options: PutOptions,
): Promise<Result<Written>> {
  const first = await parts.next();
  if (!first.ok) return first;
  if (parts.totalBytes !== undefined) return target.put(name, first.value ?? new Uint8Array(), options);
  let isFirst = true;
  const all = {
    get totalBytes() {
      return parts.totalBytes;
    },
    next() {
      if (!isFirst) return parts.next();
      isFirst = false;
      return Promise.resolve(first);
    },
  };
  return target.putParts(name, all, options);
}
