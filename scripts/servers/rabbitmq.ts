/** RabbitMQ with two virtual hosts and two users: one may do all in `/`, the other only read there. */

import { spawn } from 'node:child_process';
import { createHash, randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensurePackage, findProgram } from './packages.ts';
import { guard, printed, stopProcess, type Running } from './process.ts';

export interface RabbitmqServer extends Running {
  readonly host: string;
  readonly port: number;
  readonly tlsPort: number | undefined;
  readonly user: string;
  readonly password: string;
  readonly reader: { readonly user: string; readonly password: string };
  /** A virtual host that neither user may enter. */
  readonly closedVhost: string;
}

export interface RabbitmqOptions {
  /** Paths of a certificate and its key in PEM. */
  readonly certificate?: { readonly path: string; readonly keyPath: string };
}

const SCRIPT = 'usr/lib/rabbitmq/bin/rabbitmq-server';

export async function start({ certificate }: RabbitmqOptions = {}): Promise<RabbitmqServer> {
  const { env } = await ensurePackage('rabbitmq-server', async (at) => (await scriptOf(at)) !== undefined);
  const script = await scriptOf(env);
  if (script === undefined) throw new Error('rabbitmq-server is not there.');
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-rabbitmq-'));
  const [password, readerPassword] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')];
  const [port, tlsPort, namesPort, nodePort] = [await lowPort(), await lowPort(), await lowPort(), await lowPort()];
  const definitions = join(folder, 'definitions.json');
  await writeFile(definitions, JSON.stringify(definitionsOf(password, readerPassword)), { mode: 0o600 });
  const settings = [
    `listeners.tcp.1 = 127.0.0.1:${port}`,
    `load_definitions = ${definitions}`,
    'log.console = true',
    'log.console.level = info',
    'log.file = false',
    ...(certificate === undefined
      ? []
      : [
          `listeners.ssl.1 = 127.0.0.1:${tlsPort}`,
          `ssl_options.certfile = ${certificate.path}`,
          `ssl_options.keyfile = ${certificate.keyPath}`,
          'ssl_options.verify = verify_none',
        ]),
  ];
  await writeFile(join(folder, 'rabbitmq.conf'), `${settings.join('\n')}\n`);
  await writeFile(join(folder, 'plugins'), '[].\n');
  await mkdir(join(folder, 'data'));
  const variables: NodeJS.ProcessEnv = {
    ...env,
    HOME: folder,
    // A registry of names of its own, which would otherwise stay behind as a daemon.
    ERL_EPMD_PORT: String(namesPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    RABBITMQ_NODENAME: `tidegate-${port}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_DIST_PORT: String(nodePort),
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: folder,
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
  };
  const names = spawn((await findProgram('epmd', env)) ?? 'epmd', ['-port', String(namesPort)], {
    env: variables,
    stdio: 'ignore',
  });
  const stopNames = (): Promise<void> => stopProcess(names, 'SIGKILL');
  // Without its shell script in between, which would not pass the signal on.
  const child = spawn(script, [], { env: { ...variables, RABBITMQ_ALLOW_INPUT: 'true' }, cwd: folder });
  const guards = [names, child].flatMap(({ pid }) => (pid === undefined ? [] : [guard(pid, 'TERM')]));
  const stop = async (): Promise<void> => {
    await stopProcess(child, 'SIGKILL');
    await stopNames();
    await Promise.all(guards.map((each) => each.stop()));
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await printed(child, /Server startup complete/);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    host: '127.0.0.1',
    port,
    tlsPort: certificate && tlsPort,
    user: 'tidegate',
    password,
    reader: { user: 'reader', password: readerPassword },
    closedVhost: 'closed',
    stop,
  };
}

/** None of those that the system gives to outgoing connections: it takes seconds until the broker listens on it. */
async function lowPort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_240, 32_000);
    const server = createServer().listen(port, '127.0.0.1');
    const isFree = await once(server, 'listening').then(
      () => true,
      () => false,
    );
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    return port;
  }
}

/** Of the system, or of a package that was unpacked beside the checkout. */
async function scriptOf(env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const roots = (env['PATH'] ?? '').split(':').flatMap((path) => /^(.*)\/usr\/bin$/.exec(path)?.[1] ?? []);
  for (const root of new Set([...roots, ''])) {
    const path = join(root || '/', SCRIPT);
    const isThere = await access(path, 1).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  return undefined;
}

const definitionsOf = (password: string, readerPassword: string): unknown => ({
  vhosts: [{ name: '/' }, { name: 'closed' }],
  users: [
    { name: 'tidegate', password_hash: hashOf(password), tags: '' },
    { name: 'reader', password_hash: hashOf(readerPassword), tags: '' },
  ],
  permissions: [
    { user: 'tidegate', vhost: '/', configure: '.*', write: '.*', read: '.*' },
    { user: 'reader', vhost: '/', configure: '^$', write: '^$', read: '.*' },
  ],
});

/** Salt, and SHA-256 of salt and password, as RabbitMQ keeps it. */
function hashOf(password: string): string {
  const salt = randomBytes(4);
  const hash = createHash('sha256').update(salt).update(password).digest();
  return Buffer.concat([salt, hash]).toString('base64');
}
