import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { buildWorker } from '../../scripts/launcher/build.ts';

const ROOT = resolve(import.meta.dirname, '../..');

/** Cloudflare takes 3 MB; what is less starts sooner. */
const LARGEST_BYTES = 1_000_000;

test('the whole Worker has less than a megabyte, packed', async () => {
  const { scriptPath } = await buildWorker(ROOT, () => undefined);
  const { length } = gzipSync(readFileSync(scriptPath), { level: 9 });
  console.log(`the Worker has ${length} bytes, packed`);
  expect(length).toBeLessThan(LARGEST_BYTES);
});
