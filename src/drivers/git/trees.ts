/**
 * Trees of files: listed, compared and edited without a working copy.
 *
 * Guarantee: at most `gitEntries` entries are looked at, however often trees hold one another.
 */

import { fault, FaultError, type Fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { Repository } from './repository.ts';

export interface Entry {
  readonly path: string;
  readonly id: string;
  readonly type: 'blob' | 'tree' | 'commit';
  /** `100644`, `100755` (executable), `120000` (symbolic link), `040000` (folder), `160000` (submodule). */
  readonly mode: string;
}

const tooMany = (): Fault => fault('upstream.too-large', `The trees have more than ${LIMITS.gitEntries} entries.`);

export class Trees {
  readonly #repository: Repository;
  #left: number = LIMITS.gitEntries;

  constructor(repository: Repository) {
    this.#repository = repository;
  }

  /** By name; empty for undefined. Names are looked up as own keys only, whatever the server calls a file. */
  async #read(id: string | undefined): Promise<Map<string, Entry>> {
    if (id === undefined) return new Map();
    const { git, at } = this.#repository;
    const { tree } = await git.readTree({ ...at, oid: id });
    this.#left -= tree.length;
    if (this.#left < 0) throw new FaultError(tooMany());
    return new Map(tree.map(({ path, oid, type, mode }) => [path, { path, id: oid, type, mode }]));
  }

  async find(tree: string, segments: readonly string[]): Promise<Entry | undefined> {
    let found: Entry | undefined = { path: '', id: tree, type: 'tree', mode: '040000' };
    for (const segment of segments) {
      if (found?.type !== 'tree') return undefined;
      found = (await this.#read(found.id)).get(segment);
    }
    return found;
  }

  /** Files and folders of a tree, by their paths from it on, in order. */
  async *list(tree: string, recursive: boolean, before = ''): AsyncGenerator<Entry> {
    for (const entry of (await this.#read(tree)).values()) {
      const path = `${before}${entry.path}`;
      if (entry.type === 'tree' && recursive) yield* this.list(entry.id, true, `${path}/`);
      else yield { ...entry, path };
    }
  }

  /** What differs, by path. A folder that is the same is not looked into. */
  async compare(from: string | undefined, to: string | undefined, before = ''): Promise<Difference[]> {
    const [old, now] = [await this.#read(from), await this.#read(to)];
    const found: Difference[] = [];
    for (const name of [...new Set([...old.keys(), ...now.keys()])].sort()) {
      const [was, is] = [old.get(name), now.get(name)];
      if (was?.id === is?.id && was?.mode === is?.mode) continue;
      const path = `${before}${name}`;
      const [wasTree, isTree] = [treeOf(was), treeOf(is)];
      if (wasTree !== isTree) found.push(...(await this.compare(wasTree, isTree, `${path}/`)));
      const [wasFile, isFile] = [fileOf(was), fileOf(is)];
      if (wasFile !== undefined || isFile !== undefined) found.push({ path, from: wasFile, to: isFile });
    }
    return found;
  }

  /**
   * The tree with the changes made, or undefined where nothing is left in it.
   * @throws FaultError `step.params` where a file would stand in a file, or in place of a folder
   */
  async edit(tree: string | undefined, changes: readonly Change[], before = ''): Promise<string | undefined> {
    const entries = await this.#read(tree);
    for (const [name, group] of groupBy(changes, ({ segments }) => segments[0] ?? '')) {
      const path = `${before}${name}`;
      const own = group.filter(({ segments }) => segments.length === 1);
      const inside = group.filter(({ segments }) => segments.length > 1);
      const found = entries.get(name);
      if (own.length > 1) throw new FaultError(fault('step.params', `files: ${path} is there twice.`));
      const [change] = own;
      if (change?.file !== undefined && (inside.length > 0 || treeOf(found) !== undefined)) {
        throw new FaultError(fault('step.params', `files: ${path} is a folder; it cannot be a file, too.`));
      }
      if (change?.file !== undefined) {
        const { id, isExecutable } = change.file;
        const wasExecutable = found?.mode === '100755';
        const mode = (isExecutable ?? wasExecutable) ? '100755' : '100644';
        entries.set(name, { path: name, id, type: 'blob', mode });
        continue;
      }
      if (change !== undefined) entries.delete(name);
      if (inside.length === 0) continue;
      if (change === undefined && fileOf(found) !== undefined && inside.some(({ file }) => file !== undefined)) {
        throw new FaultError(fault('step.params', `files: ${path} is a file; delete it before it becomes a folder.`));
      }
      if (change === undefined && fileOf(found) !== undefined) continue;
      const within = inside.map(({ segments, file }) => ({ segments: segments.slice(1), file }));
      const id = await this.edit(change === undefined ? treeOf(found) : undefined, within, `${path}/`);
      if (id === undefined) entries.delete(name);
      else entries.set(name, { path: name, id, type: 'tree', mode: '040000' });
    }
    if (entries.size === 0) return undefined;
    const { git, at } = this.#repository;
    return git.writeTree({ ...at, tree: [...entries.values()].map(({ id, ...entry }) => ({ ...entry, oid: id })) });
  }
}

export interface Difference {
  readonly path: string;
  /** The file before and after; undefined where there is none. */
  readonly from: Entry | undefined;
  readonly to: Entry | undefined;
}

export interface Change {
  readonly segments: readonly string[];
  /** Undefined: what is there, a file or a folder, is deleted. */
  readonly file: { readonly id: string; readonly isExecutable: boolean | undefined } | undefined;
}

const treeOf = (entry: Entry | undefined): string | undefined => (entry?.type === 'tree' ? entry.id : undefined);
const fileOf = (entry: Entry | undefined): Entry | undefined => (entry?.type === 'tree' ? undefined : entry);

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) groups.set(keyOf(item), [...(groups.get(keyOf(item)) ?? []), item]);
  return groups;
}
