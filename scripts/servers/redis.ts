/** Redis on a free port, in memory, behind a random password. */

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { ensurePackage, findProgram } from './packages.ts';
import { freePort, guard, printed, stopProcess, type Running, type ServerOptions } from './process.ts';

export interface RedisServer extends Running {
  /** `redis://:password@host:port` */
  readonly url: string;
}

export async function start(options: ServerOptions): Promise<RedisServer> {
  await mkdir(options.dataDirectory, { recursive: true });
  const { env } = await ensurePackage(
    'redis-server',
    async (at) => (await findProgram('redis-server', at)) !== undefined,
  );
  const program = (await findProgram('redis-server', env)) ?? 'redis-server';
  const port = await freePort();
  const password = randomBytes(16).toString('hex');
  const child = spawn(program, ['-'], { cwd: options.dataDirectory, env, stdio: ['pipe', 'pipe', 'pipe'] });
  // By standard input, so that the password shows in no list of processes.
  child.stdin.end(`port ${port}\nbind 127.0.0.1\nrequirepass ${password}\nsave ""\nappendonly no\n`);
  await printed(child, /Ready to accept connections/);
  const guarded = child.pid === undefined ? undefined : guard(child.pid, 'TERM');
  return {
    url: `redis://:${password}@127.0.0.1:${port}`,
    stop: async () => {
      await stopProcess(child);
      await guarded?.stop();
    },
  };
}
