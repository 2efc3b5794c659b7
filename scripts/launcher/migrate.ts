/**
 * Brings D1 up to the newest migration before the gateway opens its port. The table is wrangler's own, so
 * `wrangler d1 migrations` sees the same state.
 */

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Miniflare } from 'miniflare';
import { runNode } from './child.ts';

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
  // To look into D1 costs a start of workerd, so what is applied is noted beside it.
  const notePath = join(stateDirectory, 'migrations');
  const note = `${namesIn(migrationsDirectory).join('\n')}\n`;
  if (existsSync(notePath) && readFileSync(notePath, 'utf8') === note) return [];
  const parameters = [import.meta.filename, stateDirectory, databaseId, migrationsDirectory];
  const output = await runNode(stateDirectory, 'The database could not be brought up to date.', parameters);
  writeFileSync(notePath, note);
  return output.split('\n').filter((name) => name !== '');
}

function namesIn(directory: string): string[] {
  const files = existsSync(directory) ? readdirSync(directory) : [];
  return files.filter((name) => name.endsWith('.sql')).sort();
}

type Database = Awaited<ReturnType<Miniflare['getD1Database']>>;

async function apply(database: Database, directory: string): Promise<void> {
  await database.prepare(TABLE).run();
  const { results } = await database.prepare('SELECT name FROM d1_migrations').all<{ name: string }>();
  const done = new Set(results.map(({ name }) => name));
  for (const name of namesIn(directory).filter((file) => !done.has(file))) {
    const statements = readFileSync(join(directory, name), 'utf8').split('--> statement-breakpoint');
    try {
      await database.batch([
        ...statements.filter((sql) => sql.trim() !== '').map((sql) => database.prepare(sql)),
        database.prepare('INSERT INTO d1_migrations (name) VALUES (?)').bind(name),
      ]);
    } catch (error) {
      process.exitCode = 1;
      return console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
    console.log(name);
  }
}

/** `node migrate.ts <state> <database id> <migrations>`, as {@link migrate} calls it. */
async function main([stateDirectory = '', databaseId = '', directory = '']: readonly string[]): Promise<void> {
  const { convertV4MiniflareOptions, Miniflare } = await import('miniflare');
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
    await apply(await miniflare.getD1Database('DB'), directory);
  } finally {
    await miniflare.dispose();
  }
}

if (import.meta.main) await main(process.argv.slice(2));
