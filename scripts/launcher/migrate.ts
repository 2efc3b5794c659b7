/**
 * Brings D1 up to the newest migration before the gateway opens its port. The table is wrangler's own, so
 * `wrangler d1 migrations` sees the same state.
 */

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { convertV4MiniflareOptions, Miniflare } from 'miniflare';
import { LaunchProblem } from './problem.ts';

const TABLE = `CREATE TABLE IF NOT EXISTS d1_migrations(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT UNIQUE,
  applied_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP NOT NULL
)`;

/**
 * Each file is applied as one, together with the note that it was.
 *
 * @returns the names of the files that were applied
 * @throws LaunchProblem with the name of the file that could not be
 */
export async function migrate(
  stateDirectory: string,
  databaseId: string,
  migrationsDirectory: string,
): Promise<readonly string[]> {
  const files = existsSync(migrationsDirectory) ? readdirSync(migrationsDirectory) : [];
  const names = files.filter((name) => name.endsWith('.sql')).sort();
  // To look into D1 costs a start of workerd, so what is applied is noted beside it.
  const notePath = join(stateDirectory, 'migrations');
  const note = `${names.join('\n')}\n`;
  if (existsSync(notePath) && readFileSync(notePath, 'utf8') === note) return [];
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      cf: false,
      telemetry: { enabled: false },
      resourcePersistencePath: stateDirectory,
      workers: [
        {
          name: 'migrate',
          modules: true,
          script: 'export default { fetch: () => new Response() }',
          compatibilityDate: '2026-10-23',
          d1Databases: { DB: databaseId },
        },
      ],
    }),
  );
  try {
    const applied = await apply(await miniflare.getD1Database('DB'), names, migrationsDirectory);
    writeFileSync(notePath, note);
    return applied;
  } finally {
    await miniflare.dispose();
  }
}

type Database = Awaited<ReturnType<Miniflare['getD1Database']>>;

async function apply(database: Database, names: readonly string[], directory: string): Promise<string[]> {
  await database.prepare(TABLE).run();
  const { results } = await database.prepare('SELECT name FROM d1_migrations').all<{ name: string }>();
  const done = new Set(results.map(({ name }) => name));
  const pending = names.filter((name) => !done.has(name));
  for (const name of pending) {
    const statements = readFileSync(join(directory, name), 'utf8').split('--> statement-breakpoint');
    try {
      await database.batch([
        ...statements.filter((sql) => sql.trim() !== '').map((sql) => database.prepare(sql)),
        database.prepare('INSERT INTO d1_migrations (name) VALUES (?)').bind(name),
      ]);
    } catch (error) {
      throw new LaunchProblem(
        `The migration ${name} failed: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
  return pending;
}
