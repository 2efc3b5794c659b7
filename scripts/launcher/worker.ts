/**
 * Runs a built Worker on miniflare's workerd with a socket of its own, without the proxy that `wrangler
 * dev` and miniflare put in front (it costs ten times the latency).
 */

import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, resolve } from 'node:path';
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from 'miniflare';
import { unstable_getMiniflareWorkerOptions } from 'wrangler';

const SETPRIV = '/usr/bin/setpriv';

export interface WorkerOptions {
  /** The wrangler.toml that names the bindings. */
  readonly configPath: string;
  /** The built module. */
  readonly scriptPath: string;
  /** Where D1 and the objects are kept. */
  readonly stateDirectory: string;
  readonly host: string;
  readonly port: number;
  readonly variables: Readonly<Record<string, string>>;
  /** What the Worker logs, a line at a time. */
  readonly log: (line: string) => void;
}

export interface RunningWorker {
  readonly url: string;
  readonly miniflare: Miniflare;
  stop(): Promise<void>;
}

export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  tieWorkerdToParent(options.stateDirectory);
  const { workerOptions } = unstable_getMiniflareWorkerOptions(options.configPath);
  const { modulesRules: _rules, ...bindings } = workerOptions;
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      cf: false,
      telemetry: { enabled: false },
      log: new Log(LogLevel.ERROR),
      resourcePersistencePath: options.stateDirectory,
      handleStructuredLogs: ({ message }: { message: string }) => options.log(message),
      workers: [
        {
          ...bindings,
          name: 'tidegate',
          rootPath: dirname(resolve(options.scriptPath)),
          scriptPath: resolve(options.scriptPath),
          modules: true,
          bindings: { ...bindings.bindings, ...options.variables },
          // Otherwise every outgoing request passes through one more Worker, which costs a third of a chain.
          stripCfConnectingIp: false,
          unsafeDirectSockets: [{ host: options.host, port: options.port }],
        },
      ],
    }),
  );
  await miniflare.ready;
  const url = await miniflare.unsafeGetDirectURL('tidegate');
  return { url: url.origin, miniflare, stop: () => miniflare.dispose() };
}

/**
 * workerd outlives a launcher that is killed, and would keep the port and the data. Linux ends it with its
 * parent where `setpriv` (of util-linux) is there to ask for that.
 */
function tieWorkerdToParent(directory: string): void {
  if (process.env['MINIFLARE_WORKERD_PATH'] !== undefined || !existsSync(SETPRIV)) return;
  // The package's `workerd.bin` is the native program; `bin/workerd` is a script that starts it as a child.
  const { default: workerd } = createRequire(import.meta.url)('workerd') as { default: string };
  const wrapper = resolve(directory, 'workerd.sh');
  mkdirSync(directory, { recursive: true });
  writeFileSync(wrapper, `#!/bin/sh\nexec ${SETPRIV} --pdeathsig KILL -- '${workerd}' "$@"\n`, { mode: 0o755 });
  process.env['MINIFLARE_WORKERD_PATH'] = wrapper;
}
