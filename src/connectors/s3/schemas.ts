/** What the actions of `s3` take, and their connection. */

import * as v from 'valibot';

const text = v.pipe(v.string(), v.minLength(1));

export const settings = v.strictObject({
  endpoint: v.pipe(
    v.string(),
    v.regex(/^https?:\/\/[^\s?#@\\]+$/, 'Must be an absolute URL without user name, query and fragment.'),
    v.description('Without the bucket, e.g. https://s3.eu-central-1.amazonaws.com.'),
  ),
  region: v.pipe(text, v.description('E.g. eu-central-1; `auto` for R2.')),
  bucket: v.optional(v.pipe(text, v.description('Used where a step names none.'))),
  pathStyle: v.optional(v.pipe(v.boolean(), v.description('False puts the bucket before the host. Default true.'))),
});

export const secrets = v.strictObject({
  accessKeyId: text,
  secretAccessKey: text,
  sessionToken: v.optional(text),
});

const name = {
  bucket: v.optional(text),
  key: v.pipe(text, v.maxLength(1024), v.description('Taken literally, also with `../`, spaces and any Unicode.')),
};

const content = {
  text: v.optional(v.pipe(v.string(), v.description('Stored as UTF-8.'))),
  json: v.optional(v.pipe(v.unknown(), v.description('Stored as JSON.'))),
  base64: v.optional(v.pipe(v.string(), v.description('Bytes in base64, stored as such.'))),
};

const stored = {
  contentType: v.optional(text),
  metadata: v.optional(
    v.pipe(
      v.record(v.pipe(v.string(), v.regex(/^[a-z0-9-]+$/, 'Must consist of a-z, 0-9 and -.')), v.string()),
      v.description('Kept with the object as `x-amz-meta-…`; values in Latin-1.'),
    ),
  ),
};

const byte = v.pipe(v.number(), v.integer(), v.minValue(0));

export const getParams = v.strictObject({
  ...name,
  as: v.optional(v.pipe(v.picklist(['text', 'json', 'base64']), v.description('What `body` becomes.')), 'text'),
  firstByte: v.optional(v.pipe(byte, v.description('Reads a part of the object, from this byte on.'))),
  lastByte: v.optional(v.pipe(byte, v.description('The last byte of the part, included.'))),
});

export const nameParams = v.strictObject(name);
export const putParams = v.strictObject({ ...name, ...content, ...stored });

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
    v.description('In order. All but the last take 5 MB at least.'),
  ),
});

export type Content = { readonly [Field in keyof typeof content]?: unknown };
