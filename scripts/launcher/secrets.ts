/**
 * The two secrets of a gateway on one machine. The first start makes them at random, in files that only
 * their owner can read; an environment variable wins over its file.
 */

import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LaunchProblem } from './problem.ts';

export interface Secrets {
  readonly adminKey: string;
  /** Where the admin key can be read: a file, or the name of a variable. */
  readonly adminKeyPlace: string;
  /** `1:<base64 of 32 bytes>`. */
  readonly masterKey: string;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Makes the folder too, for its owner only. */
export function readSecrets(directory: string, environment: Environment): Secrets {
  if (mkdirSync(directory, { recursive: true, mode: 0o700 }) !== undefined) chmodSync(directory, 0o700);
  const adminKeyPath = join(directory, 'admin-key');
  const { TIDEGATE_ADMIN_KEY: adminKey, TIDEGATE_MASTER_KEY: masterKey } = environment;
  return {
    adminKey: given(adminKey) ?? fromFile(adminKeyPath, () => randomBytes(32).toString('base64url')),
    adminKeyPlace: given(adminKey) === undefined ? adminKeyPath : 'TIDEGATE_ADMIN_KEY',
    masterKey:
      given(masterKey) ?? fromFile(join(directory, 'master-key'), () => `1:${randomBytes(32).toString('base64')}`),
  };
}

/** A further secret, for the samples. */
export const readSecret = (directory: string, name: string, make: () => string): string =>
  fromFile(join(directory, name), make);

export const makeWebhookSecret = (): string => `whsec_${randomBytes(24).toString('base64url')}`;

const given = (value: string | undefined): string | undefined => (value === '' ? undefined : value);

function fromFile(path: string, make: () => string): string {
  try {
    writeFileSync(path, `${make()}\n`, { mode: 0o600, flag: 'wx' });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
  if ((statSync(path).mode & 0o077) !== 0 && process.platform !== 'win32') {
    throw new LaunchProblem(`${path} holds a secret and can be read by others. Run: chmod 600 '${path}'`);
  }
  const secret = readFileSync(path, 'utf8').trim();
  if (secret === '')
    throw new LaunchProblem(`${path} is empty. Restore it from a backup, or remove it to get a new one.`);
  return secret;
}
