/** Schemas that several resources share. */

import * as v from 'valibot';

/** An instant in replies. */
export const instant = v.pipe(v.string(), v.isoTimestamp());

export const listOf = <Item extends v.GenericSchema>(item: Item) => v.strictObject({ items: v.array(item) });

/** Free-form members, e.g. the settings of a connection. */
export const fields = v.optional(v.record(v.string(), v.unknown()), {});

/** Unix milliseconds as ISO 8601. */
export const iso = (milliseconds: number): string => new Date(milliseconds).toISOString();

export const isoOrNull = (milliseconds: number | null | undefined): string | null =>
  milliseconds === null || milliseconds === undefined ? null : iso(milliseconds);
