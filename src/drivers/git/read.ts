/** What a step reads of a repository: files, lists of them, history, differences. */

import type { ReadCommitResult } from 'isomorphic-git';
import { fail, fault, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { Wire } from '../kit/exchange.ts';
import { segmentsOf } from './names.ts';
import { withRepository, type GitRemote, type Repository } from './repository.ts';
import { Trees, type Entry } from './trees.ts';

export const EMPTY = fault('upstream.rejected', 'The repository is empty: it has no commit yet.');

/** The newest commit of a reference, and its tree. */
export async function fetchTip(
  repository: Repository,
  ref: string,
  depth: number | null = 1,
): Promise<Result<{ readonly commit: string; readonly tree: string }>> {
  const commit = await repository.fetch(ref, depth);
  if (commit === undefined) return { ok: false, fault: EMPTY };
  const found = await repository.git.readCommit({ ...repository.at, oid: commit });
  return ok({ commit, tree: found.commit.tree });
}

interface ReadFile {
  readonly path: string;
  readonly mode: string;
  readonly bytes: Uint8Array;
}

export interface ReadFiles {
  readonly commit: string;
  readonly files: readonly ReadFile[];
  /** Paths that are no file there. */
  readonly missing: readonly string[];
}

export const readFiles = (
  remote: GitRemote,
  wire: Wire,
  ref: string,
  paths: readonly string[],
): Promise<Result<ReadFiles>> =>
  withRepository(remote, wire, async (repository) => {
    const wanted: [string, readonly string[]][] = [];
    for (const path of paths) {
      const segments = segmentsOf(path);
      if (!segments.ok) return segments;
      wanted.push([path, segments.value]);
    }
    const tip = await fetchTip(repository, ref);
    if (!tip.ok) return tip;
    const trees = new Trees(repository);
    const files: ReadFile[] = [];
    const missing: string[] = [];
    let leftBytes = LIMITS.responseBodyBytes;
    for (const [path, segments] of wanted) {
      const entry = await trees.find(tip.value.tree, segments);
      if (entry?.type !== 'blob') {
        missing.push(path);
        continue;
      }
      const { blob } = await repository.git.readBlob({ ...repository.at, oid: entry.id });
      leftBytes -= blob.byteLength;
      if (leftBytes < 0) {
        return fail('upstream.too-large', `The files have more than ${LIMITS.responseBodyBytes} bytes together.`);
      }
      files.push({ path, mode: entry.mode, bytes: blob });
    }
    return ok({ commit: tip.value.commit, files, missing });
  });

export interface FileList {
  readonly commit: string;
  readonly entries: readonly Entry[];
}

/** @param folder undefined for the root */
export const listFiles = (
  remote: GitRemote,
  wire: Wire,
  ref: string,
  folder: string | undefined,
  recursive: boolean,
): Promise<Result<FileList>> =>
  withRepository(remote, wire, async (repository) => {
    const segments = folder === undefined ? ok([]) : segmentsOf(folder);
    if (!segments.ok) return segments;
    const tip = await fetchTip(repository, ref);
    if (!tip.ok) return tip;
    const trees = new Trees(repository);
    const root = await trees.find(tip.value.tree, segments.value);
    if (root?.type !== 'tree') return fail('upstream.rejected', `There is no folder "${folder}" at ${ref}.`);
    const entries: Entry[] = [];
    const before = folder === undefined ? '' : `${folder}/`;
    for await (const entry of trees.list(root.id, recursive, before)) entries.push(entry);
    return ok({ commit: tip.value.commit, entries });
  });

const personOf = ({ name, email, timestamp }: ReadCommitResult['commit']['author']) => ({
  name,
  email,
  at: isoOf(timestamp),
});

/** Undefined for what is no time: whoever makes a commit may write what he likes. */
const isoOf = (seconds: number): string | undefined => {
  const at = new Date(seconds * 1000);
  return Number.isNaN(at.getTime()) ? undefined : at.toISOString();
};

/** The newest commits of a reference, the newest first. */
export const readLog = (remote: GitRemote, wire: Wire, ref: string, limit: number) =>
  withRepository(remote, wire, async (repository) => {
    const tip = await fetchTip(repository, ref, limit);
    if (!tip.ok) return tip;
    const log = await repository.git.log({ ...repository.at, ref: tip.value.commit, depth: limit });
    return ok(
      log.map(({ oid, commit: { message, parent, author, committer } }) => ({
        commit: oid,
        message,
        parents: parent,
        author: personOf(author),
        committer: personOf(committer),
      })),
    );
  });

export interface Compared {
  readonly from: string;
  readonly to: string;
  readonly changes: readonly { readonly path: string; readonly change: 'added' | 'modified' | 'deleted' }[];
}

/** The paths that differ between two references, whatever lies between them. A rename is a deletion and an addition. */
export const compareRefs = (remote: GitRemote, wire: Wire, from: string, to: string): Promise<Result<Compared>> =>
  withRepository(remote, wire, async (repository) => {
    const old = await fetchTip(repository, from);
    if (!old.ok) return old;
    const now = await fetchTip(repository, to);
    if (!now.ok) return now;
    const differences = await new Trees(repository).compare(old.value.tree, now.value.tree);
    const changes = differences.map((each) => ({
      path: each.path,
      change:
        each.from === undefined
          ? ('added' as const)
          : each.to === undefined
            ? ('deleted' as const)
            : ('modified' as const),
    }));
    return ok({ from: old.value.commit, to: now.value.commit, changes });
  });
