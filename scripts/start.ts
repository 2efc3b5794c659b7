/** `npm start [-- --port 8787 --host 127.0.0.1 --data .tidegate --no-samples --watch]` */

import { watch } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from './launcher/build.ts';
import { launch, type Gateway } from './launcher/launch.ts';

const USAGE = 'Usage: npm start -- [--port 8787] [--host 127.0.0.1] [--data .tidegate] [--no-samples]';

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: 'string', default: '8787' },
        host: { type: 'string', default: '127.0.0.1' },
        data: { type: 'string', default: '.tidegate' },
        samples: { type: 'boolean', default: true },
        watch: { type: 'boolean', default: false },
      },
      allowNegative: true,
    });
    const port = Number(values.port);
    if (!Number.isInteger(port) || port < 0 || port > 65_535)
      throw new Error(`--port takes 0 to 65535, not ${values.port}.`);
    return { port, host: values.host, dataDirectory: values.data, samples: values.samples, watch: values.watch };
  } catch (thrown) {
    return exit(`${messageOf(thrown)}\n${USAGE}`);
  }
}

const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown));

function exit(message: string): never {
  console.error(message);
  process.exit(1);
}

const options = readOptions();
let gateway: Gateway = await launch(options).catch((thrown: unknown) => exit(messageOf(thrown)));
console.log(`Tidegate answers at ${gateway.url}\n`);
for (const line of gateway.sampleLines) console.log(line);
console.log(`\nAdmin key of the management API (${gateway.url}/_/api/v1): ${gateway.adminKeyPath}`);

let stopping = false;
async function stop(): Promise<void> {
  if (stopping) return;
  stopping = true;
  await gateway.stop();
  process.exit(0);
}
process.on('SIGTERM', () => void stop());
process.on('SIGINT', () => void stop());

if (options.watch) {
  let changed: NodeJS.Timeout | undefined;
  watch(join(ROOT, 'src'), { recursive: true }, () => {
    clearTimeout(changed);
    changed = setTimeout(() => void restart(), 200);
  });
}

/** A build that fails leaves the gateway stopped until the next change, with the reason shown. */
async function restart(): Promise<void> {
  try {
    await gateway.stop();
    gateway = await launch(options);
    console.log('Reloaded.');
  } catch (thrown) {
    console.error(messageOf(thrown));
  }
}
