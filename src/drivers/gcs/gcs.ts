/**
 * Google Cloud Storage over its JSON API. Its conditions compare generations, so the generation is what stands
 * as `etag`.
 */

import * as v from 'valibot';
import { call, causeOf, openMedia, type GcsRequest } from './call.ts';
import { presign, type GcsConnection } from './token.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { bodyOf, jsonOf, textOf, type Incoming, type Wire } from '../kit/exchange.ts';
import {
  bucketOf,
  instantOf,
  keyFault,
  rangeHeaders,
  type Conditions,
  type ObjectFacts,
  type ObjectName,
  type ObjectStore,
  type PutOptions,
  type Written,
} from '../kit/objects.ts';
import { uploadParts } from './resumable.ts';

/** The resource "Objects" of the JSON API, as far as it is read. */
const resource = v.object({
  name: v.string(),
  generation: v.string(),
  size: v.optional(v.string(), '0'),
  contentType: v.optional(v.string()),
  updated: v.optional(v.string()),
  metadata: v.optional(v.record(v.string(), v.string()), {}),
});
const listing = v.object({
  kind: v.literal('storage#objects'),
  items: v.optional(v.array(resource), []),
  prefixes: v.optional(v.array(v.string()), []),
  nextPageToken: v.optional(v.string()),
});
const rewriting = v.object({
  done: v.boolean(),
  rewriteToken: v.optional(v.string()),
  resource: v.optional(resource),
});

export function createGcsStore(connection: GcsConnection, wire: Wire): ObjectStore {
  const send = (request: GcsRequest): Promise<Result<Incoming>> => call(connection, wire, request);
  const pathOf = (name: ObjectName): Result<string> => {
    const bucket = bucketOf(name.bucket, connection.bucket);
    if (!bucket.ok) return bucket;
    return keyFault(name.key) ?? ok(`b/${bucket.value}/o/${encodeURIComponent(name.key)}`);
  };
  const lookUp = async (path: string, query: Readonly<Record<string, string>> = {}): Promise<Result<ObjectFacts>> => {
    const reply = parsed(await send({ method: 'GET', path: `/storage/v1/${path}`, query }), resource);
    return reply.ok ? ok(factsOf(reply.value)) : reply;
  };

  return {
    async get(name, { range, ...conditions } = {}) {
      const path = pathOf(name);
      if (!path.ok) return path;
      const facts = await lookUp(path.value, generations(conditions));
      if (!facts.ok) return causeOf(facts.fault).status === 304 ? ok(undefined) : facts;
      // Of that generation, though it may be replaced meanwhile.
      const query = { alt: 'media', generation: facts.value.etag ?? '' };
      const headers = { ...rangeHeaders(range), 'accept-encoding': 'identity' };
      const media = { method: 'GET', path: `/storage/v1/${path.value}`, query, headers } as const;
      const reply = await openMedia(connection, wire, media);
      return reply.ok ? ok({ ...facts.value, ...bodyOf(reply.value) }) : reply;
    },
    async head(name) {
      const path = pathOf(name);
      const facts = path.ok ? await lookUp(path.value) : path;
      if (facts.ok) return facts;
      return causeOf(facts.fault).status === 404 ? ok(undefined) : facts;
    },
    async put(name, bytes, { contentType = 'application/octet-stream', metadata, ...conditions } = {}) {
      const target = uploadTarget(connection, name);
      if (!target.ok) return target;
      const { headers, body } = related({ name: name.key, contentType, metadata }, contentType, bytes);
      const query = { uploadType: 'multipart', ...generations(conditions) };
      return written(await send({ method: 'POST', path: target.value, query, headers, body }));
    },
    async putParts(name, parts, { ifMatch, ifNoneMatch, ...options }: PutOptions = {}) {
      const target = uploadTarget(connection, name);
      if (!target.ok) return target;
      const query = { uploadType: 'resumable', ...generations({ ifMatch, ifNoneMatch }) };
      const started = { path: target.value, query, resource: { name: name.key, ...options } };
      return written(await uploadParts(connection, wire, started, parts));
    },
    async delete(name) {
      const path = pathOf(name);
      if (!path.ok) return path;
      const reply = await send({ method: 'DELETE', path: `/storage/v1/${path.value}` });
      return reply.ok || causeOf(reply.fault).reason === 'notFound' ? ok(undefined) : reply;
    },
    async list({ bucket: given, prefix, delimiter, limit, cursor }) {
      const bucket = bucketOf(given, connection.bucket);
      if (!bucket.ok) return bucket;
      const query = {
        ...(prefix !== undefined && { prefix }),
        ...(delimiter !== undefined && { delimiter }),
        ...(limit !== undefined && { maxResults: String(limit) }),
        ...(cursor !== undefined && { pageToken: cursor }),
      };
      const page = parsed(await send({ method: 'GET', path: `/storage/v1/b/${bucket.value}/o`, query }), listing);
      if (!page.ok) return page;
      const { items, prefixes, nextPageToken } = page.value;
      const objects = items.map((item) => {
        const { sizeBytes, etag, lastModified } = factsOf(item);
        return { key: item.name, sizeBytes, etag, lastModified };
      });
      return ok({ objects, prefixes, cursor: nextPageToken });
    },
    async copy(from, to) {
      const [source, target] = [pathOf(from), pathOf(to)];
      if (!source.ok) return source;
      if (!target.ok) return target;
      // A large object is rewritten in turns.
      for (let rewriteToken: string | undefined; ;) {
        const query = rewriteToken === undefined ? {} : { rewriteToken };
        const path = `/storage/v1/${source.value}/rewriteTo/${target.value}`;
        const reply = parsed(await send({ method: 'POST', path, query, body: new Uint8Array() }), rewriting);
        if (!reply.ok) return reply;
        if (reply.value.done) return ok({ etag: reply.value.resource?.generation });
        rewriteToken = reply.value.rewriteToken;
        if (rewriteToken === undefined) return fail('upstream.invalid', 'Google gave no token to go on copying.');
      }
    },
    presign: (name, options) => presign(connection, name, options, wire.now()),
  };
}

const uploadTarget = (connection: GcsConnection, name: ObjectName): Result<string> => {
  const bucket = bucketOf(name.bucket, connection.bucket);
  if (!bucket.ok) return bucket;
  return keyFault(name.key) ?? ok(`/upload/storage/v1/b/${bucket.value}/o`);
};

function parsed<T>(reply: Result<Incoming>, schema: v.GenericSchema<unknown, T>): Result<T> {
  if (!reply.ok) return reply;
  const body = jsonOf('Google', textOf(reply.value.bytes));
  if (!body.ok) return body;
  const result = v.safeParse(schema, body.value);
  if (result.success) return ok(result.output);
  return fail('upstream.invalid', 'Google answered with something else than the JSON API does; check `endpoint`.');
}

const written = (reply: Result<Incoming>): Result<Written> => {
  const object = parsed(reply, resource);
  return object.ok ? ok({ etag: object.value.generation }) : object;
};

const factsOf = ({
  contentType,
  size,
  generation,
  updated,
  metadata,
}: v.InferOutput<typeof resource>): ObjectFacts => ({
  contentType,
  sizeBytes: Number(size),
  etag: generation,
  lastModified: instantOf(updated),
  metadata,
});

/** `ifGenerationMatch: 0` is: only where there is none. */
const generations = ({ ifMatch, ifNoneMatch }: Conditions): Record<string, string> => ({
  ...(ifMatch !== undefined && { ifGenerationMatch: ifMatch }),
  ...(ifNoneMatch === '*' && { ifGenerationMatch: '0' }),
  ...(ifNoneMatch !== undefined && ifNoneMatch !== '*' && { ifGenerationNotMatch: ifNoneMatch }),
});

/** `multipart/related` (RFC 2387): the resource, then the bytes. */
function related(described: object, contentType: string, bytes: Uint8Array) {
  const boundary = `part-${crypto.randomUUID()}`;
  const json = 'content-type: application/json; charset=utf-8';
  const head = `--${boundary}\r\n${json}\r\n\r\n${JSON.stringify(described)}\r\n--${boundary}\r\ncontent-type: ${contentType}\r\n\r\n`;
  const [before, after] = [head, `\r\n--${boundary}--`].map((part) => new TextEncoder().encode(part));
  const body = new Uint8Array([before, bytes, after].reduce((sum, part) => sum + (part?.byteLength ?? 0), 0));
  let offset = 0;
  for (const part of [before, bytes, after]) {
    body.set(part ?? [], offset);
    offset += part?.byteLength ?? 0;
  }
  return { headers: { 'content-type': `multipart/related; boundary=${boundary}` }, body };
}
