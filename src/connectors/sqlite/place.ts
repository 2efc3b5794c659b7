/**
 * Which database a step means: one of the owner, of a tenant that the author names, or of the tenant that the caller
 * acts for.
 *
 * Guarantee: as for connections, the tenant is a constant of the document or that of the authenticated identity,
 * never a value that a request, a step or an item gives.
 */

import * as v from 'valibot';
import { isCallersTenant, OWNER } from '../../core/chain/connection.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { LIMITS } from '../../core/limits.ts';
import type { SqliteDatabase } from '../../drivers/sqlite/database.ts';
import type { ActionContext } from '../kit/types.ts';

export const placeFields = {
  database: v.pipe(
    v.string(),
    v.regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/, 'Must be lower-case words joined by hyphens.'),
    v.maxLength(LIMITS.connectionNameCharacters),
    v.description('Its name. A database is there once something is written into it.'),
  ),
  tenant: v.optional(
    v.pipe(
      v.string(),
      v.minLength(1),
      v.description(
        '`{{ trigger.tenant }}` for that of the caller, or a fixed name. Left out: the owner of the gateway.',
      ),
    ),
  ),
};

export interface Place {
  readonly database: string;
  readonly tenant?: string | undefined;
}

export function openDatabase({ database: name, tenant }: Place, context: ActionContext): Result<SqliteDatabase> {
  const owner = tenantOf(tenant, context);
  if (!owner.ok) return owner;
  const database = context.sqlite?.({ tenant: owner.value, name });
  if (database !== undefined) return ok(database);
  return fail(
    'connection.not-found',
    'No Durable Object is bound as SQLITE. Add it to [durable_objects] of wrangler.toml and deploy.',
  );
}

function tenantOf(given: string | undefined, { written, tenant }: ActionContext): Result<string> {
  if (given === undefined) return ok(OWNER);
  const how = isObject(written) ? written['tenant'] : undefined;
  if (typeof how === 'string' && isCallersTenant(how)) {
    if (tenant !== undefined && tenant !== OWNER) return ok(tenant);
    return fail('connection.tenant', 'The database is that of the caller, who has no tenant.');
  }
  if (how === given && !given.includes('{{')) return ok(given);
  return fail('step.params', 'tenant: must be `{{ trigger.tenant }}` or a fixed name, no other expression.');
}
