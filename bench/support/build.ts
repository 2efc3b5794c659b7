/** Builds a Worker of a bench as the launcher builds the gateway, only without keeping it. */

import { mkdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join, resolve } from 'node:path';
import { unstable_readConfig as readConfig } from 'wrangler';
import type { Build } from '../../scripts/launcher/build.ts';
import { runNode } from '../../scripts/launcher/child.ts';

export const ROOT = resolve(import.meta.dirname, '../..');

/**
 * @param name of its folder below `dist`
 * @param configPath its wrangler.toml
 * @param entry the module to build, where it is not the one that wrangler.toml names
 * @throws LaunchProblem with the compiler's output
 */
export async function buildBench(name: string, configPath: string, entry = ''): Promise<Build> {
  const directory = join(ROOT, 'dist', name);
  mkdirSync(directory, { recursive: true });
  const bindingsPath = join(directory, 'bindings.json');
  const wrangler = join(dirname(createRequire(import.meta.url).resolve('wrangler/package.json')), 'bin/wrangler.js');
  // Parts of the gateway are built as they are there.
  const { alias = {} } = readConfig({ config: join(ROOT, 'wrangler.toml') });
  const aliases = Object.entries(alias).flatMap(([from, to]) => ['--alias', `${from}:${to}`]);
  const deploy = ['deploy', ...(entry === '' ? [] : [entry]), '--dry-run', '--config', configPath, ...aliases];
  const problem = `The Worker ${name} could not be built.`;
  await Promise.all([
    runNode(ROOT, problem, [wrangler, ...deploy, '--outdir', directory]),
    runNode(ROOT, problem, [join(ROOT, 'scripts/launcher/bindings.ts'), configPath, bindingsPath]),
  ]);
  return { scriptPath: join(directory, `${basename(entry, '.ts') || 'index'}.js`), bindingsPath };
}
