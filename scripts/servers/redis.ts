/** Redis on a free port, in memory, behind a random password and, where a certificate is given, also by TLS. */

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { ensurePackage, findProgram } from './packages.ts';
import { freePort, guard, printed, stopProcess, type Running, type ServerOptions } from './process.ts';

export interface RedisServer extends Running {
  /** `redis://:password@host:port` */
  readonly url: string;
  readonly password: string;
  /** 0 without a certificate. */
  readonly tlsPort: number;
}

export interface RedisOptions extends ServerOptions {
  /** Paths of a certificate and its key in PEM. */
  readonly certificate?: { readonly path: string; readonly keyPath: string };
  /** Users of the ACL by name, with their rules. */
  readonly users?: Readonly<Record<string, string>>;
}

export async function start({ dataDirectory, certificate, users = {} }: RedisOptions): Promise<RedisServer> {
  await mkdir(dataDirectory, { recursive: true });
  const { env } = await ensurePackage(
    'redis-server',
    async (at) => (await findProgram('redis-server', at)) !== undefined,
  );
  const program = (await findProgram('redis-server', env)) ?? 'redis-server';
  const port = await freePort();
  const tlsPort = certificate === undefined ? 0 : await freePort();
  const password = randomBytes(16).toString('hex');
  const tls =
    certificate === undefined
      ? []
      : [
          `tls-port ${tlsPort}`,
          `tls-cert-file ${certificate.path}`,
          `tls-key-file ${certificate.keyPath}`,
          `tls-ca-cert-file ${certificate.path}`,
          'tls-auth-clients no',
        ];
  const child = spawn(program, ['-'], { cwd: dataDirectory, env, stdio: ['pipe', 'pipe', 'pipe'] });
  // By standard input, so that the password shows in no list of processes.
  child.stdin.end(
    [
      `port ${port}`,
      'bind 127.0.0.1',
      `requirepass ${password}`,
      'save ""',
      'appendonly no',
      ...Object.entries(users).map(([name, rules]) => `user ${name} ${rules}`),
      ...tls,
      '',
    ].join('\n'),
  );
  await printed(child, /Ready to accept connections/);
  const guarded = child.pid === undefined ? undefined : guard(child.pid, 'TERM');
  return {
    url: `redis://:${password}@127.0.0.1:${port}`,
    password,
    tlsPort,
    stop: async () => {
      await stopProcess(child);
      await guarded?.stop();
    },
  };
}
