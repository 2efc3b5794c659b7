/** Starts a gateway on this machine: secrets, migrations, workerd, sweep, clock. Used by `npm start`, tests and benches. */

import { join, resolve } from 'node:path';
import { createServer } from 'node:net';
import { buildGateway, ROOT } from './build.ts';
import { lockDirectory } from './lock.ts';
import { migrate } from './migrate.ts';
import { publishSamples, sampleLines, startRates } from './samples.ts';
import { makeAdminKey, makeMasterKey, makeWebhookSecret, secretFile } from './secrets.ts';
import { startWorker } from './worker.ts';

export interface LaunchOptions {
  readonly host?: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly dataDirectory: string;
  readonly samples?: boolean;
  /** Over the environment of the process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly log?: (line: string) => void;
}

export interface Gateway {
  readonly url: string;
  readonly adminKey: string;
  readonly adminKeyPath: string;
  readonly sampleLines: readonly string[];
  /** Runs the cron trigger now. */
  tick(): Promise<void>;
  stop(): Promise<void>;
}

const MINUTE_MILLISECONDS = 60_000;

/** Hosts of `npm run services`; see scripts/services.ts. */
export const SERVICE_HOSTS = ['127.0.0.1:8791', '127.0.0.1:8792', '127.0.0.1:8793'];

/** @throws Error when the port is taken, the folder in use, or the build fails */
export async function launch(options: LaunchOptions): Promise<Gateway> {
  const { host = '127.0.0.1', port, samples = false, log = console.error } = options;
  const env = { ...process.env, ...options.env };
  const directory = resolve(options.dataDirectory);
  await checkPort(host, port);
  const unlock = lockDirectory(directory);
  try {
    const admin = secretFile(directory, 'admin-key', makeAdminKey);
    const master = secretFile(directory, 'master-key', makeMasterKey);
    const stripe = samples ? secretFile(directory, 'stripe-secret', makeWebhookSecret) : undefined;
    const rates = samples ? await startRates() : undefined;
    const allowed = [env['TIDEGATE_EGRESS_ALLOW'] ?? '', ...(rates ? [rates.host, ...SERVICE_HOSTS] : [])];
    const adminKey = env['TIDEGATE_ADMIN_KEY'] || admin.value;
    const worker = await startWorker({
      configPath: join(ROOT, 'wrangler.toml'),
      scriptPath: buildGateway(),
      stateDirectory: join(directory, 'state'),
      host,
      port,
      variables: {
        TIDEGATE_ADMIN_KEY: adminKey,
        TIDEGATE_MASTER_KEY: env['TIDEGATE_MASTER_KEY'] || master.value,
        TIDEGATE_EGRESS_ALLOW: allowed.filter((entry) => entry !== '').join(','),
        // One thread serves all objects here, so more of them are slower than one.
        TIDEGATE_RUN_SHARDS: env['TIDEGATE_RUN_SHARDS'] || '1',
      },
      log,
    });
    await migrate(await worker.miniflare.getD1Database('DB'));
    const { scheduled } = await worker.miniflare.getWorker();
    const tick = async (): Promise<void> => {
      await scheduled({ cron: '* * * * *', scheduledTime: new Date() });
    };
    // The sweep at start takes up unfinished runs without waiting for a request.
    await tick();
    const clock = startClock(
      () => void tick().catch((thrown: unknown) => log(`the cron trigger failed: ${String(thrown)}`)),
    );
    if (rates && stripe) await publishSamples({ url: worker.url, adminKey }, rates.host, stripe.value);
    const files = { adminKeyPath: admin.path, stripeSecretPath: stripe?.path ?? '' };
    return {
      url: worker.url,
      adminKey,
      adminKeyPath: admin.path,
      sampleLines: samples ? sampleLines(worker.url, files) : [],
      tick,
      stop: async () => {
        clock.stop();
        rates?.close();
        await worker.stop();
        unlock();
      },
    };
  } catch (thrown) {
    unlock();
    throw thrown;
  }
}

async function checkPort(host: string, port: number): Promise<void> {
  const probe = createServer();
  await new Promise<void>((done, failed) => {
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return failed(error);
      return failed(new Error(`Port ${port} on ${host} is taken. Choose another: npm start -- --port ${port + 1}`));
    });
    probe.listen(port, host, () => probe.close(() => done()));
  });
}

/** Cron triggers never fire by themselves on this runtime: each full minute, as on Cloudflare. */
function startClock(tick: () => void): { stop(): void } {
  let timer: NodeJS.Timeout;
  const arm = (): void => {
    timer = setTimeout(
      () => {
        tick();
        arm();
      },
      MINUTE_MILLISECONDS - (Date.now() % MINUTE_MILLISECONDS),
    );
  };
  arm();
  return { stop: () => clearTimeout(timer) };
}
