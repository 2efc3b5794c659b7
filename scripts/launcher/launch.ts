/** A gateway on one machine, from nothing to the first answer: for `npm start`, tests and benches. */

import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as v from 'valibot';
import { buildWorker } from './build.ts';
import { allowedNetworks } from './egress.ts';
import { lockDirectory } from './lock.ts';
import { migrate } from './migrate.ts';
import { everyMinute } from './minutes.ts';
import { checkPort } from './port.ts';
import { startRates } from './rates.ts';
import { publishSamples, type Sample } from './samples.ts';
import { makeWebhookSecret, readSecret, readSecrets } from './secrets.ts';
import { readBindings, startWorker, type RunningWorker } from './worker.ts';

/** Where `npm run services` listens: fixed, because the gateway must list what chains may reach. */
export const SERVICE_PORTS = { postgres: 8791, redis: 8792, s3: 8793 } as const;

const ROOT = resolve(import.meta.dirname, '../..');

export interface LaunchOptions {
  /** 0 takes a free one. */
  readonly port: number;
  readonly dataDirectory: string;
  readonly host?: string;
  /** Where `TIDEGATE_*` variables are read; nothing else of it is. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly samples?: boolean;
  /** The repository; only tests of the launcher itself use another. */
  readonly root?: string;
  readonly log?: (line: string) => void;
}

export interface Gateway {
  readonly url: string;
  readonly adminKey: string;
  readonly adminKeyPlace: string;
  readonly samples: readonly Sample[];
  readonly worker: RunningWorker;
  /** Runs the cron trigger now; otherwise it runs at the start of each minute. */
  runScheduled(): Promise<void>;
  /** Builds the sources again and runs what came of it. */
  rebuild(): Promise<void>;
  stop(): Promise<void>;
}

/** @throws LaunchProblem where the user can mend what is wrong */
export async function launch(options: LaunchOptions): Promise<Gateway> {
  const { host = '127.0.0.1', env = process.env, root = ROOT, log = () => undefined } = options;
  const directory = resolve(options.dataDirectory);
  const port = await checkPort(host, options.port);
  const secrets = readSecrets(directory, env);
  const unlock = lockDirectory(directory);
  try {
    const stateDirectory = join(directory, 'state');
    mkdirSync(stateDirectory, { recursive: true });
    const build = await buildWorker(root, log);
    for (const name of await migrate(stateDirectory, databaseId(readBindings(build)), join(root, 'migrations'))) {
      log(`Applied the migration ${name}`);
    }
    const rates = options.samples === false ? undefined : await startRates();
    const samplesHosts = rates === undefined ? [] : [rates.host, ...serviceHosts];
    const egressAllow = [env['TIDEGATE_EGRESS_ALLOW'] ?? '', ...samplesHosts].filter((host) => host !== '').join(',');
    const variables = {
      TIDEGATE_ADMIN_KEY: secrets.adminKey,
      TIDEGATE_MASTER_KEY: secrets.masterKey,
      TIDEGATE_EGRESS_ALLOW: egressAllow,
      TIDEGATE_EGRESS_PORTS: env['TIDEGATE_EGRESS_PORTS'] ?? '',
      // One thread serves them all here, and each object syncs its own file.
      TIDEGATE_LOCAL: '1',
      TIDEGATE_OIDC_ISSUER: env['TIDEGATE_OIDC_ISSUER'] ?? '',
      TIDEGATE_OIDC_AUDIENCE: env['TIDEGATE_OIDC_AUDIENCE'] ?? '',
      TIDEGATE_RUN_SHARDS: env['TIDEGATE_RUN_SHARDS'] ?? '1',
      TIDEGATE_URL: env['TIDEGATE_URL'] ?? `http://127.0.0.1:${port}`,
      TIDEGATE_TRUSTED_PROXIES: env['TIDEGATE_TRUSTED_PROXIES'] ?? '0',
      TIDEGATE_RETENTION_DAYS: env['TIDEGATE_RETENTION_DAYS'] ?? '',
    };
    const networks = await allowedNetworks(egressAllow, log);
    const worker = await startWorker({ build, stateDirectory, directory, host, port, variables, networks, log });
    return await open(worker, { ...secrets, directory, log, rates, root, unlock });
  } catch (error) {
    unlock();
    throw error;
  }
}

const serviceHosts = Object.values(SERVICE_PORTS).map((port) => `127.0.0.1:${port}`);

interface Opening {
  readonly adminKey: string;
  readonly adminKeyPlace: string;
  readonly directory: string;
  /** The upstream of a sample; undefined without samples. */
  readonly rates: Awaited<ReturnType<typeof startRates>> | undefined;
  readonly root: string;
  readonly log: (line: string) => void;
  readonly unlock: () => void;
}

async function open(worker: RunningWorker, opening: Opening): Promise<Gateway> {
  const { adminKey, adminKeyPlace, directory, rates, root, log } = opening;
  const { url } = worker;
  let isStopping = false;
  const runScheduled = async (): Promise<void> => {
    try {
      await worker.runScheduled();
    } catch (error) {
      if (!isStopping) log(`The scheduled sweep failed: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  // Finds the runs and schedules that the last process left unfinished, without waiting for a request.
  void runScheduled();
  const stopMinutes = everyMinute(runScheduled);
  const gateway = { url, adminKey, adminKeyPlace };
  const published =
    rates === undefined
      ? []
      : await publishSamples(join(root, 'templates'), gateway, log, placesOf(directory, rates.host));
  return {
    ...gateway,
    worker,
    samples: published,
    runScheduled,
    rebuild: async () => worker.replace(await buildWorker(root, log)),
    async stop() {
      isStopping = true;
      stopMinutes();
      await worker.stop();
      await rates?.stop();
      opening.unlock();
    },
  };
}

/** What the files of samples may name in braces. */
const placesOf = (directory: string, ratesHost: string): Readonly<Record<string, string>> => ({
  ratesUrl: `http://${ratesHost}`,
  stripeSecret: readSecret(directory, 'stripe-secret', makeWebhookSecret),
  stripeSecretFile: join(directory, 'stripe-secret'),
});

const bindingsSchema = v.object({ d1Databases: v.object({ DB: v.object({ id: v.string() }) }) });

export const databaseId = (bindings: unknown): string => v.parse(bindingsSchema, bindings).d1Databases.DB.id;
