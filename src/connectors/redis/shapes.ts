/** Replies that are lists of something, as JSON that chains can read. */

import * as v from 'valibot';
import { fault, FaultError } from '../../core/errors.ts';

/** Over HTTP a text of digits may come as a number. */
const cell = v.pipe(v.union([v.string(), v.number()]), v.transform(String));
const cells = v.array(cell);

/** @throws FaultError `upstream.invalid` */
function read<T>(schema: v.GenericSchema<unknown, T>, reply: unknown): T {
  const parsed = v.safeParse(schema, reply);
  if (parsed.success) return parsed.output;
  throw new FaultError(fault('upstream.invalid', 'Redis answered with something else than the command gives.'));
}

const paired = (flat: readonly string[]): [string, string][] =>
  Array.from({ length: Math.floor(flat.length / 2) }, (_, index) => [flat[2 * index] ?? '', flat[2 * index + 1] ?? '']);

/** Names and values, one after the other. */
export const pairsOf = (reply: unknown): [string, string][] => paired(read(cells, reply));

/** Values in the order of the names; null for what is missing. */
export function objectOf(names: readonly string[], reply: unknown): Record<string, string | null> {
  const values = read(v.array(v.nullable(cell)), reply);
  return Object.fromEntries(names.map((name, index) => [name, values[index] ?? null]));
}

export interface Entry {
  readonly id: string;
  /** Null for an entry that was deleted before its consumer had done with it. */
  readonly fields: Readonly<Record<string, string>> | null;
}

const entry = v.tuple([v.string(), v.nullish(cells)]);

/** Entries of a stream, as XRANGE and XCLAIM give them. */
export const entriesOf = (reply: unknown): Entry[] =>
  read(v.array(entry), reply).map(([id, flat]) => ({ id, fields: flat ? Object.fromEntries(paired(flat)) : null }));

const streams = v.nullable(v.array(v.tuple([v.string(), v.unknown()])));

/** Entries of the one stream that XREADGROUP was asked for. */
export const readOf = (reply: unknown): Entry[] => (read(streams, reply) ?? []).flatMap(([, list]) => entriesOf(list));

const claim = v.looseTuple([v.string(), v.array(v.nullable(entry))]);

/** Where XAUTOCLAIM goes on, and what it gives. */
export function claimOf(reply: unknown): { readonly next: string; readonly entries: Entry[] } {
  const [next, list] = read(claim, reply);
  return { next, entries: entriesOf(list.filter((each) => each !== null)) };
}
