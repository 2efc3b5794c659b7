/** One gateway a data folder: two would write the same databases. */

import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** @throws Error when another live process holds the folder */
export function lockDirectory(directory: string): () => void {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = join(directory, 'lock');
  const holder = holderOf(path);
  if (holder !== undefined) {
    throw new Error(
      `Process ${holder} already runs a gateway on ${directory}. Stop it, or choose another: --data <folder>`,
    );
  }
  writeFileSync(path, `${process.pid} ${startedAt(process.pid)}`);
  return () => rmSync(path, { force: true });
}

/** A killed process leaves its file behind, and its number may be another's by now. */
function holderOf(path: string): number | undefined {
  try {
    const [pid, started] = readFileSync(path, 'utf8').split(' ');
    const number = Number(pid);
    process.kill(number, 0);
    return startedAt(number) === started ? number : undefined;
  } catch {
    return undefined;
  }
}

/** When a process started, in clock ticks since boot; empty where /proc does not tell. */
function startedAt(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
