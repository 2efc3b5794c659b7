/**
 * Writes `docs/openapi.json` from the endpoints of the management API; with `--check` it only says
 * whether the file is up to date, by its exit code.
 */

import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { format } from 'prettier';
import { apiDocument } from '../src/control/index.ts';

const file = join(import.meta.dirname, '../docs/openapi.json');
const made = await format(JSON.stringify(apiDocument()), { parser: 'json', printWidth: 120 });

if (!process.argv.includes('--check')) await writeFile(file, made);
else if ((await readFile(file, 'utf8').catch(() => '')) !== made) {
  console.error('docs/openapi.json is not what the API is now; run: npx node scripts/generate-openapi.ts');
  process.exitCode = 1;
}
