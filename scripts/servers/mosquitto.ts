/** Mosquitto over TCP, TLS and WebSocket, with two users: one may do all, the other reads `open/#`. */

import { spawn } from 'node:child_process';
import { pbkdf2Sync, randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ensurePackage, findProgram } from './packages.ts';
import { freePort, guard, printed, stopProcess, type Running, type ServerOptions } from './process.ts';

export interface MosquittoServer extends Running {
  readonly url: string;
  readonly webSocketUrl: string;
  readonly tlsUrl: string | undefined;
  readonly username: string;
  readonly password: string;
  readonly reader: { readonly username: string; readonly password: string };
}

export interface MosquittoOptions extends ServerOptions {
  /** Paths of a certificate and its key in PEM. */
  readonly certificate?: { readonly path: string; readonly keyPath: string };
}

export const MESSAGE_BYTES = 100_000;

export async function start({ dataDirectory, certificate }: MosquittoOptions): Promise<MosquittoServer> {
  await mkdir(dataDirectory, { recursive: true });
  // Below `sbin`, which the paths of ordinary users and of unpacked packages leave out.
  const programOf = (env: NodeJS.ProcessEnv): Promise<string | undefined> =>
    findProgram('mosquitto', { PATH: `${env['PATH'] ?? ''}:${(env['PATH'] ?? '').replaceAll('/bin', '/sbin')}` });
  const { env } = await ensurePackage('mosquitto', async (at) => (await programOf(at)) !== undefined);
  const program = (await programOf(env)) ?? 'mosquitto';
  const [password, readerPassword] = [randomBytes(16).toString('hex'), randomBytes(16).toString('hex')];
  const [port, webSocketPort, tlsPort] = [await freePort(), await freePort(), await freePort()];
  const file = async (name: string, text: string): Promise<string> => {
    const path = join(dataDirectory, name);
    await writeFile(path, text, { mode: 0o600 });
    return path;
  };
  const passwords = await file('passwords', `tidegate:${hashOf(password)}\nreader:${hashOf(readerPassword)}\n`);
  const rules = await file('rules', 'user tidegate\ntopic readwrite #\n\nuser reader\ntopic read open/#\n');
  const settings = [
    ...(process.getuid?.() === 0 ? ['user root'] : []),
    'log_dest stderr',
    'persistence false',
    'allow_anonymous false',
    `password_file ${passwords}`,
    `acl_file ${rules}`,
    `message_size_limit ${MESSAGE_BYTES}`,
    `listener ${port} 127.0.0.1`,
    `listener ${webSocketPort} 127.0.0.1`,
    'protocol websockets',
    ...(certificate === undefined
      ? []
      : [`listener ${tlsPort} 127.0.0.1`, `certfile ${certificate.path}`, `keyfile ${certificate.keyPath}`]),
  ];
  const child = spawn(program, ['-c', await file('mosquitto.conf', `${settings.join('\n')}\n`)], { env });
  await printed(child, /mosquitto version \S+ running/);
  const guarded = child.pid === undefined ? undefined : guard(child.pid, 'TERM');
  return {
    url: `mqtt://127.0.0.1:${port}`,
    webSocketUrl: `ws://127.0.0.1:${webSocketPort}/mqtt`,
    tlsUrl: certificate && `mqtts://localhost:${tlsPort}`,
    username: 'tidegate',
    password,
    reader: { username: 'reader', password: readerPassword },
    stop: async () => {
      await stopProcess(child);
      await guarded?.stop();
    },
  };
}

/** As `mosquitto_passwd` writes it, which takes the password from a terminal or the list of processes only. */
function hashOf(password: string): string {
  const iterations = 101;
  const salt = randomBytes(12);
  const hash = pbkdf2Sync(password, salt, iterations, 64, 'sha512');
  return `$7$${iterations}$${salt.toString('base64')}$${hash.toString('base64')}`;
}
