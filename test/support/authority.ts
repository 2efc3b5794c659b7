/** An authority of its own for one test, which nobody trusts who is not told to, and a certificate for `localhost` by it. */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ensurePackage, findProgram } from '../../scripts/servers/packages.ts';

export interface Authority {
  /** Of its own certificate in PEM. */
  readonly path: string;
  /** Paths of a certificate and its key in PEM; good for the name `localhost`, and for no address. */
  readonly certificate: { readonly path: string; readonly keyPath: string };
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

/** @param folder an empty one, which keeps the keys */
export async function makeAuthority(folder: string): Promise<Authority> {
  const { env } = await ensurePackage('openssl', async (at) => (await findProgram('openssl', at)) !== undefined);
  const make = async (name: string, ...more: readonly string[]): Promise<{ path: string; keyPath: string }> => {
    const made = { path: join(folder, `${name}.pem`), keyPath: join(folder, `${name}-key.pem`) };
    const files = ['-keyout', made.keyPath, '-out', made.path];
    await promisify(execFile)('openssl', ['req', '-x509', '-days', '2', ...NEW_KEY, ...files, ...more], { env });
    return made;
  };
  const extensions = (...each: readonly string[]): string[] => each.flatMap((text) => ['-addext', text]);
  const { path, keyPath } = await make(
    'authority',
    ...['-subj', '/CN=Authority of a test'],
    ...extensions('keyUsage=critical,keyCertSign'),
  );
  const certificate = await make(
    'localhost',
    ...['-subj', '/CN=localhost', '-CA', path, '-CAkey', keyPath],
    ...extensions('basicConstraints=critical,CA:FALSE', 'subjectAltName=DNS:localhost', 'extendedKeyUsage=serverAuth'),
  );
  return { path, certificate };
}
