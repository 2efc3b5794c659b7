/** `sqlite.*`: databases of the owner's that need no server, an object each; docs/sqlite.md tells more. */

import type { SQL } from 'drizzle-orm';
import * as v from 'valibot';
import { openDatabase, placeFields, type Place } from './place.ts';
import { ok, type Result } from '../../core/errors.ts';
import type { Access, SqliteResult } from '../../drivers/sqlite/database.ts';
import type { Statement } from '../../drivers/kit/sql-driver.ts';
import { bindable, insert, rendered, upsert } from '../../drivers/sqlite/statements.ts';
import { changeActions, listOf, selectAction, statementFields, tableField, transfer } from '../kit/sql.ts';
import { defineAction, type ActionContext, type Connector } from '../kit/types.ts';

const place = { fields: placeFields, example: { database: 'shop' } };
const statement = v.strictObject(
  statementFields(
    'For ?1, ?2, … or ?. Lists and objects are bound as JSON text. Give integers beyond 2^53 as text, bytes to `unhex(?)`.',
  ),
);

async function run(
  given: Place,
  context: ActionContext,
  statements: readonly Statement[],
  access: Access,
): Promise<Result<readonly SqliteResult[]>> {
  const database = openDatabase(given, context);
  if (!database.ok) return database;
  const bound = statements.map(({ sql, params }) => ({ sql, params: params.map(bindable) }));
  return database.value.run(bound, access);
}

const rowsOf = ([first]: readonly SqliteResult[]) => ({ rows: first?.rows ?? [] });

/** @param access what a `select` needs less than the others */
const dialect = (access: Access) => ({
  place,
  table: tableField('Its name.'),
  async run(built: Result<SQL>, context: ActionContext, given: Readonly<Record<string, unknown>>) {
    if (!built.ok) return built;
    const at = v.parse(v.object(placeFields), given);
    const results = await run(at, context, [await rendered(built.value)], access);
    if (!results.ok) return results;
    return ok(access === 'read' ? rowsOf(results.value) : results.value[0]);
  },
});

const TABLES: Statement = {
  sql: `select l.name, l.type, json_group_array(json_object('name', c.name, 'type', c.type, 'notNull', c."notnull", 'primaryKey', c.pk)) as columns
    from pragma_table_list l join pragma_table_info(l.name) c
    where l.schema = 'main' and l.type <> 'shadow' and l.name not like 'sqlite\\_%' escape '\\'
    group by l.name order by l.name`,
  params: [],
};

const shownTable = ({ columns, ...table }: SqliteResult['rows'][number]) => ({
  ...table,
  columns: v.parse(tableColumns, JSON.parse(String(columns))),
});

const flag = v.pipe(
  v.number(),
  v.transform((value) => value > 0),
);
const tableColumns = v.array(v.object({ name: v.string(), type: v.string(), notNull: flag, primaryKey: flag }));

export const sqlite: Connector = {
  name: 'sqlite',
  title: 'SQLite',
  actions: {
    query: defineAction({
      title: 'Read by a statement',
      effect: 'idempotent',
      params: v.strictObject({ ...placeFields, ...statement.entries }),
      example: { ...place.example, sql: 'select * from orders where id = ?1', params: [42] },
      async run(given, context) {
        const results = await run(given, context, [given], 'read');
        return results.ok ? ok(rowsOf(results.value)) : results;
      },
    }),
    execute: defineAction({
      title: 'Run a statement',
      effect: 'external',
      params: v.strictObject({ ...placeFields, ...statement.entries }),
      example: {
        ...place.example,
        sql: 'create table if not exists orders (id integer primary key, customer text, total real)',
      },
      async run(given, context) {
        const results = await run(given, context, [given], 'write');
        return results.ok ? ok(results.value[0]) : results;
      },
    }),
    batch: defineAction({
      title: 'Run statements in one transaction',
      effect: 'external',
      params: v.strictObject({ ...placeFields, statements: listOf(statement) }),
      example: { ...place.example, statements: transfer('?1', '?2') },
      async run({ statements, ...at }, context) {
        const results = await run(at, context, statements, 'write');
        return results.ok ? ok({ results: results.value }) : results;
      },
    }),
    tables: defineAction({
      title: 'List the tables of a database',
      effect: 'idempotent',
      params: v.strictObject(placeFields),
      example: place.example,
      async run(given, context) {
        const results = await run(given, context, [TABLES], 'read');
        return results.ok ? ok({ tables: rowsOf(results.value).rows.map(shownTable) }) : results;
      },
    }),
    drop: defineAction({
      title: 'Delete a database with all that is in it',
      effect: 'idempotent',
      params: v.strictObject(placeFields),
      example: place.example,
      async run(given, context) {
        const database = openDatabase(given, context);
        const cleared = database.ok ? await database.value.clear() : database;
        return cleared.ok ? ok({}) : cleared;
      },
    }),
    select: selectAction(dialect('read'), 'SQLite'),
    ...changeActions(dialect('write'), { before: '2020-01-01', insert, upsert }),
  },
};
