/** What the address of a request names. What belongs to another application is not there. */

import * as v from 'valibot';
import type { ControlPorts } from '../ports.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { loadApplication, type ApplicationRow } from '../../store/outbound.ts';
import { loadEndpoint, type EndpointRow } from '../../store/outbound-endpoints.ts';

/** @param id or uid */
export async function findApplication({ db }: ControlPorts, id: string): Promise<Result<ApplicationRow>> {
  const row = await loadApplication(db, id);
  return row === undefined ? fail('application.not-found', `There is no application ${id}.`) : ok(row);
}

export async function findEndpoint(ports: ControlPorts, application: string, id: string): Promise<Result<EndpointRow>> {
  const found = await findApplication(ports, application);
  if (!found.ok) return found;
  const row = await loadEndpoint(ports.db, found.value.id, id);
  return row === undefined ? fail('endpoint.not-found', `The application has no endpoint ${id}.`) : ok(row);
}

/** Tells the objects, which hold endpoints in memory. */
export async function tellChanged({ outbound }: ControlPorts, application: string, endpoint: string): Promise<void> {
  await outbound.messages(application).changed();
  await outbound.endpoint(endpoint).changed();
}

/** Of a list whose items are numbered, the newest first. */
export const pageQuery = {
  limit: v.optional(
    v.pipe(v.string(), v.regex(/^[1-9]\d{0,3}$/), v.transform(Number), v.maxValue(LIMITS.runsPerPage)),
    '50',
  ),
  after: v.optional(
    v.pipe(v.string(), v.regex(/^\d{1,15}$/), v.transform(Number), v.description('`next` of the previous page.')),
    String(Number.MAX_SAFE_INTEGER - 1).slice(0, 15),
  ),
};

/** A page, of which one more item was asked for than it shows. */
export function pageOf<Item extends { readonly sequence: number }, Shown>(
  items: readonly Item[],
  limit: number,
  show: (item: Item) => Shown,
): { readonly items: readonly Shown[]; readonly next: string | null } {
  const shown = items.slice(0, limit);
  const last = shown.at(-1);
  return { items: shown.map(show), next: items.length > limit && last !== undefined ? String(last.sequence) : null };
}

export const pageSchema = <Item extends v.GenericSchema>(item: Item) =>
  v.strictObject({ items: v.array(item), next: v.nullable(v.string()) });
