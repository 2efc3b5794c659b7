/** What is shown of a connection. */

import * as v from 'valibot';
import { instant, iso, isoOrNull } from '../schemas.ts';
import { connectionPath, OWNER } from '../../core/chain/connection.ts';
import { fail } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { HealthRow } from '../../store/connection-health.ts';
import type { ConnectionRow, SwitchedOff } from '../../store/configuration.ts';

/** An end customer, as keys and tokens name them. */
export const tenantName = v.pipe(v.string(), v.minLength(1), v.maxLength(LIMITS.descriptionCharacters));

export const ofTenant = v.strictObject({
  tenant: v.optional(
    v.pipe(tenantName, v.description('The end customer whose connection it is; by default the owner’s own.')),
  ),
});

export const disabledShown = v.strictObject({ at: instant, by: v.string(), reason: v.string() });

export const showDisabled = ({ at, by, reason }: SwitchedOff) => ({ at: iso(at), by, reason });

export const healthShown = v.strictObject({
  status: v.picklist(['well', 'failing']),
  at: instant,
  since: v.pipe(instant, v.description('Of the first probe that found it so.')),
  milliseconds: v.number(),
  error: v.nullable(v.strictObject({ code: v.string(), message: v.string() })),
});

export const showHealth = ({ at, since, milliseconds, fault }: HealthRow) => ({
  status: fault === null ? ('well' as const) : ('failing' as const),
  at: iso(at),
  since: iso(since),
  milliseconds,
  error: fault,
});

const uses = v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIMITS.quotaUses));

/** What the provider allows. */
export const quota = v.pipe(
  v.strictObject({
    perMinute: v.optional(uses),
    perDay: v.optional(v.pipe(uses, v.description('From midnight to midnight, UTC.'))),
  }),
  v.check(({ perMinute, perDay }) => perMinute !== undefined || perDay !== undefined, 'Give `perMinute` or `perDay`.'),
);

export const shown = v.strictObject({
  name: v.string(),
  tenant: v.nullable(v.string()),
  connector: v.string(),
  settings: v.record(v.string(), v.unknown()),
  secrets: v.pipe(v.array(v.string()), v.description('Names of the secrets that are set.')),
  missing: v.pipe(v.array(v.string()), v.description('Names of those that an import could not bring.')),
  createdAt: instant,
  updatedAt: instant,
  expiresAt: v.nullable(instant),
  disabled: v.nullable(disabledShown),
  probeMinutes: v.nullable(v.number()),
  quota: v.nullable(quota),
  health: v.pipe(v.nullable(healthShown), v.description('Of the last probe.')),
});

export const show = (row: ConnectionRow, health?: HealthRow) => ({
  name: row.name,
  tenant: row.tenant === OWNER ? null : row.tenant,
  connector: row.connector,
  settings: row.settings,
  secrets: row.sealed === '' ? [] : [...row.secretNames],
  missing: row.sealed === '' ? [...row.secretNames] : [],
  createdAt: iso(row.createdAt),
  updatedAt: iso(row.updatedAt),
  expiresAt: isoOrNull(row.expiresAt),
  disabled: row.disabled && showDisabled(row.disabled),
  probeMinutes: row.probeMinutes,
  quota: row.quota,
  health: health === undefined ? null : showHealth(health),
});

export const notFound = (name: string, tenant: string = OWNER) =>
  fail('connection.not-found', `There is no connection named ${connectionPath({ tenant, name })}.`);
