/** The actions that every object store has, made of its driver. */

import type { GenericSchema, InferOutput } from 'valibot';
import { decodeContent, encodeContent } from './content.ts';
import {
  copyParams,
  getParams,
  listParams,
  multipartParams,
  nameParams,
  presignParams,
  putParams,
} from './object-schemas.ts';
import { defineAction, type Action, type ActionContext } from './types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { partsOfList, readWhole, type ObjectStore } from '../../drivers/kit/objects.ts';

/** The store behind the connection of a step. */
type Open<S extends GenericSchema, C extends GenericSchema> = (
  context: ActionContext<InferOutput<S>, InferOutput<C>>,
) => Result<ObjectStore>;

interface Connected<S extends GenericSchema, C extends GenericSchema> {
  readonly settings: S;
  readonly secrets: C;
}

const KEY = 'reports/2026.json';

/** `get`, `head`, `put`, `delete`, `list` and `copy`. */
export function objectActions<S extends GenericSchema, C extends GenericSchema>(
  open: Open<S, C>,
  connection?: Connected<S, C>,
): Record<'get' | 'head' | 'put' | 'delete' | 'list' | 'copy', Action> {
  return {
    get: defineAction(
      {
        title: 'Get an object',
        effect: 'idempotent',
        params: getParams,
        example: { key: KEY, as: 'json' },
        async run({ as, firstByte, lastByte, ifMatch, ifNoneMatch, ...name }, context) {
          if (lastByte !== undefined && lastByte < (firstByte ?? 0)) {
            return fail('step.params', '`lastByte` must not come before `firstByte`.');
          }
          const store = open(context);
          if (!store.ok) return store;
          const isPart = firstByte !== undefined || lastByte !== undefined;
          const range = isPart ? { first: firstByte ?? 0, last: lastByte } : undefined;
          const object = await store.value.get(name, { range, ifMatch, ifNoneMatch });
          if (!object.ok) return object;
          if (object.value === undefined) return ok({ notModified: true });
          const { stream: _stream, streamBytes: _streamBytes, ...facts } = object.value;
          const bytes = await readWhole(object.value, context);
          if (!bytes.ok) return bytes;
          const body = decodeContent(bytes.value, as);
          return body.ok ? ok({ body: body.value, ...facts }) : body;
        },
      },
      connection,
    ),
    head: defineAction(
      {
        title: 'Look whether an object exists',
        effect: 'idempotent',
        params: nameParams,
        example: { key: KEY },
        async run(name, context) {
          const store = open(context);
          const facts = store.ok ? await store.value.head(name) : store;
          if (!facts.ok) return facts;
          return ok(facts.value === undefined ? { exists: false } : { exists: true, ...facts.value });
        },
      },
      connection,
    ),
    put: defineAction(
      {
        title: 'Put an object',
        effect: 'idempotent',
        params: putParams,
        example: { key: KEY, json: { total: 42 } },
        async run({ bucket, key, contentType, metadata, ifMatch, ifNoneMatch, ...content }, context) {
          const encoded = encodeContent(content);
          if (!encoded.ok) return encoded;
          const store = open(context);
          if (!store.ok) return store;
          const options = { contentType: contentType ?? encoded.value.contentType, metadata, ifMatch, ifNoneMatch };
          return store.value.put({ bucket, key }, encoded.value.bytes, options);
        },
      },
      connection,
    ),
    delete: defineAction(
      {
        title: 'Delete an object',
        effect: 'idempotent',
        params: nameParams,
        example: { key: KEY },
        async run(name, context) {
          const store = open(context);
          const deleted = store.ok ? await store.value.delete(name) : store;
          return deleted.ok ? ok({}) : deleted;
        },
      },
      connection,
    ),
    list: defineAction(
      {
        title: 'List objects',
        effect: 'idempotent',
        params: listParams,
        example: { prefix: 'reports/', limit: 100 },
        run(params, context) {
          const store = open(context);
          return store.ok ? store.value.list(params) : store;
        },
      },
      connection,
    ),
    copy: defineAction(
      {
        title: 'Copy an object within the store',
        effect: 'idempotent',
        params: copyParams,
        example: { from: { key: KEY }, to: { key: 'archive/2026.json' } },
        run({ from, to }, context) {
          const store = open(context);
          return store.ok ? store.value.copy(from, to) : store;
        },
      },
      connection,
    ),
  };
}

/** For stores with addresses that carry their own permission. */
export const presignAction = <S extends GenericSchema, C extends GenericSchema>(
  open: Open<S, C>,
  connection: Connected<S, C>,
): Action =>
  defineAction(
    {
      title: 'Make an address that works without credentials',
      effect: 'idempotent',
      params: presignParams,
      example: { key: KEY, method: 'GET', expiresSeconds: 600 },
      async run({ bucket, key, ...options }, context) {
        const store = open(context);
        if (!store.ok) return store;
        const signed = await store.value.presign({ bucket, key }, options);
        if (!signed.ok) return signed;
        const expiresAt = new Date(context.now() + options.expiresSeconds * 1000).toISOString();
        return ok({ ...signed.value, expiresAt });
      },
    },
    connection,
  );

/** For stores that take parts of any length. */
export const multipartAction = <S extends GenericSchema, C extends GenericSchema>(
  open: Open<S, C>,
  connection: Connected<S, C>,
): Action =>
  defineAction(
    {
      title: 'Put an object in parts',
      effect: 'idempotent',
      params: multipartParams,
      example: { key: 'logs/today.txt', parts: [{ text: 'first line\n' }] },
      async run({ bucket, key, contentType, metadata, parts }, context) {
        const bodies: Uint8Array[] = [];
        for (const [index, part] of parts.entries()) {
          const encoded = encodeContent(part, `parts[${index}]: `);
          if (!encoded.ok) return encoded;
          bodies.push(encoded.value.bytes);
        }
        const store = open(context);
        if (!store.ok) return store;
        return store.value.putParts({ bucket, key }, partsOfList(bodies), { contentType, metadata });
      },
    },
    connection,
  );
