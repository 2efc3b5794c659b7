/** `s3.*`: objects in S3 and in what speaks like it. */

import type { InferOutput } from 'valibot';
import { decodeContent, encodeContent } from './content.ts';
import {
  getParams,
  listParams,
  multipartParams,
  nameParams,
  presignParams,
  putParams,
  secrets,
  settings,
} from './schemas.ts';
import { defineAction, originOf, type ActionContext, type Connector } from '../kit/types.ts';
import { createS3Driver, type S3Driver } from '../../drivers/s3/s3.ts';
import { fail, ok } from '../../core/errors.ts';

const connection = { settings, secrets };

function open(context: ActionContext<InferOutput<typeof settings>, InferOutput<typeof secrets>>): S3Driver {
  const { settings: at, secrets: by } = context.connection;
  return createS3Driver(
    {
      endpoint: at.endpoint,
      region: at.region,
      accessKeyId: by.accessKeyId,
      secretAccessKey: by.secretAccessKey,
      ...(at.bucket !== undefined && { bucket: at.bucket }),
      ...(at.pathStyle !== undefined && { pathStyle: at.pathStyle }),
      ...(by.sessionToken !== undefined && { sessionToken: by.sessionToken }),
    },
    { fetch: context.fetch, signal: context.signal, now: context.now },
  );
}

export const s3: Connector = {
  name: 's3',
  title: 'S3',
  connection: {
    required: true,
    ...connection,
    // Without a bucket of its own there is nothing that the credentials are sure to be good for.
    probe: ({ bucket }: InferOutput<typeof settings>) =>
      bucket === undefined ? undefined : { action: 'list', params: { limit: 1 } },
    origins: ({ endpoint, pathStyle }: InferOutput<typeof settings>) =>
      pathStyle === false ? [originOf(endpoint).replace('//', '//*.')] : [originOf(endpoint)],
  },
  actions: {
    get: defineAction(
      {
        title: 'Get an object',
        effect: 'idempotent',
        params: getParams,
        example: { key: 'reports/2026.json', as: 'json' },
        async run({ as, firstByte, lastByte, ...name }, context) {
          if (lastByte !== undefined && lastByte < (firstByte ?? 0)) {
            return fail('step.params', '`lastByte` must not come before `firstByte`.');
          }
          const part = firstByte !== undefined || lastByte !== undefined;
          const object = await open(context).get(name, part ? { first: firstByte ?? 0, last: lastByte } : undefined);
          if (!object.ok) return object;
          const { bytes, ...facts } = object.value;
          const body = decodeContent(bytes, as);
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
        example: { key: 'reports/2026.json' },
        async run(name, context) {
          const facts = await open(context).head(name);
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
        example: { key: 'reports/2026.json', json: { total: 42 } },
        async run({ bucket, key, contentType, metadata, ...content }, context) {
          const encoded = encodeContent(content);
          if (!encoded.ok) return encoded;
          const { bytes } = encoded.value;
          return open(context).put({ bucket, key }, bytes, {
            contentType: contentType ?? encoded.value.contentType,
            metadata,
          });
        },
      },
      connection,
    ),
    delete: defineAction(
      {
        title: 'Delete an object',
        effect: 'idempotent',
        params: nameParams,
        example: { key: 'reports/2026.json' },
        async run(name, context) {
          const deleted = await open(context).delete(name);
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
        run: (params, context) => open(context).list(params),
      },
      connection,
    ),
    presign: defineAction(
      {
        title: 'Make an address that works without credentials',
        effect: 'idempotent',
        params: presignParams,
        example: { key: 'reports/2026.json', method: 'GET', expiresSeconds: 600 },
        async run({ bucket, key, ...options }, context) {
          const url = await open(context).presign({ bucket, key }, options);
          if (!url.ok) return url;
          return ok({
            url: url.value,
            expiresAt: new Date(context.now() + options.expiresSeconds * 1000).toISOString(),
          });
        },
      },
      connection,
    ),
    multipart: defineAction(
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
          return open(context).multipart({ bucket, key }, bodies, { contentType, metadata });
        },
      },
      connection,
    ),
  },
};
