/** `mongodb.putFile`, `getFile`, `listFiles` and `deleteFile`: GridFS. */

import * as v from 'valibot';
import { fail, FaultError, ok, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { LIMITS } from '../../core/limits.ts';
import { fromJson, toJson, type Bson } from '../../drivers/mongodb/bson.ts';
import * as gridfs from '../../drivers/mongodb/gridfs.ts';
import { decodeContent, encodeContent } from '../kit/content.ts';
import { defineAction } from '../kit/types.ts';
import { authoredIssue } from './authored.ts';
import { connection, using, type Context } from './connection.ts';
import { document, filter } from './operation.ts';

const bucket = v.optional(
  v.pipe(v.string(), v.regex(/^(?!system\.|system$)[^$\0.]{1,200}$/), v.description('A prefix of two collections.')),
  'fs',
);
const filename = v.pipe(v.string(), v.minLength(1), v.maxLength(1_024));
const id = v.pipe(v.unknown(), v.description('As `putFile` and `listFiles` give it.'));

/** A value of the parameters as BSON, once it is known to bring nothing that its author did not write. */
function checked(context: Context, name: string, value: unknown): Result<(bson: Bson) => unknown> {
  const written = isObject(context.written) ? context.written[name] : undefined;
  const issue = authoredIssue(value, written, 'query', name);
  if (issue !== undefined) return fail('step.params', issue);
  return ok((bson) => {
    const made = fromJson(bson, value, name);
    if (made.ok) return made.value;
    throw new FaultError(made.fault);
  });
}

const shown = (bson: Bson, { _id, filename, length, uploadDate, metadata }: gridfs.File) => ({
  id: toJson(bson, _id),
  filename,
  sizeBytes: length,
  uploadedAt: uploadDate.toISOString(),
  metadata: toJson(bson, metadata),
});

export const files = {
  putFile: defineAction(
    {
      title: 'Put a file into GridFS',
      effect: 'external',
      params: v.strictObject({
        bucket,
        filename,
        text: v.optional(v.string()),
        json: v.optional(v.unknown()),
        base64: v.optional(v.string()),
        metadata: v.optional(document),
      }),
      example: { filename: 'reports/2026.json', json: { total: 42 }, metadata: { kind: 'report' } },
      async run({ bucket, filename, metadata, ...content }, context) {
        const encoded = encodeContent(content);
        if (!encoded.ok) return encoded;
        const { bytes, contentType } = encoded.value;
        const wanted = checked(context, 'metadata', metadata);
        if (!wanted.ok) return wanted;
        return using(context, async (session) => {
          const given = wanted.value(session.bson);
          const facts = { contentType, ...Object(given) };
          const file = { filename, bytes, metadata: facts, now: context.now() };
          const _id = await gridfs.putFile(session, bucket, file);
          return { id: toJson(session.bson, _id), sizeBytes: bytes.length };
        });
      },
    },
    connection,
  ),
  getFile: defineAction(
    {
      title: 'Get a file from GridFS',
      effect: 'idempotent',
      params: v.strictObject({
        bucket,
        filename: v.optional(v.pipe(filename, v.description('The newest of this name; or give `id`.'))),
        id: v.optional(id),
        as: v.optional(v.picklist(['text', 'json', 'base64']), 'text'),
      }),
      example: { filename: 'reports/2026.json', as: 'json' },
      async run({ bucket, filename, id, as }, context) {
        if ((filename === undefined) === (id === undefined)) {
          return fail('step.params', 'Give exactly one of `filename` and `id`.');
        }
        const wanted = checked(context, 'id', id);
        if (!wanted.ok) return wanted;
        const found = await using(context, async (session) => {
          const query = filename === undefined ? { _id: wanted.value(session.bson) } : { filename };
          const file = await gridfs.findFile(session, bucket, query);
          if (file === undefined) return undefined;
          const bytes = await gridfs.readFile(session, bucket, file);
          if (!bytes.ok) throw new FaultError(bytes.fault);
          return { bytes: bytes.value, facts: shown(session.bson, file) };
        });
        if (!found.ok) return found;
        if (found.value === undefined) return ok({ found: false });
        const body = decodeContent(found.value.bytes, as);
        return body.ok ? ok({ found: true, body: body.value, ...found.value.facts }) : body;
      },
    },
    connection,
  ),
  listFiles: defineAction(
    {
      title: 'List files of GridFS',
      effect: 'idempotent',
      params: v.strictObject({
        bucket,
        filter: v.optional(filter, {}),
        limit: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIMITS.mongoDocumentsUsual)), 100),
      }),
      example: { filter: { 'metadata.kind': 'report' } },
      async run({ bucket, filter, limit }, context) {
        const wanted = checked(context, 'filter', filter);
        if (!wanted.ok) return wanted;
        return using(context, async (session) => {
          const { files, more } = await gridfs.listFiles(session, bucket, wanted.value(session.bson), limit);
          return { files: files.map((file) => shown(session.bson, file)), more };
        });
      },
    },
    connection,
  ),
  deleteFile: defineAction(
    {
      title: 'Delete a file of GridFS',
      effect: 'idempotent',
      params: v.strictObject({ bucket, id }),
      example: { id: { $oid: '65a1b2c3d4e5f60718293a4b' } },
      async run({ bucket, id }, context) {
        const wanted = checked(context, 'id', id);
        if (!wanted.ok) return wanted;
        return using(context, async (session) => ({
          deleted: await gridfs.deleteFile(session, bucket, wanted.value(session.bson)),
        }));
      },
    },
    connection,
  ),
};
