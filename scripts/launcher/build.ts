/** Builds the Worker with wrangler, when its sources are newer than the last build. */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '../..');

/** Returns the path of the built module. @throws Error with wrangler's own words when the build fails */
export function buildWorker(configPath: string, sources: readonly string[], outDirectory: string): string {
  const script = join(outDirectory, 'index.js');
  const stamp = join(outDirectory, 'sources.sha256');
  const hash = hashOf(sources);
  if (existsSync(script) && existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return script;
  mkdirSync(outDirectory, { recursive: true });
  const wrangler = join(ROOT, 'node_modules/wrangler/bin/wrangler.js');
  const built = spawnSync(
    process.execPath,
    [wrangler, 'deploy', '--dry-run', '--config', configPath, '--outdir', outDirectory],
    {
      cwd: ROOT,
      encoding: 'utf8',
      env: { ...process.env, CLOUDFLARE_CF_FETCH_ENABLED: 'false', WRANGLER_SEND_METRICS: 'false', CI: '1' },
    },
  );
  if (built.status !== 0) throw new Error(`The build failed:\n${built.stdout}${built.stderr}`);
  writeFileSync(stamp, hash);
  return script;
}

/** The gateway itself. */
export const buildGateway = (): string =>
  buildWorker(
    join(ROOT, 'wrangler.toml'),
    [join(ROOT, 'src'), join(ROOT, 'wrangler.toml'), join(ROOT, 'package-lock.json')],
    join(ROOT, 'dist/worker'),
  );

function hashOf(sources: readonly string[]): string {
  const hash = createHash('sha256');
  for (const file of sources.flatMap(filesOf).sort()) hash.update(file).update('\0').update(readFileSync(file));
  return hash.digest('hex');
}

function filesOf(path: string): string[] {
  if (path.endsWith('.toml') || path.endsWith('.json') || path.endsWith('.ts')) return [path];
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
