/** Short forms for the tests of the store. */

import { env } from 'cloudflare:workers';
import type { RunSummary } from '../../../src/core/engine/record.ts';
import { publishChain, type Publication } from '../../../src/store/chains.ts';

export const db = env.DB;

/** A publication whose document is told apart by `mark`. */
export const publication = (name: string, mark: string, more?: Partial<Publication>): Publication => ({
  name,
  document: { name, mark },
  hash: `hash-of-${mark}`,
  routes: [],
  actor: 'tester',
  now: 1_000,
  ...more,
});

export const publish = (name: string, mark: string, more?: Partial<Publication>) =>
  publishChain(db, publication(name, mark, more));

export const runSummary = (id: string, more?: Partial<RunSummary>): RunSummary => ({
  id,
  chain: 'orders',
  version: 1,
  trigger: 'api',
  triggerType: 'http',
  mode: 'durable',
  status: 'running',
  createdAt: 1_000,
  endedAt: undefined,
  error: undefined,
  ...more,
});

/** Every row of every table, as one text. */
export async function dump(): Promise<string> {
  const tables = await db
    .prepare("select name from sqlite_master where type = 'table' and name not like '\\_%' escape '\\'")
    .all<{ name: string }>();
  const names = tables.results.map((row) => row.name).filter((name) => !name.startsWith('sqlite_'));
  const rows = await Promise.all(names.map((name) => db.prepare(`select * from "${name}"`).all()));
  return JSON.stringify(rows.map((result) => result.results));
}

export const count = async (table: string): Promise<number> =>
  (await db.prepare(`select count(*) as count from ${table}`).first<number>('count')) ?? 0;
