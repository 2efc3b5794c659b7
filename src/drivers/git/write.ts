/**
 * What a step changes in a repository: commits, branches, tags.
 *
 * Guarantee: each is one push of one reference, all or nothing, that never throws away what somebody else has pushed;
 * and each may be made again: where it has been made already, nothing is pushed.
 */

import { fail, fault, FaultError, ok, type Result } from '../../core/errors.ts';
import type { Wire } from '../kit/exchange.ts';
import { segmentsOf } from './names.ts';
import { EMPTY, fetchTip } from './read.ts';
import { withRepository, type GitRemote, type Repository } from './repository.ts';
import { Trees, type Change } from './trees.ts';

export interface Author {
  readonly name: string;
  readonly email: string;
}

/** A file as it is to be, or, without `bytes`, not to be. */
export interface FileChange {
  readonly path: string;
  readonly bytes?: Uint8Array;
  readonly isExecutable?: boolean | undefined;
}

export interface Commit {
  readonly branch: string;
  /** Where the branch is made of, if there is none. */
  readonly from?: string | undefined;
  /** Only while the branch is at this commit. */
  readonly ifCommit?: string | undefined;
  readonly message: string;
  readonly author: Author;
  readonly files: readonly FileChange[];
}

/** Git keeps whole seconds. */
export const signature = ({ name, email }: Author, now: number) => ({
  name,
  email,
  timestamp: Math.floor(now / 1000),
  timezoneOffset: 0,
});

/** The commit that a branch is at, and whether there is such a branch; without a commit in an empty repository. */
async function startOf(
  repository: Repository,
  { branch, from }: Commit,
): Promise<{ readonly commit: string | undefined; readonly isNew: boolean }> {
  const ref = `refs/heads/${branch}`;
  const refs = await repository.refs();
  if (refs.length === 0) return { commit: undefined, isNew: true };
  const isNew = !refs.some((each) => each.ref === ref);
  if (isNew && from === undefined) {
    const message = `There is no branch ${branch}; say in \`from\` what to make it of.`;
    throw new FaultError(fault('upstream.rejected', message));
  }
  return { commit: await repository.fetch(isNew ? (from ?? '') : ref, 1), isNew };
}

async function changesOf({ git, at }: Repository, files: readonly FileChange[]): Promise<Result<readonly Change[]>> {
  const changes: Change[] = [];
  for (const { path, bytes, isExecutable } of files) {
    const segments = segmentsOf(path);
    if (!segments.ok) return segments;
    const file = bytes && { id: await git.writeBlob({ ...at, blob: bytes }), isExecutable };
    changes.push({ segments: segments.value, file });
  }
  return ok(changes);
}

/** Makes one commit and pushes it. `changed` is false where the branch had all of it. */
export const commitFiles = (
  remote: GitRemote,
  wire: Wire,
  commit: Commit,
): Promise<Result<{ readonly commit: string; readonly changed: boolean }>> =>
  withRepository(remote, wire, async (repository) => {
    const { git, at } = repository;
    const changes = await changesOf(repository, commit.files);
    if (!changes.ok) return changes;
    const start = await startOf(repository, commit);
    const found = start.commit === undefined ? undefined : await git.readCommit({ ...at, oid: start.commit });
    const before = found?.commit.tree;
    const edited = await new Trees(repository).edit(before, changes.value);
    const tree = edited ?? (await git.writeTree({ ...at, tree: [] }));
    const ref = `refs/heads/${commit.branch}`;
    if (commit.ifCommit !== undefined && (start.isNew || start.commit !== commit.ifCommit)) {
      // What an attempt whose answer was lost has left.
      const isDone = !start.isNew && tree === before && found?.commit.parent[0] === commit.ifCommit;
      if (isDone && start.commit !== undefined) return ok({ commit: start.commit, changed: true });
      const is = start.isNew ? 'is not there' : `is at ${start.commit}`;
      return fail('upstream.rejected', `The branch ${commit.branch} ${is}, not at ${commit.ifCommit}.`);
    }
    if (tree === before && start.commit !== undefined) {
      if (start.isNew) await repository.push(start.commit, ref);
      return ok({ commit: start.commit, changed: start.isNew });
    }
    const parent = start.commit === undefined ? [] : [start.commit];
    const author = signature(commit.author, wire.now());
    const made = await git.writeCommit({
      ...at,
      commit: { message: commit.message, tree, parent, author, committer: author },
    });
    await repository.push(made, ref);
    return ok({ commit: made, changed: true });
  });

/** Makes a branch at a reference. Fault `upstream.rejected` where one of that name is elsewhere. */
export const createBranch = (
  remote: GitRemote,
  wire: Wire,
  branch: string,
  from: string,
): Promise<Result<{ readonly commit: string; readonly created: boolean }>> =>
  withRepository(remote, wire, async (repository) => {
    const tip = await fetchTip(repository, from);
    if (!tip.ok) return tip;
    const { commit } = tip.value;
    const ref = `refs/heads/${branch}`;
    const found = (await repository.refs(ref)).find((each) => each.ref === ref);
    if (found !== undefined && found.id !== commit) {
      return fail('upstream.rejected', `There is a branch ${branch} already, at ${found.id}.`);
    }
    if (found === undefined) await repository.push(commit, ref);
    return ok({ commit, created: found === undefined });
  });

export interface Tag {
  readonly tag: string;
  readonly ref: string;
  /** Makes an annotated tag. */
  readonly message?: string | undefined;
  readonly tagger?: Author | undefined;
}

/** Tags a commit. Fault `upstream.rejected` where there is a tag of that name on another. */
export const createTag = (
  remote: GitRemote,
  wire: Wire,
  { tag, ref: target, message, tagger }: Tag,
): Promise<Result<{ readonly commit: string; readonly created: boolean }>> =>
  withRepository(remote, wire, async (repository): Promise<Result<{ commit: string; created: boolean }>> => {
    const { git, at } = repository;
    const commit = await repository.fetch(target, 1);
    if (commit === undefined) return { ok: false, fault: EMPTY };
    const ref = `refs/tags/${tag}`;
    const found = (await repository.refs(ref)).find((each) => each.ref === ref);
    if (found !== undefined && (found.peeled ?? found.id) !== commit) {
      return fail('upstream.rejected', `There is a tag ${tag} already, on another commit.`);
    }
    if (found !== undefined) return ok({ commit, created: false });
    const isAnnotated = message !== undefined && tagger !== undefined;
    const id = isAnnotated
      ? await git.writeTag({
          ...at,
          tag: { object: commit, type: 'commit', tag, tagger: signature(tagger, wire.now()), message },
        })
      : commit;
    await repository.push(id, ref);
    return ok({ commit, created: true });
  });
