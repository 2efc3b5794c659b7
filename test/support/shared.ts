/** Outside material (vectors, specifications, payloads) that lies beside the repository, not in it. Node only. */

import { existsSync, readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gunzipSync } from 'node:zlib';

const folder = resolve(import.meta.dirname, '../../../shared');

/** Tests of such material are skipped on a machine without it, but never in CI. */
export const sharedMissing = !existsSync(folder);

if (sharedMissing) {
  const message = 'The folder ../shared with outside test material is missing';
  if (process.env['CI'] !== undefined) throw new Error(`${message}; CI must not pass without it.`);
  console.warn(`${message}; the tests that need it are skipped.`);
}

/** The text of a file, unpacked where its name ends in `.gz`; undefined on a machine without the folder. */
export function readShared(path: string): string | undefined {
  if (sharedMissing) return undefined;
  const bytes = readFileSync(resolve(folder, path));
  return (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
}
