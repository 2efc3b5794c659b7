/** `objects.*`: work that takes more than one object store. */

import * as v from 'valibot';
import { openBucket } from '../kit/bucket.ts';
import { name, stored, text } from '../kit/object-schemas.ts';
import { defineAction, type ActionContext, type Connector } from '../kit/types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { transfer, type ObjectStore } from '../../drivers/kit/objects.ts';

const place = {
  connection: v.optional(
    v.pipe(
      text,
      v.description('Of an object store; a fixed name, no expression. Left out: the R2 bucket of the Worker.'),
    ),
  ),
  ...name,
};

export const objects: Connector = {
  name: 'objects',
  title: 'Object stores',
  actions: {
    copy: defineAction({
      title: 'Copy an object from one store to another',
      effect: 'idempotent',
      params: v.strictObject({
        from: v.pipe(v.strictObject(place), v.description('The object that is copied.')),
        to: v.pipe(v.strictObject({ ...place, ...stored }), v.description('What is made or replaced.')),
      }),
      example: {
        from: { connection: 'my-s3', key: 'reports/2026.csv' },
        to: { connection: 'my-azure', key: 'archive/2026.csv' },
      },
      async run({ from, to }, context) {
        const refused = nameFault(context, 'from', from.connection) ?? nameFault(context, 'to', to.connection);
        if (refused !== undefined) return refused;
        const source = await open(context, from.connection);
        if (!source.ok) return source;
        const target = await open(context, to.connection);
        if (!target.ok) return target;
        const object = await source.value.get({ bucket: from.bucket, key: from.key });
        if (!object.ok) return object;
        if (object.value === undefined) return fail('upstream.invalid', 'The source gave no object.');
        const { contentType = object.value.contentType, metadata = object.value.metadata } = to;
        const name = { bucket: to.bucket, key: to.key };
        const written = await transfer(object.value, target.value, name, { contentType, metadata }, context);
        return written.ok ? ok({ ...written.value, sizeBytes: object.value.sizeBytes }) : written;
      },
    }),
  },
};

const open = (
  context: ActionContext,
  connection: string | undefined,
): Result<ObjectStore> | Promise<Result<ObjectStore>> =>
  connection === undefined ? openBucket(context) : context.openStore(connection);

/** A name that came with data would let a caller choose among the credentials of the owner. */
function nameFault(
  context: ActionContext,
  side: 'from' | 'to',
  connection: string | undefined,
): Result<never> | undefined {
  const written = isObject(context.written) ? context.written[side] : undefined;
  if (connection === undefined || (isObject(written) && written['connection'] === connection)) return undefined;
  return fail('step.params', `\`${side}.connection\` must be a fixed name, not an expression.`);
}
