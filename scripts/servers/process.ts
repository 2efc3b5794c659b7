/** Child processes that never outlive the process that started them. */

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Server } from 'node:http';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';

export interface ServerOptions {
  /** A folder of the server's own; made where it is missing. */
  readonly dataDirectory: string;
}

export interface Running {
  stop(): Promise<void>;
}

export const portOf = (server: { address(): AddressInfo | string | null }): number => {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The server does not listen on a port.');
  return address.port;
};

/** A port for a program that cannot choose one itself. Another may take it first; then the program says so. */
export async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const port = portOf(server);
  server.close();
  await once(server, 'close');
  return port;
}

/** Starts a node:http server and says where it listens. */
export async function listen(
  server: Server,
  port = 0,
  host = '127.0.0.1',
): Promise<Running & { readonly port: number }> {
  server.listen(port, host);
  await once(server, 'listening');
  return {
    port: portOf(server),
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

/**
 * Ends a process when this one ends in whatever way, SIGKILL included: the pipe then closes, and the
 * shell on its other end goes on to `kill`.
 */
export function guard(pid: number, signal: 'INT' | 'TERM'): Running {
  const shell = spawn('sh', ['-c', `read _; kill -${signal} ${pid}`], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  shell.unref();
  return {
    stop: async () => {
      shell.ref();
      shell.kill('SIGKILL');
      if (shell.exitCode === null && shell.signalCode === null) await once(shell, 'exit');
    },
  };
}

/** Resolves with the first match in what the process prints; rejects with its output when it ends before. */
export function printed(child: ChildProcess, pattern: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let output = '';
    const read = (chunk: Buffer): void => {
      output += chunk.toString();
      const match = pattern.exec(output);
      if (match !== null) resolve(match);
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('error', reject);
    child.once('exit', () => reject(new Error(`${child.spawnfile} ended before it was ready:\n${output}`)));
  });
}

export async function stopProcess(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill(signal);
  await exited;
}
