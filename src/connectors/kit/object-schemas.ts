/** What the actions of all object stores take. */

import * as v from 'valibot';

export const text = v.pipe(v.string(), v.minLength(1));

/** Where a store is reached. */
export const endpoint = v.pipe(
  v.string(),
  v.regex(/^https?:\/\/[^\s?#@\\]+$/, 'Must be an absolute URL without user name, query and fragment.'),
);

export const name = {
  bucket: v.optional(v.pipe(text, v.description('That of the connection where it is left out. Azure: the container.'))),
  key: v.pipe(text, v.maxLength(1024), v.description('Taken literally, also with `../`, spaces and any Unicode.')),
};

const content = {
  text: v.optional(v.pipe(v.string(), v.description('Stored as UTF-8.'))),
  json: v.optional(v.pipe(v.unknown(), v.description('Stored as JSON.'))),
  base64: v.optional(v.pipe(v.string(), v.description('Bytes in base64, stored as such.'))),
};

export const stored = {
  contentType: v.optional(text),
  metadata: v.optional(
    v.pipe(
      v.record(v.pipe(v.string(), v.regex(/^[a-z0-9-]+$/, 'Must consist of a-z, 0-9 and -.')), v.string()),
      v.description('Kept with the object; values in Latin-1. Azure writes `_` for `-`.'),
    ),
  ),
};

const etag = v.pipe(v.string(), v.minLength(1), v.regex(/^[^"\p{Cc}]+$/u, 'Must be an etag without its quotes.'));
const ifMatch = v.optional(v.pipe(etag, v.description('Only while the object has this etag; else status 412.')));

const byte = v.pipe(v.number(), v.integer(), v.minValue(0));

export const getParams = v.strictObject({
  ...name,
  as: v.optional(v.pipe(v.picklist(['text', 'json', 'base64']), v.description('What `body` becomes.')), 'text'),
  firstByte: v.optional(v.pipe(byte, v.description('Reads a part of the object, from this byte on.'))),
  lastByte: v.optional(v.pipe(byte, v.description('The last byte of the part, included.'))),
  ifMatch,
  ifNoneMatch: v.optional(v.pipe(etag, v.description('Gives `notModified: true` while the object has this etag.'))),
});

export const nameParams = v.strictObject(name);
export const putParams = v.strictObject({
  ...name,
  ...content,
  ...stored,
  ifMatch,
  ifNoneMatch: v.optional(
    v.pipe(v.literal('*'), v.description('Only where there is no such object; else status 412.')),
  ),
});

export const copyParams = v.strictObject({
  from: v.pipe(v.strictObject(name), v.description('The object that is copied.')),
  to: v.pipe(v.strictObject(name), v.description('What is made or replaced.')),
});

export const listParams = v.strictObject({
  bucket: v.optional(text),
  prefix: v.optional(v.string()),
  delimiter: v.optional(v.pipe(text, v.description('`/` lists one level of folders.'))),
  limit: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1000))),
  cursor: v.optional(v.pipe(text, v.description('`cursor` of the page before.'))),
});

export const presignParams = v.strictObject({
  ...name,
  method: v.optional(v.picklist(['GET', 'PUT']), 'GET'),
  expiresSeconds: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(7 * 24 * 3600)), 3600),
  contentType: v.optional(v.pipe(text, v.description('For PUT: the upload must send this type.'))),
});

export const multipartParams = v.strictObject({
  ...name,
  ...stored,
  parts: v.pipe(
    v.array(v.strictObject(content)),
    v.minLength(1),
    v.maxLength(10_000),
    v.description('In order. S3: all but the last take 5 MB at least.'),
  ),
});

export type Content = { readonly [Field in keyof typeof content]?: unknown };
