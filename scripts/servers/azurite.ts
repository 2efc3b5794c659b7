/** Microsoft's own emulator of Azure Blob Storage; it checks Shared Key and SAS. It keeps all in memory. */

import { spawn } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { printed, stopProcess, type Running } from './process.ts';

export interface AzuriteServer extends Running {
  readonly endpoint: string;
  readonly account: string;
  readonly accountKey: string;
  createContainer(name: string): Promise<void>;
}

const require = createRequire(import.meta.url);
const ACCOUNT = 'tidegate';
const VERSION = '2021-12-02';

export async function start(): Promise<AzuriteServer> {
  const accountKey = randomBytes(32).toString('base64');
  const program = join(dirname(require.resolve('azurite/package.json')), 'dist/src/blob/main.js');
  const options = ['--inMemoryPersistence', '--disableTelemetry', '--blobHost', '127.0.0.1', '--blobPort', '0'];
  const child = spawn(process.execPath, [program, ...options], {
    env: { ...process.env, AZURITE_ACCOUNTS: `${ACCOUNT}:${accountKey}` },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const ready = await printed(child, /successfully listens on (http:\/\/127\.0\.0\.1:\d+)/);
  const endpoint = `${ready[1]}/${ACCOUNT}`;
  return {
    endpoint,
    account: ACCOUNT,
    accountKey,
    createContainer: async (name) => {
      const date = new Date().toUTCString();
      const headers = `x-ms-date:${date}\nx-ms-version:${VERSION}\n/${ACCOUNT}/${ACCOUNT}/${name}\nrestype:container`;
      const signature = createHmac('sha256', Buffer.from(accountKey, 'base64'));
      const authorization = signature.update(`PUT${'\n'.repeat(12)}${headers}`).digest('base64');
      const response = await fetch(`${endpoint}/${name}?restype=container`, {
        method: 'PUT',
        headers: {
          authorization: `SharedKey ${ACCOUNT}:${authorization}`,
          'x-ms-date': date,
          'x-ms-version': VERSION,
        },
      });
      if (!response.ok) throw new Error(`The container ${name} was not made: ${await response.text()}`);
    },
    stop: () => stopProcess(child, 'SIGKILL'),
  };
}
