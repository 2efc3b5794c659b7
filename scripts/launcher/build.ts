/**
 * The built Worker, made only when its sources have changed. Each build has a folder of its own, named by
 * what it was made of, so that a running gateway never sees half of the next one.
 */

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { runNode } from './child.ts';

export interface Build {
  readonly scriptPath: string;
  /** The Worker's options for miniflare, as JSON; see bindings.ts. */
  readonly bindingsPath: string;
}

const SOURCES = ['src', 'wrangler.toml', 'package-lock.json'];
const KEEP_MILLISECONDS = 24 * 3_600_000;

/**
 * @param root the repository
 * @param log gets one line when there is something to build
 * @throws LaunchProblem with the compiler's output
 */
export async function buildWorker(root: string, log: (line: string) => void): Promise<Build> {
  const folder = join(root, 'dist', 'gateway');
  const directory = join(folder, await hashOf(root));
  const build = { scriptPath: join(directory, 'index.js'), bindingsPath: join(directory, 'bindings.json') };
  if (existsSync(directory)) return build;
  log('Building the Worker');
  const unfinished = `${directory}.${process.pid}`;
  await mkdir(unfinished, { recursive: true });
  const problem = 'The Worker could not be built.';
  try {
    const wrangler = join(dirname(createRequire(import.meta.url).resolve('wrangler/package.json')), 'bin/wrangler.js');
    await Promise.all([
      runNode(root, problem, [wrangler, 'deploy', '--dry-run', '--outdir', unfinished]),
      runNode(root, problem, [
        join(import.meta.dirname, 'bindings.ts'),
        'wrangler.toml',
        join(unfinished, 'bindings.json'),
      ]),
    ]);
    // Another launcher may have been faster; its build is the same.
    await rename(unfinished, directory).catch((error: unknown) => {
      if (!existsSync(directory)) throw error;
    });
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
  await removeOld(folder);
  return build;
}

async function hashOf(root: string): Promise<string> {
  const hash = createHash('sha256');
  for (const source of SOURCES) {
    for (const path of await filesOf(join(root, source)))
      hash.update(`${path.slice(root.length)}\0`).update(await readFile(path));
  }
  return hash.digest('hex').slice(0, 16);
}

async function filesOf(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Builds of a day ago: no gateway that runs one can need its files any more, except to restart after a crash. */
async function removeOld(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const path = join(folder, name);
    const { mtimeMs } = await stat(path);
    if (Date.now() - mtimeMs > KEEP_MILLISECONDS) await rm(path, { recursive: true, force: true });
  }
}
