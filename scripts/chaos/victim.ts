/** A gateway as `npm start` runs it, in a process group that can be killed as a whole and started again. */

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Api } from '../launcher/api.ts';
import { freePort, guard, type Running } from '../servers/process.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const START_MILLISECONDS = 120_000;

export interface Victim {
  /** Resolves when it answers. @throws Error with what it logged, when it does not */
  start(): Promise<Api>;
  /** SIGKILL to all its processes at once; resolves when nothing of it answers any more. */
  kill(): Promise<void>;
}

/** @param egressAllow what its chains may reach */
export async function createVictim(directory: string, egressAllow: string): Promise<Victim> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const logPath = join(directory, 'log');
  let running: { readonly child: ChildProcess; readonly pid: number; readonly guard: Running } | undefined;

  const answers = (): Promise<boolean> =>
    fetch(`${url}/_/health`).then(
      async (response) => {
        await response.body?.cancel();
        return response.ok;
      },
      () => false,
    );

  return {
    async start() {
      // Not a pipe: nobody would read it, and a full one stops who writes.
      const log = openSync(logPath, 'a', 0o600);
      const child = spawn(
        process.execPath,
        ['scripts/start.ts', '--no-samples', '--port', String(port), '--data', directory],
        {
          cwd: ROOT,
          env: { ...process.env, TIDEGATE_EGRESS_ALLOW: egressAllow },
          stdio: ['ignore', log, log],
          detached: true,
        },
      );
      closeSync(log);
      if (child.pid === undefined) throw new Error('The gateway could not be started.');
      running = { child, pid: child.pid, guard: guard(child.pid, 'TERM') };
      const giveUpAt = performance.now() + START_MILLISECONDS;
      while (!(await answers())) {
        if (child.exitCode !== null || performance.now() > giveUpAt) {
          throw new Error(`The gateway did not start:\n${readFileSync(logPath, 'utf8').slice(-4_000)}`);
        }
        await delay(20);
      }
      return { url, adminKey: readFileSync(join(directory, 'admin-key'), 'utf8').trim() };
    },

    async kill() {
      if (running === undefined) return;
      const { child, pid, guard: watch } = running;
      running = undefined;
      if (child.exitCode === null && child.signalCode === null) {
        const ended = once(child, 'exit');
        process.kill(-pid, 'SIGKILL');
        await ended;
      }
      await watch.stop();
      while (await answers()) await delay(5);
    },
  };
}
