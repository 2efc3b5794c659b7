/**
 * Runs a built Worker on miniflare's workerd with a socket of its own, without the proxy that `wrangler
 * dev` and miniflare put in front (it costs ten times the latency).
 */

import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { convertV4MiniflareOptions, Log, LogLevel, Miniflare } from 'miniflare';
import type { Build } from './build.ts';
import { guardWorkerd } from './workerd.ts';

export interface WorkerOptions {
  readonly build: Build;
  /** Where D1 and the objects are kept. */
  readonly stateDirectory: string;
  /** For the launcher's own small files. */
  readonly directory: string;
  readonly host: string;
  readonly port: number;
  readonly variables: Readonly<Record<string, string>>;
  /** What the Worker may connect to, for workerd's `network` service: `public` and address ranges. */
  readonly networks: readonly string[];
  /** What the Worker logs, a line at a time. */
  readonly log: (line: string) => void;
}

export interface RunningWorker {
  readonly url: string;
  readonly miniflare: Miniflare;
  /** Of the workerd process that runs now. */
  pid(): number | undefined;
  /** Calls the Worker's scheduled handler. */
  runScheduled(): Promise<void>;
  /** Runs another build on the same port and data. */
  replace(build: Build): Promise<void>;
  /** Lets requests under way end, but not for longer than this. */
  stop(drainMilliseconds?: number): Promise<void>;
}

const DRAIN_MILLISECONDS = 3_000;
const NAME = 'tidegate';
const MINUTELY = encodeURIComponent('* * * * *');

export async function startWorker(options: WorkerOptions): Promise<RunningWorker> {
  const guard = guardWorkerd(options.directory);
  const optionsOf = (build: Build) => miniflareOptions({ ...options, build }, guard.environment);
  const miniflare = new Miniflare(optionsOf(options.build));
  const stop = async (drainMilliseconds = DRAIN_MILLISECONDS): Promise<void> => {
    await guard.drain(drainMilliseconds);
    await miniflare.dispose();
    await guard.release();
  };
  try {
    await miniflare.ready;
  } catch (error) {
    await stop(0).catch(() => undefined);
    throw error;
  }
  const { origin } = await miniflare.unsafeGetDirectURL(NAME);
  return {
    url: origin,
    miniflare,
    pid: guard.pid,
    async runScheduled() {
      // Not by `getWorker()`, which starts a thread and takes 25 MB.
      const response = await miniflare.dispatchFetch(`http://localhost/cdn-cgi/local/scheduled?cron=${MINUTELY}`);
      const outcome = await response.text();
      if (!response.ok) throw new Error(`the scheduled handler answered ${outcome}`);
    },
    replace: (build) => miniflare.setOptions(optionsOf(build)),
    stop,
  };
}

/** The database ids and all else that wrangler.toml binds, as bindings.ts wrote it. */
export function readBindings(build: Build): { readonly [key: string]: unknown } {
  return JSON.parse(readFileSync(build.bindingsPath, 'utf8'));
}

function miniflareOptions(options: WorkerOptions, runtimeEnvironment: Readonly<Record<string, string>>) {
  const { build, log } = options;
  const network = { network: networkService(options.networks) };
  return convertV4MiniflareOptions({
    cf: false,
    telemetry: { enabled: false },
    log: new Log(LogLevel.ERROR),
    resourcePersistencePath: options.stateDirectory,
    handleStructuredLogs: ({ message }) => log(message),
    unsafeRuntimeEnv: runtimeEnvironment,
    unsafeTriggerHandlers: true,
    workers: [
      {
        ...readBindings(build),
        name: NAME,
        rootPath: dirname(build.scriptPath),
        scriptPath: build.scriptPath,
        modules: true,
        bindings: options.variables,
        unsafeDirectSockets: [{ host: options.host, port: options.port }],
        // The Worker's way out. It is guarded, and half as fast again as the global `fetch`, which passes
        // through a Worker of miniflare's.
        serviceBindings: { EGRESS: network },
        // What uses the global `fetch` all the same comes out at the same guard.
        outboundService: { name: 'egress' },
      },
      {
        name: 'egress',
        modules: true,
        script: 'export default { fetch: (request, env) => env.NETWORK.fetch(request) }',
        compatibilityDate: '2026-10-23',
        serviceBindings: { NETWORK: network },
      },
    ],
  });
}

function networkService(allow: readonly string[]) {
  const certificates = process.env['NODE_EXTRA_CA_CERTS'];
  const trustedCertificates = certificates === undefined ? [] : [readFileSync(certificates, 'utf8')];
  return { allow: [...allow], deny: [], tlsOptions: { trustBrowserCas: true, trustedCertificates } };
}
