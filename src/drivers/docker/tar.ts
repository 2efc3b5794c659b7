/** An archive of files (POSIX.1-1988 `ustar`) as the context of a build. */

import { joinChunks } from '../../core/bytes.ts';
import { fail, ok, type Result } from '../../core/errors.ts';

export interface TarFile {
  /** From the root of the archive on, with `/`. */
  readonly path: string;
  readonly bytes: Uint8Array;
  readonly isExecutable: boolean;
}

const BLOCK_BYTES = 512;
const NAME_BYTES = 100;
const PREFIX_BYTES = 155;

/** Fault `step.params` for a path that leaves the archive, or that its header cannot hold. */
export function tarOf(files: readonly TarFile[]): Result<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for (const { path, bytes, isExecutable } of files) {
    const isInside = path.split('/').every((segment) => segment !== '' && segment !== '.' && segment !== '..');
    const name = isInside && !/[\p{Cc}\\]/u.test(path) ? splitName(path) : undefined;
    if (name === undefined) {
      return fail('step.params', `The path "${path.slice(0, 100)}" cannot be in an archive: write it as src/app.ts.`);
    }
    chunks.push(headerOf(name, bytes.byteLength, isExecutable ? '755' : '644'), bytes);
    chunks.push(new Uint8Array((BLOCK_BYTES - (bytes.byteLength % BLOCK_BYTES)) % BLOCK_BYTES));
  }
  return ok(joinChunks([...chunks, new Uint8Array(2 * BLOCK_BYTES)]));
}

/** The header holds a long path in two parts, cut at a `/`. */
function splitName(path: string): readonly [prefix: Uint8Array, name: Uint8Array] | undefined {
  const encoder = new TextEncoder();
  const whole = encoder.encode(path);
  if (whole.byteLength <= NAME_BYTES) return [new Uint8Array(0), whole];
  for (let cut = path.indexOf('/'); cut >= 0; cut = path.indexOf('/', cut + 1)) {
    const [prefix, name] = [encoder.encode(path.slice(0, cut)), encoder.encode(path.slice(cut + 1))];
    if (prefix.byteLength <= PREFIX_BYTES && name.byteLength <= NAME_BYTES) return [prefix, name];
  }
  return undefined;
}

function headerOf([prefix, name]: readonly [Uint8Array, Uint8Array], sizeBytes: number, mode: string): Uint8Array {
  const header = new Uint8Array(BLOCK_BYTES);
  const put = (at: number, text: string): void => header.set(new TextEncoder().encode(text), at);
  header.set(name, 0);
  put(100, mode.padStart(7, '0'));
  put(108, '0000000');
  put(116, '0000000');
  put(124, sizeBytes.toString(8).padStart(11, '0'));
  // Always the same, so that the same files are the same layer to the cache of a build.
  put(136, '00000000000');
  put(148, ' '.repeat(8));
  put(156, '0');
  put(257, 'ustar\x0000');
  header.set(prefix, 345);
  put(
    148,
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
  );
  return header;
}
