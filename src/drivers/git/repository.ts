/** A repository for the time of one step: what is fetched of it, and pushed to it, in memory. */

import type * as Library from 'isomorphic-git';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { Wire } from '../kit/exchange.ts';
import { gitFault } from './faults.ts';
import { MemoryFs } from './memory-fs.ts';
import { createTransport, type GitRemote } from './transport.ts';

export type { GitRemote } from './transport.ts';

/** Where the repository is in the file system in memory. */
const FOLDER = '/repository';
/** What the server is told that we have. */
const HAVE = 'refs/tidegate/have';
const PUSHED = 'refs/tidegate/pushed';

interface ServerRef {
  readonly ref: string;
  readonly id: string;
  /** The commit behind an annotated tag. */
  readonly peeled?: string | undefined;
  /** Of `HEAD`: the branch that it is. */
  readonly target?: string | undefined;
}

export class Repository {
  readonly git: typeof Library;
  /** What every function of the library takes first. */
  readonly at: { readonly fs: MemoryFs; readonly gitdir: string; readonly cache: object };
  readonly #remote: GitRemote;
  readonly #http: Library.HttpClient;

  constructor(git: typeof Library, remote: GitRemote, wire: Wire) {
    this.git = git;
    this.#remote = remote;
    this.#http = createTransport(remote, wire);
    this.at = { fs: new MemoryFs(wire.signal), gitdir: FOLDER, cache: {} };
  }

  /** All names whose full form begins with the prefix. One request or two; nothing is fetched. */
  async refs(prefix?: string): Promise<readonly ServerRef[]> {
    const found = await this.git.listServerRefs({
      http: this.#http,
      url: this.#remote.url,
      symrefs: true,
      peelTags: true,
      ...(prefix !== undefined && { prefix }),
    });
    return found.map(({ ref, oid, peeled, target }) => ({ ref, id: oid, peeled, target }));
  }

  /**
   * Fetches a reference or a commit; undefined where the repository is empty.
   *
   * @param depth how many commits of its history; null: all
   * @returns the id of the commit
   */
  async fetch(ref: string, depth: number | null): Promise<string | undefined> {
    const { fetchHead } = await this.git.fetch({
      ...this.at,
      http: this.#http,
      url: this.#remote.url,
      remote: 'origin',
      ref: HAVE,
      remoteRef: ref,
      singleBranch: true,
      tags: false,
      ...(depth !== null && { depth }),
    });
    if (fetchHead === null) return undefined;
    // So that a second fetch brings only what the first did not.
    await this.git.writeRef({ ...this.at, ref: HAVE, value: fetchHead, force: true });
    return (await this.git.readCommit({ ...this.at, oid: fetchHead })).oid;
  }

  /** Makes the full reference point to the object, never backwards or sideways. */
  async push(id: string, ref: string): Promise<void> {
    await this.git.writeRef({ ...this.at, ref: PUSHED, value: id, force: true });
    await this.git.push({
      ...this.at,
      http: this.#http,
      url: this.#remote.url,
      remote: 'origin',
      ref: PUSHED,
      remoteRef: ref,
    });
  }
}

/** Runs `work` on a repository, and turns whatever it throws into a fault. */
export async function withRepository<T>(
  remote: GitRemote,
  wire: Wire,
  work: (repository: Repository) => Promise<Result<T>>,
): Promise<Result<T>> {
  try {
    // Heavy, and evaluated only where a chain uses it.
    const git = await import('isomorphic-git');
    const repository = new Repository(git, remote, wire);
    await git.init({ ...repository.at, bare: true, dir: FOLDER });
    const tracked = '+refs/heads/*:refs/remotes/origin/*';
    await git.setConfig({ ...repository.at, path: 'remote.origin.fetch', value: tracked });
    return await work(repository);
  } catch (thrown) {
    return { ok: false, fault: gitFault(thrown, wire.signal) };
  }
}

export interface Refs {
  readonly defaultBranch: string | undefined;
  readonly branches: readonly { readonly name: string; readonly commit: string }[];
  readonly tags: readonly { readonly name: string; readonly commit: string }[];
}

/** Faults also `upstream.too-large` for more than `gitRefs` names. */
export const listRefs = (remote: GitRemote, wire: Wire): Promise<Result<Refs>> =>
  withRepository(remote, wire, async (repository) => {
    const refs = await repository.refs();
    if (refs.length > LIMITS.gitRefs) {
      return fail('upstream.too-large', `The repository has more than ${LIMITS.gitRefs} branches and tags.`);
    }
    const below = (prefix: string) =>
      refs
        .filter(({ ref }) => ref.startsWith(prefix))
        .map(({ ref, id, peeled }) => ({ name: ref.slice(prefix.length), commit: peeled ?? id }));
    const head = refs.find(({ ref }) => ref === 'HEAD');
    return ok({
      defaultBranch: head?.target?.replace('refs/heads/', ''),
      branches: below('refs/heads/'),
      tags: below('refs/tags/'),
    });
  });
