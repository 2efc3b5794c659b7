/**
 * Statements and conditions from JSON, for any SQL dialect of drizzle (`PgDialect`, `MySqlDialect`).
 *
 * Guarantee: a name of the input becomes a quoted identifier and a value a parameter; no text of the input
 * becomes SQL. A statement that changes rows names which, or says `all`.
 */

import { sql, type SQL } from 'drizzle-orm';
import * as v from 'valibot';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

/** As drizzle's dialects have it. */
export interface Dialect {
  sqlToQuery(query: SQL): { readonly sql: string; readonly params: readonly unknown[] };
}

type Json = Readonly<Record<string, unknown>>;

/** `table` or `schema.table`. */
interface Target {
  readonly table: string;
  /** Columns of the rows to give back, for dialects that can. */
  readonly returning?: readonly string[] | undefined;
}

interface Filter {
  /** See {@link conditionOf}. */
  readonly where?: Json | undefined;
}

interface Selection extends Filter {
  readonly table: string;
  /** Default: all. */
  readonly columns?: readonly string[] | undefined;
  readonly orderBy?:
    readonly { readonly column: string; readonly direction?: 'asc' | 'desc' | undefined }[] | undefined;
  readonly limit?: number | undefined;
  readonly offset?: number | undefined;
}

interface Change extends Target, Filter {
  readonly all?: boolean | undefined;
}

/** Fault `step.params`. */
export function select({ table, columns, where, orderBy = [], limit, offset }: Selection): Result<SQL> {
  return build(() => {
    const order = orderBy.map(({ column, direction = 'asc' }) => sql`${name(column)} ${sql.raw(direction)}`);
    return joined([
      sql`select ${columns === undefined ? sql.raw('*') : names(columns)} from ${tableName(table)}`,
      where && sql`where ${condition(where)}`,
      order.length > 0 && sql`order by ${list(order)}`,
      limit !== undefined && sql`limit ${limit}`,
      offset !== undefined && sql`offset ${offset}`,
    ]);
  });
}

/**
 * One statement for all rows; a column that a row lacks gets its default.
 * @param conflict what follows the rows, e.g. `on conflict …`
 */
export function insert(
  { table, rows, returning }: Target & { readonly rows: readonly Json[] },
  conflict?: SQL,
): Result<SQL> {
  return build(() => {
    const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
    if (columns.length === 0) throw new Refusal('rows: name at least one column.');
    const values = rows.map((row) => {
      const cells = columns.map((column) =>
        Object.hasOwn(row, column) ? sql`${sql.param(row[column])}` : sql`default`,
      );
      return sql`(${list(cells)})`;
    });
    return joined([
      sql`insert into ${tableName(table)} (${names(columns)}) values ${list(values)}`,
      conflict,
      returningOf(returning),
    ]);
  });
}

/** Fault `step.params`, also where neither `where` nor `all` is given. */
export function update(change: Change & { readonly set: Json }): Result<SQL> {
  return build(() => {
    const assignments = Object.entries(change.set).map(([column, value]) => sql`${name(column)} = ${sql.param(value)}`);
    if (assignments.length === 0) throw new Refusal('set: name at least one column.');
    return joined([
      sql`update ${tableName(change.table)} set ${list(assignments)}`,
      filterOf(change),
      returningOf(change.returning),
    ]);
  });
}

/** Fault `step.params`, also where neither `where` nor `all` is given. */
export function remove(change: Change): Result<SQL> {
  return build(() =>
    joined([sql`delete from ${tableName(change.table)}`, filterOf(change), returningOf(change.returning)]),
  );
}

/**
 * `{ "column": "total", "gte": 10, "lt": 20 }`, also `eq ne lte gt in like isNull`, several of which must all hold;
 * combined by `{ "and": […] }`, `{ "or": […] }`, `{ "not": {…} }`. Fault `step.params` with the place.
 */
export const conditionOf = (where: Json): Result<SQL> => build(() => condition(where));

/** Fault `step.params` for what can name no table. */
export const quotedTable = (table: string): Result<SQL> => build(() => tableName(table));

/** Fault `step.params` for what can name no column. */
export const quotedColumns = (columns: readonly string[]): Result<SQL> => build(() => names(columns));

/** Leaves `build` at once; the recursion stays free of results. */
class Refusal extends Error {}

function build(make: () => SQL): Result<SQL> {
  try {
    return ok(make());
  } catch (thrown) {
    if (thrown instanceof Refusal) return fail('step.params', thrown.message);
    throw thrown;
  }
}

function filterOf({ where, all }: Change): SQL | undefined {
  if (where !== undefined) return sql`where ${condition(where)}`;
  if (all === true) return undefined;
  throw new Refusal('where: say which rows, or give `all: true` to change every row of the table.');
}

const returningOf = (columns: readonly string[] | undefined): SQL | undefined =>
  columns && sql`returning ${columns.length === 1 && columns[0] === '*' ? sql.raw('*') : names(columns)}`;

const list = (parts: SQL[]): SQL => sql.join(parts, sql.raw(', '));
const joined = (parts: readonly (SQL | undefined | false)[]): SQL =>
  sql.join(
    parts.filter((part) => part !== undefined && part !== false),
    sql.raw(' '),
  );

const names = (columns: readonly string[]): SQL => list(columns.map(name));

/** Postgres cuts longer names off without an error, so that another column might be meant; MySQL takes 64. */
const NAME_BYTES = 63;

function name(text: string): SQL {
  // eslint-disable-next-line no-control-regex -- they are what is looked for
  if (text === '' || /[\u0000-\u001f\u007f]/.test(text) || new TextEncoder().encode(text).length > NAME_BYTES) {
    throw new Refusal(
      `${JSON.stringify(text)} can be no name: give 1 to ${NAME_BYTES} bytes without control characters.`,
    );
  }
  return sql`${sql.identifier(text)}`;
}

function tableName(text: string): SQL {
  const parts = text.split('.');
  if (parts.length > 2) throw new Refusal(`table: ${JSON.stringify(text)} must be \`table\` or \`schema.table\`.`);
  return sql.join(parts.map(name), sql.raw('.'));
}

const scalar = v.union(
  [v.string(), v.number(), v.boolean()],
  'must be a text, a number, true or false; for null use `isNull`.',
);

type Operator = (column: SQL, value: v.InferOutput<typeof scalar>) => SQL;

const COMPARISONS: Readonly<Record<string, Operator>> = {
  eq: (column, value) => sql`${column} = ${value}`,
  ne: (column, value) => sql`${column} <> ${value}`,
  lt: (column, value) => sql`${column} < ${value}`,
  lte: (column, value) => sql`${column} <= ${value}`,
  gt: (column, value) => sql`${column} > ${value}`,
  gte: (column, value) => sql`${column} >= ${value}`,
  like: (column, value) => sql`${column} like ${value}`,
};

const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function condition(where: unknown, path = 'where', depth = 1): SQL {
  if (depth > LIMITS.conditionDepth)
    throw new Refusal(`${path}: conditions nest at most ${LIMITS.conditionDepth} deep.`);
  const [kind = '', ...others] = isObject(where) ? Object.keys(where) : [];
  if (!isObject(where) || kind === '')
    throw new Refusal(`${path}: must be a condition, e.g. {"column": "id", "eq": 1}.`);
  if (Object.hasOwn(where, 'column')) return comparison(where, path);
  const inner = where[kind];
  if (others.length > 0 || !['and', 'or', 'not'].includes(kind)) {
    throw new Refusal(`${path}: give either \`column\` with comparisons, or one of \`and\`, \`or\`, \`not\`.`);
  }
  if (kind === 'not') return sql`not (${condition(inner, `${path}.not`, depth + 1)})`;
  if (!Array.isArray(inner) || inner.length === 0) {
    throw new Refusal(`${path}.${kind}: must be a list of conditions that is not empty.`);
  }
  const parts = inner.map((part: unknown, index) => condition(part, `${path}.${kind}[${index}]`, depth + 1));
  return sql`(${sql.join(parts, sql.raw(` ${kind === 'and' ? 'and' : 'or'} `))})`;
}

function comparison({ column, ...comparisons }: Json, path: string): SQL {
  if (typeof column !== 'string') throw new Refusal(`${path}.column: must be the name of a column.`);
  const quoted = name(column);
  const parts = Object.entries(comparisons).map(([operator, value]) => {
    const at = `${path}.${operator}`;
    const compare = Object.hasOwn(COMPARISONS, operator) ? COMPARISONS[operator] : undefined;
    if (compare !== undefined) return compare(quoted, parsed(scalar, value, at));
    if (operator === 'in') return isIn(quoted, parsed(v.array(scalar, 'must be a list of values.'), value, at));
    if (operator === 'isNull') {
      const isNull = parsed(v.boolean('must be true or false.'), value, at);
      return isNull ? sql`${quoted} is null` : sql`${quoted} is not null`;
    }
    throw new Refusal(`${at}: there is no such comparison; use ${Object.keys(COMPARISONS).join(', ')}, in or isNull.`);
  });
  if (parts.length === 0)
    throw new Refusal(`${path}: compare the column with something, e.g. {"column": "id", "eq": 1}.`);
  return parts.length === 1 ? sql`${parts[0]}` : sql`(${sql.join(parts, sql.raw(' and '))})`;
}

/** `in ()` is no SQL; nothing is in an empty list. */
const isIn = (column: SQL, values: v.InferOutput<typeof scalar>[]): SQL =>
  values.length === 0 ? sql.raw('false') : sql`${column} in (${list(values.map((value) => sql`${value}`))})`;

function parsed<T>(schema: v.GenericSchema<unknown, T>, value: unknown, path: string): T {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  throw new Refusal(`${path}: ${result.issues[0].message}`);
}
