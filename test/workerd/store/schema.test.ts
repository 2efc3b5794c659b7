/// <reference types="vite/types/importMeta.d.ts" />

import { getTableColumns, getTableName, is, Table } from 'drizzle-orm';
import { expect, test } from 'vitest';
import { db } from './fixtures.ts';
import * as schema from '../../../src/store/schema.ts';

const documents = import.meta.glob<string>('../../../docs/storage.md', {
  query: '?raw',
  import: 'default',
  eager: true,
});
const tables = Object.values(schema).filter((value) => is(value, Table));

test.each(tables.map((table) => [getTableName(table), table] as const))(
  'the migrations make the table %s as the schema describes it, and the documentation lists it',
  async (name, table) => {
    const { results } = await db.prepare(`select name, "notnull" from pragma_table_info('${name}')`).all();
    const described = Object.values(getTableColumns(table)).map((column) => ({
      name: column.name,
      notnull: column.notNull ? 1 : 0,
    }));
    expect(results).toEqual(described);
    expect(Object.values(documents)[0]).toContain(`\`${name}\``);
  },
);
