/** Where an object is, for actions that take more than one store. */

import * as v from 'valibot';
import { openBucket } from '../kit/bucket.ts';
import { name, text } from '../kit/object-schemas.ts';
import type { ActionContext } from '../kit/types.ts';
import { fail, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import type { ObjectStore } from '../../drivers/kit/objects.ts';

export const place = {
  connection: v.optional(
    v.pipe(
      text,
      v.description('Of an object store; a fixed name, no expression. Left out: the R2 bucket of the Worker.'),
    ),
  ),
  ...name,
};

export const openPlace = (
  context: ActionContext,
  connection: string | undefined,
): Result<ObjectStore> | Promise<Result<ObjectStore>> =>
  connection === undefined ? openBucket(context) : context.openStore(connection);

interface Sides {
  readonly from: { readonly connection?: string | undefined };
  readonly to: { readonly connection?: string | undefined };
}

/** The fault of a name that came with data: it would let a caller choose among the credentials of the owner. */
export function fixedNames({ written }: ActionContext, sides: Sides): Result<never> | undefined {
  for (const side of ['from', 'to'] as const) {
    const { connection } = sides[side];
    const given = isObject(written) ? written[side] : undefined;
    if (connection === undefined || (isObject(given) && given['connection'] === connection)) continue;
    return fail('step.params', `\`${side}.connection\` must be a fixed name, not an expression.`);
  }
  return undefined;
}
