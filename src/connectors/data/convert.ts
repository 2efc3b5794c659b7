/** `data.convert`: from formats to a value, its types, and to formats again. */

import * as v from 'valibot';
import * as bytes from './formats/bytes.ts';
import { checkSize, textOf, type Content, type Format, type Options } from './formats/content.ts';
import { csv } from './formats/csv.ts';
import { form, multipart } from './formats/form.ts';
import { json, ndjson } from './formats/json.ts';
import { xml } from './formats/xml.ts';
import { charset, delimiter, escapeFormulas, header, types, typesOf } from '../kit/data-schemas.ts';
import { defineAction } from '../kit/types.ts';
import { convertTypes } from '../../core/data/types.ts';
import { ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

const FORMATS = {
  json,
  ndjson,
  csv,
  xml,
  form,
  multipart,
  base64: bytes.base64,
  base64url: bytes.base64url,
  hex: bytes.hex,
  gzip: bytes.gzip,
  deflate: bytes.deflate,
  'deflate-raw': bytes.deflateRaw,
} as const satisfies Readonly<Record<string, Format>>;

type FormatName = keyof typeof FORMATS;
const name = v.picklist(Object.keys(FORMATS) as [FormatName, ...FormatName[]]);
const names = v.union([name, v.pipe(v.array(name), v.maxLength(8))]);

const boundary = v.optional(
  v.pipe(v.string(), v.regex(/^[\w'+.-]{1,70}$/, 'Must be up to 70 letters, digits, - and _.')),
);

const params = v.strictObject({
  value: v.unknown(),
  from: v.optional(
    v.pipe(names, v.description('The format of `value`, or several to take off, the outermost first. Default: none.')),
    [],
  ),
  types: v.optional(
    v.pipe(types, v.description('Types by path in the value, or in each item of a list. An empty text becomes null.')),
  ),
  to: v.optional(v.pipe(names, v.description('The format to make, or several to put on in turn. Default: none.')), []),
  charset,
  csv: v.optional(v.strictObject({ delimiter, header, escapeFormulas }), {}),
  xml: v.optional(
    v.strictObject({
      lists: v.optional(
        v.pipe(
          v.array(v.string()),
          v.maxLength(LIMITS.dataFields),
          v.description('Elements that are lists also where they stand once, e.g. `order.line`.'),
        ),
        [],
      ),
    }),
    {},
  ),
  multipart: v.optional(v.strictObject({ boundary }), {}),
});

const asList = (given: v.InferOutput<typeof names>): readonly FormatName[] =>
  typeof given === 'string' ? [given] : given;

async function convert(given: v.InferOutput<typeof params>) {
  const options: Options = given;
  let content: Content = given.value;
  checkSize(content);
  for (const format of asList(given.from)) {
    content = await FORMATS[format].read(content, options);
    checkSize(content);
  }
  if (given.types !== undefined) {
    const converted = convertTypes(content, typesOf(given.types));
    if (!converted.ok) return converted;
    content = converted.value;
  }
  for (const format of asList(given.to)) {
    content = await FORMATS[format].write(content, options);
    checkSize(content);
  }
  // JSON holds no bytes.
  return ok(content instanceof Uint8Array ? textOf(content, 'text (add `base64` to `to`)', options) : content);
}

export const convertAction = defineAction({
  title: 'Convert formats, encodings, types and dates',
  effect: 'pure',
  connection: 'none',
  params,
  example: {
    value: 'id,paid,at\r\n1,true,31.01.2026 09:30\r\n',
    from: 'csv',
    types: {
      id: 'integer',
      paid: 'boolean',
      at: { date: { from: 'dd.MM.yyyy HH:mm', fromZone: 'Europe/Berlin' } },
    },
    to: 'ndjson',
  },
  run: convert,
});
