/** The command line of `npm start`. */

import { readdirSync, watch } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { launch, type Gateway } from './launch.ts';
import { LaunchProblem } from './problem.ts';

const USAGE = `npm start -- [options]

  --port <port>     where it listens (8787; 0 takes a free port)
  --host <address>  on which address (127.0.0.1: this machine only)
  --data <folder>   what it keeps: secrets, configuration, runs (.tidegate)
  --no-samples      publish no sample chains
  --watch           build and restart when a source changes

Variables: TIDEGATE_ADMIN_KEY, TIDEGATE_MASTER_KEY, TIDEGATE_EGRESS_ALLOW, TIDEGATE_EGRESS_PORTS,
  TIDEGATE_RUN_SHARDS, TIDEGATE_URL, TIDEGATE_RETENTION_DAYS, TIDEGATE_TRUSTED_PROXIES, TIDEGATE_OIDC_ISSUER,
  TIDEGATE_OIDC_AUDIENCE.`;

const EXIT_MILLISECONDS = 5_000;

const log = (line: string): void => console.error(line);

async function main(): Promise<void> {
  const { values } = parseArgs({
    allowNegative: true,
    options: {
      port: { type: 'string', default: '8787' },
      host: { type: 'string', default: '127.0.0.1' },
      data: { type: 'string', default: '.tidegate' },
      samples: { type: 'boolean', default: true },
      watch: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new LaunchProblem(`--port ${values.port} is not a number from 0 to 65535.`);
  }
  const startedAt = performance.now();
  const gateway = await launch({ port, host: values.host, dataDirectory: values.data, samples: values.samples, log });
  endOnSignal(gateway);
  greet(gateway, (performance.now() - startedAt) / 1_000);
  if (values.watch) rebuildOnChange(gateway);
}

function greet({ url, adminKeyPlace, samples }: Gateway, seconds: number): void {
  console.log(`Tidegate answers at ${url} (${seconds.toFixed(1)} s)`);
  console.log(`Admin key: ${adminKeyPlace.includes('/') ? relative('.', adminKeyPlace) : adminKeyPlace}`);
  for (const { title, curl } of samples) console.log(`\n${title}\n  ${curl}`);
}

function endOnSignal(gateway: Gateway): void {
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    // miniflare's own listeners end the process before it could stop in order.
    process.removeAllListeners(name);
    process.once(name, () => {
      setTimeout(() => process.exit(1), EXIT_MILLISECONDS).unref();
      void gateway.stop().then(() => process.exit(0));
    });
  }
}

function rebuildOnChange(gateway: Gateway): void {
  let timer: NodeJS.Timeout | undefined;
  let last = Promise.resolve();
  const rebuild = async (): Promise<void> => {
    try {
      await gateway.rebuild();
      log('Running the new build');
    } catch (error) {
      log(error instanceof LaunchProblem ? error.message : String(error));
    }
  };
  const watched = new Set<string>();
  // Folder by folder: a recursive watch loses a file that an editor saves by renaming a new one into its place.
  const watchFolders = (): void => {
    for (const folder of foldersIn(resolve(import.meta.dirname, '../../src'))) {
      if (watched.has(folder)) continue;
      watched.add(folder);
      watch(folder, changed);
    }
  };
  const changed = (): void => {
    clearTimeout(timer);
    // An editor saves in several steps, and a build under way is not overtaken by the next.
    timer = setTimeout(() => {
      watchFolders();
      last = last.then(rebuild);
    }, 100);
  };
  watchFolders();
}

function foldersIn(folder: string): string[] {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return [
    folder,
    ...entries.filter((entry) => entry.isDirectory()).map(({ parentPath, name }) => join(parentPath, name)),
  ];
}

try {
  await main();
} catch (error) {
  console.error(error instanceof LaunchProblem || isUsage(error) ? error.message : error);
  process.exit(1);
}

function isUsage(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS');
}
