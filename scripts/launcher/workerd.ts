/**
 * The workerd process below miniflare, which neither shows its id nor ends it gently.
 *
 * miniflare starts a script of ours in its place. The script notes its own id and becomes workerd, so that
 * the launcher can ask workerd to finish what it is doing (SIGTERM) before miniflare kills it. A watchdog
 * ends workerd when the launcher is gone: it waits on a pipe that only the launcher holds open.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import * as v from 'valibot';

/** One for all Workers of a process: miniflare knows it by a variable of that, and starts workerd anew at any time. */
const SCRIPT = join(import.meta.dirname, 'workerd.sh');
/** It opens the file with the id at once, so that it can read it even when the data folder is gone. */
const WATCHDOG = 'exec 3<"$0"; read -r line || { read -r pid <&3; kill -9 "$pid"; }';

export interface WorkerdGuard {
  /** For miniflare's `unsafeRuntimeEnv`. */
  readonly environment: Readonly<Record<string, string>>;
  /** The process that runs now; it changes when miniflare restarts a crashed one. */
  pid(): number | undefined;
  /** No new requests from here on; resolves when those under way have ended, or time is up. */
  drain(timeoutMilliseconds: number): Promise<void>;
  /** To be called when miniflare has ended its process. */
  release(): Promise<void>;
}

/** Those not released yet. */
let guards = 0;

export function guardWorkerd(directory: string): WorkerdGuard {
  const paths = {
    pid: join(directory, 'workerd.pid'),
    stopping: join(directory, 'stopping'),
  };
  rmSync(paths.stopping, { force: true });
  // A new file, not the old one emptied: the watchdog of a killed launcher may still be reading that.
  rmSync(paths.pid, { force: true });
  writeFileSync(paths.pid, '');
  // The package's default export is the program itself; `bin/workerd` is a script that starts it as a child.
  const workerd = v.parse(v.object({ default: v.string() }), createRequire(import.meta.url)('workerd')).default;
  process.env['MINIFLARE_WORKERD_PATH'] = SCRIPT;
  guards++;
  // A group of its own, so that Ctrl-C in the terminal does not end the watchdog first.
  const watchdog = spawn('/bin/sh', ['-c', WATCHDOG, paths.pid], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  });
  const ended = once(watchdog, 'exit');
  watchdog.stdin.on('error', () => undefined);
  watchdog.unref();

  const pid = (): number | undefined => {
    try {
      return Number(readFileSync(paths.pid, 'utf8')) || undefined;
    } catch {
      return undefined;
    }
  };
  return {
    environment: {
      TIDEGATE_WORKERD: workerd,
      TIDEGATE_WORKERD_PID: paths.pid,
      TIDEGATE_STOPPING: paths.stopping,
    },
    pid,
    async drain(timeoutMilliseconds) {
      const target = pid();
      if (target === undefined) return;
      writeFileSync(paths.stopping, '');
      const giveUpAt = performance.now() + timeoutMilliseconds;
      let isRunning = signal(target, 'SIGTERM');
      while (isRunning && performance.now() < giveUpAt) {
        await sleep(10);
        isRunning = signal(target, 0);
      }
    },
    async release() {
      watchdog.ref();
      watchdog.stdin.end('stopped\n');
      await ended;
      // Another miniflare of this process knows nothing of the script.
      if (--guards === 0) delete process.env['MINIFLARE_WORKERD_PATH'];
      for (const path of Object.values(paths)) rmSync(path, { force: true });
    },
  };
}

/** False when there is no such process any more. */
function signal(pid: number, name: 'SIGTERM' | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}
