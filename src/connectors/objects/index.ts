/** `objects.*`: work that takes more than one object store. */

import * as v from 'valibot';
import { fixedNames, openPlace, place } from './place.ts';
import { transform } from './transform.ts';
import { stored } from '../kit/object-schemas.ts';
import { defineAction, type Connector } from '../kit/types.ts';
import { fail, ok } from '../../core/errors.ts';
import { transfer } from '../../drivers/kit/objects.ts';

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
        const refused = fixedNames(context, { from, to });
        if (refused !== undefined) return refused;
        const source = await openPlace(context, from.connection);
        if (!source.ok) return source;
        const target = await openPlace(context, to.connection);
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
    transform,
  },
};
