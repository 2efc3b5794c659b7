/** Applies `migrations/*.sql` to D1 and notes each in the table that wrangler uses for the same purpose. */

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './build.ts';

interface Database {
  prepare(sql: string): {
    bind(...values: unknown[]): unknown;
    all<T>(): Promise<{ results: T[] }>;
    run(): Promise<unknown>;
  };
  batch(statements: unknown[]): Promise<unknown>;
}

const DRIZZLE_BREAK = '--> statement-breakpoint';

export async function migrate(database: Database): Promise<void> {
  await database
    .prepare(
      'create table if not exists d1_migrations (id integer primary key autoincrement, name text unique, ' +
        'applied_at timestamp default current_timestamp not null)',
    )
    .run();
  const { results } = await database.prepare('select name from d1_migrations').all<{ name: string }>();
  const applied = new Set(results.map((row) => row.name));
  const directory = join(ROOT, 'migrations');
  const files = readdirSync(directory).filter((name) => name.endsWith('.sql'));
  for (const name of files.sort().filter((file) => !applied.has(file))) {
    const statements = readFileSync(join(directory, name), 'utf8').split(DRIZZLE_BREAK);
    await database.batch([
      ...statements.filter((sql) => sql.trim() !== '').map((sql) => database.prepare(sql)),
      database.prepare('insert into d1_migrations (name) values (?)').bind(name),
    ]);
  }
}
