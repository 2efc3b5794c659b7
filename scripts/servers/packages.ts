/**
 * Debian packages that the test servers need. Found on the machine; else installed by root, or unpacked
 * beside the checkout for everyone else, where nothing of the system is touched.
 */

import { execFile } from 'node:child_process';
import { access, mkdir, readdir, rename, rm } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const CACHE = resolve(import.meta.dirname, '../../.tidegate/packages');

interface Installed {
  /** Variables with which a program of the package starts. */
  readonly env: NodeJS.ProcessEnv;
}

/**
 * Makes the programs of a package available.
 * @param name a Debian package
 * @param present whether it works already, with these variables
 * @throws Error when the package can be neither installed nor unpacked
 */
export async function ensurePackage(
  name: string,
  present: (env: NodeJS.ProcessEnv) => Promise<boolean>,
): Promise<Installed> {
  if (await present(process.env)) return { env: process.env };
  const root = join(CACHE, name);
  const env = unpackedEnvironment(root);
  if (await present(env)) return { env };
  try {
    if (process.getuid?.() !== 0) {
      await unpack(name, root);
      if (await present(env)) return { env };
    } else {
      await install(name);
      if (await present(process.env)) return { env: process.env };
    }
  } catch (error) {
    throw new Error(`The package ${name} cannot be installed. Install it by hand (Debian: apt-get install ${name}).`, {
      cause: error,
    });
  }
  throw new Error(`The package ${name} was installed but does not start.`);
}

const canExecute = (path: string): Promise<boolean> =>
  access(path, 1).then(
    () => true,
    () => false,
  );

export async function findProgram(program: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  for (const folder of (env['PATH'] ?? '').split(delimiter)) {
    const path = join(folder, program);
    if (folder !== '' && (await canExecute(path))) return path;
  }
  return undefined;
}

const apt = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, maxBuffer: 16 * 1024 * 1024 };

const LOCK_SECONDS = 600;
/** The lock of dpkg is for whoever else installs something; mirrors fail now and then. */
const PATIENCE = ['-o', `DPkg::Lock::Timeout=${LOCK_SECONDS}`, '-o', 'Acquire::Retries=3'];

/**
 * One after the other, also for the servers of another process: apt itself waits for one of its locks only, and gives
 * up where another run has the lists or the archives.
 */
const runAlone = (...words: readonly string[]): Promise<unknown> =>
  run('flock', ['--timeout', String(LOCK_SECONDS), '/var/lib/apt', 'apt-get', ...PATIENCE, ...words], apt);

let updated: Promise<unknown> | undefined;

async function install(name: string): Promise<void> {
  await (updated ??= runAlone('update'));
  await runAlone('install', '-y', '--no-install-recommends', name);
}

/** Takes the dependencies that the machine lacks along. */
async function unpack(name: string, root: string): Promise<void> {
  const half = `${root}.${process.pid}`;
  await mkdir(half, { recursive: true });
  try {
    await run('apt-get', [...PATIENCE, 'download', ...(await missing(name))], { ...apt, cwd: half });
    for (const file of await readdir(half)) {
      if (file.endsWith('.deb')) await run('dpkg-deb', ['-x', file, 'root'], { cwd: half });
    }
    await rm(root, { recursive: true, force: true });
    await rename(join(half, 'root'), root);
  } finally {
    await rm(half, { recursive: true, force: true });
  }
}

/** The package and the dependencies that the machine lacks, as apt would install them. */
async function missing(name: string): Promise<string[]> {
  const { stdout } = await run('apt-get', ['install', '--simulate', '--no-install-recommends', name], apt);
  return [...stdout.matchAll(/^Inst (\S+)/gm)].map((match) => match[1] ?? '');
}

function unpackedEnvironment(root: string): NodeJS.ProcessEnv {
  const triplet = process.arch === 'arm64' ? 'aarch64-linux-gnu' : 'x86_64-linux-gnu';
  const before = (name: string, ...paths: string[]): string =>
    [...paths.map((path) => join(root, path)), process.env[name] ?? ''].filter(Boolean).join(delimiter);
  return {
    ...process.env,
    PATH: before('PATH', 'usr/bin'),
    LD_LIBRARY_PATH: before('LD_LIBRARY_PATH', `usr/lib/${triplet}`, `lib/${triplet}`, 'usr/lib'),
    PYTHONPATH: before('PYTHONPATH', 'usr/lib/python3/dist-packages'),
  };
}
