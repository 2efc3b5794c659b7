/**
 * nats-server on free ports, over sockets and WebSockets: one with JetStream and several users, and one that asks
 * for TLS on its socket and for a token.
 */

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { nkeys } from '@nats-io/nats-core';
import { ensurePackage, findProgram } from './packages.ts';
import { guard, printed, stopProcess, type Running, type ServerOptions } from './process.ts';

export interface NatsListener {
  readonly webSocket: string;
  readonly tcp: string;
}

export interface NatsServer extends Running {
  readonly main: NatsListener & {
    readonly user: string;
    readonly password: string;
    /** May publish to `open.>`, and listen on `open.>` and `_INBOX_limited.>`. */
    readonly limited: { readonly user: string; readonly password: string };
    /** Of a user that is known by an nkey. */
    readonly seed: string;
    readonly maximumMessageBytes: number;
  };
  readonly token: NatsListener & { readonly token: string };
}

interface Options extends ServerOptions {
  readonly certificate: { readonly path: string; readonly keyPath: string };
}

const randomText = (): string => randomBytes(16).toString('hex');

const MAXIMUM_MESSAGE_BYTES = 2 * 1024 * 1024;

export async function start({ dataDirectory, certificate }: Options): Promise<NatsServer> {
  const { env } = await ensurePackage('nats-server', async (at) => (await programOf(at)) !== undefined);
  const program = (await programOf(env)) ?? 'nats-server';
  const password = randomText();
  const limitedPassword = randomText();
  const token = randomText();
  const key = nkeys.createUser();
  const main = {
    ...LISTENERS,
    max_payload: MAXIMUM_MESSAGE_BYTES,
    jetstream: { store_dir: join(dataDirectory, 'jetstream') },
    authorization: {
      users: [
        { user: 'main', password },
        { user: 'limited', password: limitedPassword, permissions: LIMITED },
        { nkey: key.getPublicKey() },
      ],
    },
  };
  const guarded = {
    ...LISTENERS,
    authorization: { token },
    tls: { cert_file: certificate.path, key_file: certificate.keyPath },
  };
  const [first, second] = await Promise.all([
    run(program, env, join(dataDirectory, 'main'), main),
    run(program, env, join(dataDirectory, 'token'), guarded),
  ]);
  return {
    main: {
      ...first.listener,
      user: 'main',
      password,
      limited: { user: 'limited', password: limitedPassword },
      seed: new TextDecoder().decode(key.getSeed()),
      maximumMessageBytes: MAXIMUM_MESSAGE_BYTES,
    },
    token: { ...second.listener, token },
    stop: async () => {
      await Promise.all([first.stop(), second.stop()]);
    },
  };
}

/** Debian has it where only root looks. */
const programOf = (env: NodeJS.ProcessEnv): Promise<string | undefined> => {
  const folders = (env['PATH'] ?? '').split(':');
  const more = folders.map((folder) => folder.replace(/bin$/, 'sbin'));
  return findProgram('nats-server', { ...env, PATH: [...folders, ...more].join(':') });
};

const LIMITED = {
  publish: ['open.>'],
  subscribe: ['open.>', '_INBOX_limited.>'],
};

/** -1: any port that is free. */
const LISTENERS = {
  host: '127.0.0.1',
  port: -1,
  websocket: { host: '127.0.0.1', port: -1, no_tls: true },
};

const STARTED = /websocket clients on ws:\/\/\S+?:(\d+)[^]*client connections on \S+?:(\d+)[^]*Server is ready/;

async function run(program: string, env: NodeJS.ProcessEnv, folder: string, config: object) {
  await mkdir(folder, { recursive: true });
  const path = join(folder, 'server.json');
  // Its configuration is a superset of JSON.
  await writeFile(path, JSON.stringify(config), { mode: 0o600 });
  const child = spawn(program, ['-c', path], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const [, webSocketPort, port] = await printed(child, STARTED);
  const guarded = child.pid === undefined ? undefined : guard(child.pid, 'TERM');
  return {
    listener: { webSocket: `ws://127.0.0.1:${webSocketPort}`, tcp: `127.0.0.1:${port}` },
    stop: async () => {
      await stopProcess(child);
      await guarded?.stop();
    },
  };
}
