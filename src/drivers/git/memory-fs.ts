/**
 * The part of Node's file system that isomorphic-git asks for, in memory: a repository lives for one step.
 *
 * Guarantee: no path of a repository is a path of the machine; a pack that unpacks to too much is refused before it
 * is read; after the signal has aborted nothing is read or written.
 */

import { Buffer } from 'node:buffer';
import { packFault } from './pack.ts';
import { FaultError, type Fault } from '../../core/errors.ts';

type Encoding = 'utf8' | { readonly encoding?: string } | undefined;

const missing = (path: string): Error => Object.assign(new Error(`${path} is not there`), { code: 'ENOENT' });

export class MemoryFs {
  readonly #signal: AbortSignal | undefined;
  readonly #files = new Map<string, Buffer>();
  readonly #folders = new Set(['/']);
  /** Kept, since the library tries a write that failed once more. */
  #refused: Fault | undefined;
  /** The library looks for this name, and takes its functions off it. */
  readonly promises: Pick<
    MemoryFs,
    'readFile' | 'writeFile' | 'mkdir' | 'rmdir' | 'unlink' | 'stat' | 'lstat' | 'readdir' | 'readlink' | 'symlink'
  > = this;

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  #check(): void {
    this.#signal?.throwIfAborted();
    if (this.#refused !== undefined) throw new FaultError(this.#refused);
  }

  async readFile(path: string, encoding?: Encoding): Promise<Buffer | string> {
    this.#check();
    const found = this.#files.get(path);
    if (found === undefined) throw missing(path);
    const isText = encoding === 'utf8' || (typeof encoding === 'object' && encoding.encoding === 'utf8');
    return isText ? found.toString() : found;
  }

  async writeFile(path: string, content: string | Uint8Array): Promise<void> {
    this.#check();
    const bytes = Buffer.from(content as Uint8Array);
    if (path.endsWith('.pack')) {
      this.#refused = packFault(bytes);
      this.#check();
    }
    this.#files.set(path, bytes);
    for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
      this.#folders.add(path.slice(0, end));
    }
  }

  async mkdir(path: string): Promise<void> {
    this.#folders.add(path);
  }

  async rmdir(path: string): Promise<void> {
    this.#folders.delete(path);
  }

  async unlink(path: string): Promise<void> {
    if (!this.#files.delete(path)) throw missing(path);
  }

  async stat(path: string): Promise<object> {
    this.#check();
    const file = this.#files.get(path);
    if (file === undefined && !this.#folders.has(path)) throw missing(path);
    const isFile = file !== undefined;
    return {
      size: file?.byteLength ?? 0,
      mode: isFile ? 0o100644 : 0o40000,
      mtimeMs: 0,
      ctimeMs: 0,
      isFile: () => isFile,
      isDirectory: () => !isFile,
      isSymbolicLink: () => false,
    };
  }

  lstat(path: string): Promise<object> {
    return this.stat(path);
  }

  async readdir(path: string): Promise<string[]> {
    this.#check();
    if (!this.#folders.has(path)) throw missing(path);
    const before = path === '/' ? path : `${path}/`;
    const inside = [...this.#files.keys(), ...this.#folders].filter((name) => name.startsWith(before) && name !== path);
    return [...new Set(inside.map((name) => name.slice(before.length).split('/')[0] ?? ''))];
  }

  async readlink(path: string): Promise<never> {
    throw missing(path);
  }

  async symlink(path: string): Promise<never> {
    throw missing(path);
  }
}
