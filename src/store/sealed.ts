/** Everything that is sealed, wherever it stands, so that a rotation of the master key finds all of it. */

import { sql } from 'drizzle-orm';
import { connect } from './database.ts';
import { connectionContext, endpointContext, signingContext, sourceContext, type SealContext } from '../core/seal.ts';

interface SealedPlace {
  readonly table: string;
  /** The primary key. */
  readonly key: readonly string[];
  /** What is selected as `connector`, where the place of the record depends on it. */
  readonly connector: string;
  /** The sealed text, as an expression of SQL. */
  readonly value: string;
  /** What sets it to `?`. */
  readonly assignment: string;
  context(key: readonly string[], connector: string): SealContext;
}

/** In the order in which a rotation takes them; its cursor counts by it. New ones go to the end. */
const PLACES: readonly SealedPlace[] = [
  {
    table: 'connections',
    key: ['tenant', 'name'],
    connector: 'connector',
    value: 'sealed',
    assignment: 'sealed = ?',
    context: ([tenant = '', name = ''], connector) => connectionContext(tenant, connector, name),
  },
  {
    table: 'sources',
    key: ['name'],
    connector: 'scheme',
    value: 'sealed',
    assignment: 'sealed = ?',
    context: ([name = ''], scheme) => sourceContext(scheme, name),
  },
  {
    table: 'webhook_endpoints',
    key: ['application', 'id'],
    connector: "''",
    value: 'sealed',
    assignment: 'sealed = ?',
    context: ([application = '', id = '']) => endpointContext(application, id),
  },
  ...['sealed', 'previous'].map((member): SealedPlace => ({
    table: 'api_keys',
    key: ['id'],
    connector: "''",
    value: `signing ->> '$.${member}'`,
    assignment: `signing = json_set(signing, '$.${member}', ?)`,
    context: ([id = '']) => signingContext(id),
  })),
];

export const SEALED_PLACES = PLACES.length;

export interface SealedRecord {
  readonly key: readonly string[];
  readonly context: SealContext;
  readonly sealed: string;
}

/** The version of the master key, between the first two dots; a connection without secrets has none. */
const versionIn = (value: string): string => `substr(${value}, 3, instr(substr(${value}, 3), '.') - 1)`;

/** How many records are wrapped by which version of the master key. */
export async function countVersions(db: D1Database): Promise<ReadonlyMap<string, number>> {
  const all = PLACES.map(
    ({ table, value }) =>
      `select ${versionIn(value)} as version from ${table} where ${value} is not null and ${value} <> ''`,
  ).join(' union all ');
  const rows = await connect(db).all<{ version: string; count: number }>(
    sql.raw(`select version, count(*) as count from (${all}) group by version`),
  );
  return new Map(rows.map(({ version, count }) => [version, count]));
}

/** Records of one place under another version, by key, from behind `after`. */
export async function listStale(
  db: D1Database,
  place: number,
  version: string,
  after: readonly string[],
  limit: number,
): Promise<SealedRecord[]> {
  const { table, key, connector, value, context } = PLACES[place] ?? missing(place);
  const columns = key.join(', ');
  const behind = after.length === 0 ? '' : `and (${columns}) > (${key.map(() => '?').join(', ')})`;
  const { results } = await db
    .prepare(
      `select ${columns}, ${connector} as connector, ${value} as sealed from ${table}
       where ${value} is not null and ${value} <> '' and ${versionIn(value)} <> ? ${behind}
       order by ${columns} limit ?`,
    )
    .bind(version, ...after, limit)
    .all<Record<string, string>>();
  return results.map((row) => {
    const values = key.map((column) => row[column] ?? '');
    return { key: values, context: context(values, row['connector'] ?? ''), sealed: row['sealed'] ?? '' };
  });
}

/** Puts `sealed` in the place of what was read, unless somebody has written another meanwhile: that one stays. */
export function replaceSealed(
  db: D1Database,
  place: number,
  { key: values, sealed: before }: SealedRecord,
  sealed: string,
): D1PreparedStatement {
  const { table, key, value, assignment } = PLACES[place] ?? missing(place);
  const isIt = key.map((column) => `${column} = ?`).join(' and ');
  return db.prepare(`update ${table} set ${assignment} where ${isIt} and ${value} = ?`).bind(sealed, ...values, before);
}

function missing(place: number): never {
  throw new Error(`There is no sealed place ${place}.`);
}
