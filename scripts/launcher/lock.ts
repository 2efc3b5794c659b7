/** One gateway for one data folder: two on the same SQLite files would corrupt each other's view. */

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LaunchProblem } from './problem.ts';

/**
 * Takes the folder for this process until the returned function is called. A lock whose process is gone, as
 * `kill -9` leaves it behind, does not count.
 *
 * @throws LaunchProblem when another process that runs has it
 */
export function lockDirectory(directory: string): () => void {
  const path = join(directory, 'lock');
  const own = `${process.pid} ${startedAt(process.pid)}\n`;
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      writeFileSync(path, own, { flag: 'wx' });
      return () => {
        if (read(path) === own) rmSync(path, { force: true });
      };
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
    }
    const [pid = '', started = ''] = read(path).trim().split(' ');
    if (pid !== '' && isRunning(Number(pid)) && startedAt(Number(pid)) === started) {
      throw new LaunchProblem(
        `The data folder ${directory} is in use by process ${pid}. Stop it, or choose another folder with --data.`,
      );
    }
    rmSync(path, { force: true });
  }
  throw new LaunchProblem(`The data folder ${directory} is being taken by another process.`);
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** Tells a process from a later one with the same number. Empty where the system does not show it. */
function startedAt(pid: number): string {
  // The name in parentheses may hold spaces; the start is the 22nd field, the 20th after the name.
  return read(`/proc/${pid}/stat`).split(') ').at(-1)?.split(' ')[19] ?? '';
}
