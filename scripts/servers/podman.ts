/**
 * Podman's service, which serves the API of Docker's engine, behind a proxy that asks for a token. It needs root.
 *
 * There is one image, `tidegate/busybox:1`, built of nothing but a static busybox: nothing is pulled.
 * Before a path, `/slow` answers late.
 */

import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, request as send, type IncomingMessage, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { ensurePackage, findProgram } from './packages.ts';
import { freePort, guard, listen, stopProcess, type Running } from './process.ts';

export interface PodmanServer extends Running {
  readonly url: string;
  readonly token: string;
  readonly image: string;
}

/** The machine lets nobody start containers, as some sandboxes do; the packages are there. */
export class NoContainers extends Error {}

const run = promisify(execFile);
const IMAGE = 'tidegate/busybox:1';
const SLOW_MILLISECONDS = 5_000;

/** runc rather than crun, which many containers do not let start; limits that need no raising. */
const CONFIGURATION = `
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
`;

const programOf = async (name: string): Promise<string> => {
  const { env } = await ensurePackage(name === 'busybox' ? 'busybox-static' : name, async (at) =>
    Boolean(await findProgram(name, withSystem(at))),
  );
  return (await findProgram(name, withSystem(env))) ?? name;
};

/** Below `sbin`, which the paths of ordinary users leave out. */
const withSystem = (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv => ({ PATH: `${env['PATH'] ?? ''}:/usr/sbin:/sbin` });

export async function start(): Promise<PodmanServer> {
  const [podman, runc, busybox] = await Promise.all([programOf('podman'), programOf('runc'), programOf('busybox')]);
  // Paths of sockets below it must be short.
  const folder = await mkdtemp(join(tmpdir(), 'tidegate-podman-'));
  const configuration = join(folder, 'containers.conf');
  await writeFile(configuration, CONFIGURATION);
  const env = { ...process.env, ...withSystem(process.env), CONTAINERS_CONF: configuration };
  const storage = ['--root', join(folder, 'root'), '--runroot', join(folder, 'run'), '--storage-driver', 'vfs'];
  const all = [...storage, '--runtime', runc];
  await buildImage(podman, all, env, folder, busybox);
  await run(podman, [...all, 'run', '--rm', '--network', 'none', IMAGE, 'busybox', 'true'], { env }).catch(
    async (cause: unknown) => {
      await rm(folder, { recursive: true, force: true });
      throw new NoContainers('no container starts on this machine', { cause });
    },
  );
  const port = await freePort();
  const child = spawn(podman, [...all, 'system', 'service', '--time', '0', `tcp:127.0.0.1:${port}`], {
    env,
    stdio: 'ignore',
  });
  const guarded = child.pid === undefined ? undefined : guard(child.pid, 'TERM');
  await answers(port);
  const token = randomBytes(16).toString('hex');
  const server = createServer((request, response) => void forward(port, token, request, response));
  const proxy = await listen(server);
  return {
    url: `http://127.0.0.1:${proxy.port}`,
    token,
    image: IMAGE,
    stop: async () => {
      await proxy.stop();
      await run(podman, [...all, 'rm', '--all', '--force', '--time', '0'], { env }).catch(() => undefined);
      await stopProcess(child);
      await guarded?.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function buildImage(
  podman: string,
  options: readonly string[],
  env: NodeJS.ProcessEnv,
  folder: string,
  busybox: string,
): Promise<void> {
  const context = join(folder, 'context');
  await mkdir(context);
  await copyFile(busybox, join(context, 'busybox'));
  await writeFile(join(context, 'Dockerfile'), 'FROM scratch\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n');
  await run(podman, [...options, 'build', '--tag', `docker.io/${IMAGE}`, context], { env });
}

async function answers(port: number): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const response = await fetch(`http://127.0.0.1:${port}/_ping`).catch(() => undefined);
    if (response?.ok === true) return;
    await wait(100);
  }
  throw new Error('Podman does not answer.');
}

async function forward(port: number, token: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.headers.authorization !== `Bearer ${token}`) {
    response.writeHead(401, { 'content-type': 'application/json' }).end('{"message":"authentication required"}');
    return;
  }
  const path = request.url ?? '/';
  if (path.startsWith('/slow/')) await wait(SLOW_MILLISECONDS, undefined, { ref: false });
  const { authorization: _, ...headers } = request.headers;
  const options = { host: '127.0.0.1', port, path: path.replace(/^\/slow/, ''), method: request.method, headers };
  const passed = send(options, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
    answer.on('error', () => response.destroy());
  });
  passed.on('error', () => response.destroy());
  // Whoever asked is gone: the engine must know.
  response.on('close', () => passed.destroy());
  request.pipe(passed);
}
