/** MariaDB on a free port, with a random password and, where a certificate is given, with TLS. */

import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, chown, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { ensurePackage, findProgram } from './packages.ts';
import { freePort, guard, printed, stopProcess, type Running, type ServerOptions } from './process.ts';

export interface MariadbServer extends Running {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

export interface MariadbOptions extends ServerOptions {
  /** Paths of a certificate and its key in PEM. */
  readonly certificate?: { readonly path: string; readonly keyPath: string };
}

/** The user `nobody`: it is on every Debian, and owns nothing. */
const NOBODY = 65_534;

export async function start({ dataDirectory, certificate }: MariadbOptions): Promise<MariadbServer> {
  const { env } = await ensurePackage('mariadb-server', async (at) => (await programOf(at)) !== undefined);
  const program = await programOf(env);
  if (program === undefined) throw new Error('mariadbd is not there.');
  const base = dirname(dirname(program));
  const isRoot = process.getuid?.() === 0;
  // Where the checkout lies below /root, the user that the server runs as is not let into it.
  const folder = isRoot ? await mkdtemp(join(tmpdir(), 'tidegate-mariadb-')) : dataDirectory;
  await mkdir(folder, { recursive: true });
  if (isRoot) {
    await chmod(folder, 0o755);
    await chown(folder, NOBODY, NOBODY);
  }
  const data = join(folder, 'data');
  // Of its own: a server that starts removes what it finds of temporary tables, also those of another.
  const temporary = `--tmpdir=${folder}`;
  const user = isRoot ? ['--user=nobody'] : [];
  await promisify(execFile)(
    join(base, 'bin', 'mariadb-install-db'),
    [
      '--no-defaults',
      ...user,
      `--basedir=${base}`,
      `--datadir=${data}`,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      temporary,
      '--skip-name-resolve',
    ],
    { env, cwd: folder },
  );
  const password = randomBytes(16).toString('hex');
  // Read by the server, so that the password shows in no list of processes.
  const setup = join(folder, 'setup.sql');
  await writeFile(setup, setupOf(password), { mode: 0o600 });
  if (isRoot) await chown(setup, NOBODY, NOBODY);
  const tls = certificate === undefined ? [] : await installed(certificate, folder);
  const port = await freePort();
  const child = spawn(
    program,
    [
      '--no-defaults',
      ...user,
      `--basedir=${base}`,
      `--datadir=${data}`,
      // Below the data, as the paths of sockets must be short.
      '--socket=socket',
      '--pid-file=pid',
      `--init-file=${setup}`,
      temporary,
      '--bind-address=127.0.0.1',
      `--port=${port}`,
      '--skip-name-resolve',
      // Test data need not survive a power cut.
      '--innodb-flush-log-at-trx-commit=0',
      '--innodb-buffer-pool-size=32M',
      '--innodb-lock-wait-timeout=1',
      ...tls,
    ],
    { env, cwd: folder },
  );
  await printed(child, /ready for connections/);
  const guarded = child.pid === undefined ? undefined : guard(child.pid, 'TERM');
  return {
    host: '127.0.0.1',
    port,
    user: 'tidegate',
    password,
    database: 'shop',
    stop: async () => {
      await stopProcess(child);
      await guarded?.stop();
      if (isRoot) await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Copied to where the server may read it. */
async function installed(
  { path, keyPath }: NonNullable<MariadbOptions['certificate']>,
  folder: string,
): Promise<string[]> {
  const copies = { '--ssl-cert': [path, 'certificate.pem'], '--ssl-key': [keyPath, 'key.pem'] } as const;
  return Promise.all(
    Object.entries(copies).map(async ([flag, [from, name]]) => {
      const to = join(folder, name);
      await copyFile(from, to);
      if (process.getuid?.() === 0) await chown(to, NOBODY, NOBODY);
      return `${flag}=${to}`;
    }),
  );
}

/** Below `sbin`, which the paths of ordinary users and of unpacked packages leave out. */
const programOf = (env: NodeJS.ProcessEnv): Promise<string | undefined> => {
  const folders = (env['PATH'] ?? '').split(':');
  const PATH = [...folders, ...folders.map((folder) => folder.replace(/\/bin$/, '/sbin'))].join(':');
  return findProgram('mariadbd', { PATH });
};

const setupOf = (password: string): string =>
  [
    'create database shop character set utf8mb4;',
    `create user tidegate@'%' identified by '${password}';`,
    "grant all on *.* to tidegate@'%';",
    "delete from mysql.global_priv where User = 'root';",
    'flush privileges;',
  ].join('\n');
