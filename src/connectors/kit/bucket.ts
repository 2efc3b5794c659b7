/** The R2 bucket of the Worker as an object store. */

import type { ActionContext } from './types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import type { ObjectStore } from '../../drivers/kit/objects.ts';
import { createR2Store } from '../../drivers/r2/r2.ts';

export function openBucket(context: Pick<ActionContext, 'bucket' | 'signal'>): Result<ObjectStore> {
  if (context.bucket !== undefined) return ok(createR2Store(context.bucket, context));
  return fail(
    'connection.not-found',
    'No R2 bucket is bound as OBJECTS. Add [[r2_buckets]] with binding = "OBJECTS" to wrangler.toml and deploy.',
  );
}
