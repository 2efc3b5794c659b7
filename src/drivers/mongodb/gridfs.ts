/**
 * GridFS (the specification of MongoDB's drivers): a file is a document in `<bucket>.files` and pieces in
 * `<bucket>.chunks`. Several files may have one name; the newest counts.
 *
 * Guarantees: a file is named only once all its pieces are there; one whose pieces are not all there is not given out.
 * Accepted weakness: a writer that dies leaves pieces that no file names.
 */

import * as v from 'valibot';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { find, write } from './collection.ts';
import type { Session } from './session.ts';

export interface NewFile {
  readonly filename: string;
  readonly bytes: Uint8Array;
  readonly metadata?: unknown;
  /** Unix time in milliseconds. */
  readonly now: number;
}

/** One of both: the newest of a name, or the one of an identifier. */
export type FileQuery = { readonly filename: string } | { readonly _id: unknown };

const fileSchema = v.object({
  _id: v.unknown(),
  filename: v.optional(v.string()),
  length: v.number(),
  chunkSize: v.number(),
  uploadDate: v.date(),
  metadata: v.optional(v.unknown()),
});
export type File = v.InferOutput<typeof fileSchema>;

/** Pieces of one command: some megabytes. */
const PIECES_PER_COMMAND = 16;

/** @returns the identifier of the file */
export async function putFile(session: Session, bucket: string, file: NewFile): Promise<unknown> {
  const { bson } = session;
  const { filename, bytes, metadata, now } = file;
  await ensureIndexes(session, bucket);
  const _id = new bson.ObjectId();
  const count = Math.ceil(bytes.length / LIMITS.mongoChunkBytes);
  for (let first = 0; first < count; first += PIECES_PER_COMMAND) {
    const pieces = Array.from({ length: Math.min(PIECES_PER_COMMAND, count - first) }, (_, offset) => {
      const n = first + offset;
      const data = bytes.subarray(n * LIMITS.mongoChunkBytes, (n + 1) * LIMITS.mongoChunkBytes);
      return { insert: { files_id: _id, n, data: new bson.Binary(data) } };
    });
    await write(session, `${bucket}.chunks`, pieces);
  }
  const facts = {
    length: bson.Long.fromNumber(bytes.length),
    chunkSize: LIMITS.mongoChunkBytes,
    uploadDate: new Date(now),
  };
  await write(session, `${bucket}.files`, [{ insert: { _id, ...facts, filename, metadata } }]);
  return _id;
}

/** As the specification asks of a writer, where there is no file yet. */
async function ensureIndexes(session: Session, bucket: string): Promise<void> {
  const { documents } = await find(session, `${bucket}.files`, { filter: {}, projection: { _id: 1 } }, 1);
  if (documents.length > 0) return;
  const byName = { key: { filename: 1, uploadDate: 1 }, name: 'filename_1_uploadDate_1' };
  const byPiece = { key: { files_id: 1, n: 1 }, name: 'files_id_1_n_1', unique: true };
  await session.command({ createIndexes: `${bucket}.files`, indexes: [byName] });
  await session.command({ createIndexes: `${bucket}.chunks`, indexes: [byPiece] });
}

export async function findFile(session: Session, bucket: string, query: FileQuery): Promise<File | undefined> {
  const options = { filter: query, sort: { uploadDate: -1, _id: -1 } };
  const { documents } = await find(session, `${bucket}.files`, options, 1);
  return documents.length === 0 ? undefined : v.parse(fileSchema, documents[0]);
}

const pieceSchema = v.object({
  n: v.number(),
  data: v.object({ buffer: v.instance(Uint8Array), position: v.number() }),
});

/** Faults `upstream.too-large`, `upstream.invalid` where pieces are missing. */
export async function readFile(session: Session, bucket: string, file: File): Promise<Result<Uint8Array>> {
  if (file.length > LIMITS.responseBodyBytes) {
    const most = LIMITS.responseBodyBytes;
    return fail('upstream.too-large', `The file has ${file.length} bytes; a step reads up to ${most} of one.`);
  }
  const bytes = new Uint8Array(file.length);
  const options = { filter: { files_id: file._id }, sort: { n: 1 } };
  const count = Math.ceil(file.length / file.chunkSize);
  const { documents, more } = await find(session, `${bucket}.chunks`, options, Math.max(count, 1));
  let offset = 0;
  for (const [index, document] of documents.entries()) {
    const { n, data } = v.parse(pieceSchema, document);
    const piece = data.buffer.subarray(0, data.position);
    if (n !== index || offset + piece.length > bytes.length) break;
    bytes.set(piece, offset);
    offset += piece.length;
  }
  if (offset !== bytes.length || more) return fail('upstream.invalid', 'Pieces of the file are missing, or too many.');
  return ok(bytes);
}

/** @returns whether there was such a file */
export async function deleteFile(session: Session, bucket: string, _id: unknown): Promise<boolean> {
  // The file first: what is left of it then is found by nobody.
  const { deleted } = await write(session, `${bucket}.files`, [{ delete: { q: { _id }, limit: 1 } }]);
  await write(session, `${bucket}.chunks`, [{ delete: { q: { files_id: _id }, limit: 0 } }]);
  return deleted > 0;
}

/** Newest first. */
export async function listFiles(
  session: Session,
  bucket: string,
  filter: unknown,
  most: number,
): Promise<{ readonly files: readonly File[]; readonly more: boolean }> {
  const found = await find(session, `${bucket}.files`, { filter, sort: { uploadDate: -1, _id: -1 } }, most);
  return { files: v.parse(v.array(fileSchema), found.documents), more: found.more };
}
