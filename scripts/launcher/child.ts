/** Work in a process of its own, whose memory does not stay with the gateway. */

import { spawn } from 'node:child_process';
import { LaunchProblem } from './problem.ts';

/**
 * @returns what it printed
 * @throws LaunchProblem with `problem` and what it printed, when it fails
 */
export function runNode(directory: string, problem: string, parameters: readonly string[]): Promise<string> {
  const env = {
    ...process.env,
    // wrangler looks up things on the network otherwise, and reports to its maker.
    CLOUDFLARE_CF_FETCH_ENABLED: 'false',
    WRANGLER_SEND_METRICS: 'false',
    // What workerd.ts has set: a miniflare there takes its own workerd, unguarded.
    MINIFLARE_WORKERD_PATH: undefined,
  };
  const child = spawn(process.execPath, parameters, {
    cwd: directory,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return new Promise((done, fail) => {
    child.on('error', fail);
    child.on('close', (code) => {
      if (code === 0) done(output);
      else fail(new LaunchProblem(`${problem}\n${output.trim()}`));
    });
  });
}
