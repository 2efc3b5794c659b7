/** Secrets of a gateway on one machine: made at the first start, each in a file that only its owner may read. */

import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const OTHERS_MAY_READ = 0o077;

/** @throws Error when the file is readable by others */
export function secretFile(directory: string, name: string, make: () => string): { path: string; value: string } {
  const path = join(directory, name);
  if (!existsSync(path)) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeFileSync(path, `${make()}\n`, { mode: 0o600 });
  }
  if ((statSync(path).mode & OTHERS_MAY_READ) !== 0) {
    throw new Error(`${path} holds a secret and others may read it. Run: chmod 600 ${path}`);
  }
  return { path, value: readFileSync(path, 'utf8').trim() };
}

export const makeAdminKey = (): string => `tga_${randomBytes(32).toString('base64url')}`;
export const makeMasterKey = (): string => `1:${randomBytes(32).toString('base64')}`;
export const makeWebhookSecret = (): string => `whsec_${randomBytes(24).toString('base64')}`;
