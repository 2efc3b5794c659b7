/**
 * One branch merged into another, by three sides: theirs, ours, and what both came from.
 *
 * A conflict is no fault but a result: nothing is pushed, and each path comes with its sides. Accepted weakness: a
 * rename is a deletion and an addition, and histories with more than one common ancestor are not merged.
 */

import { fail, ok, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { LIMITS } from '../../core/limits.ts';
import type { Wire } from '../kit/exchange.ts';
import { fetchTip } from './read.ts';
import { withRepository, type GitRemote, type Repository } from './repository.ts';
import { Trees, type Difference, type Entry } from './trees.ts';
import { signature, type Author } from './write.ts';

export interface Merge {
  readonly into: string;
  readonly from: string;
  readonly message: string;
  readonly author: Author;
}

interface Side {
  readonly id: string;
  /** Left out where it is no text, or larger than `gitConflictBytes`. */
  readonly text?: string;
}

export interface Conflict {
  readonly path: string;
  /** What both came from, the branch merged into, and the one merged; null where there is no such file. */
  readonly base: Side | null;
  readonly ours: Side | null;
  readonly theirs: Side | null;
}

export type Merged =
  | { readonly merged: true; readonly commit: string; readonly how: 'merge' | 'fast-forward' | 'nothing-new' }
  | { readonly merged: false; readonly commit: string; readonly conflicts: readonly Conflict[] };

export const mergeBranches = (remote: GitRemote, wire: Wire, merge: Merge): Promise<Result<Merged>> =>
  withRepository(remote, wire, async (repository): Promise<Result<Merged>> => {
    const { git, at } = repository;
    const intoRef = `refs/heads/${merge.into}`;
    const ours = await fetchTip(repository, intoRef, null);
    if (!ours.ok) return ours;
    const theirs = await fetchTip(repository, merge.from, null);
    if (!theirs.ok) return theirs;
    const bases: string[] = await git.findMergeBase({ ...at, oids: [ours.value.commit, theirs.value.commit] });
    const [base] = bases;
    const commit = ours.value.commit;
    if (base === undefined) return fail('upstream.rejected', `${merge.into} and ${merge.from} share no history.`);
    if (base === theirs.value.commit) return ok({ merged: true, commit, how: 'nothing-new' });
    if (base === commit) {
      await repository.push(theirs.value.commit, intoRef);
      return ok({ merged: true, commit: theirs.value.commit, how: 'fast-forward' });
    }
    const both = await changedByBoth(repository, base, ours.value.tree, theirs.value.tree);
    const unmergeable = await onlyBinary(repository, both);
    const paths = unmergeable.length > 0 ? unmergeable : undefined;
    const made =
      paths === undefined ? await tryMerge(repository, commit, theirs.value.commit, merge, wire.now()) : paths;
    if (typeof made === 'string') {
      await repository.push(made, intoRef);
      return ok({ merged: true, commit: made, how: 'merge' });
    }
    const conflicts: Conflict[] = [];
    for (const path of made) conflicts.push(await conflictOf(repository, path, both.get(path)));
    return ok({ merged: false, commit, conflicts });
  });

/** A path that both sides changed. */
interface Both {
  readonly base: Entry | undefined;
  readonly ours: Entry | undefined;
  readonly theirs: Entry | undefined;
}

async function changedByBoth(
  repository: Repository,
  base: string,
  ours: string,
  theirs: string,
): Promise<Map<string, Both>> {
  const { commit } = await repository.git.readCommit({ ...repository.at, oid: base });
  const trees = new Trees(repository);
  const byPath = (differences: readonly Difference[]) => new Map(differences.map((each) => [each.path, each]));
  const [mine, other] = [
    byPath(await trees.compare(commit.tree, ours)),
    byPath(await trees.compare(commit.tree, theirs)),
  ];
  const both = new Map<string, Both>();
  for (const [path, { from, to }] of mine) {
    const theirChange = other.get(path);
    if (theirChange !== undefined && theirChange.to?.id !== to?.id) {
      both.set(path, { base: from, ours: to, theirs: theirChange.to });
    }
  }
  return both;
}

/** The library merges whatever it is given line by line, which ruins what is no text. */
async function onlyBinary(repository: Repository, both: ReadonlyMap<string, Both>): Promise<string[]> {
  const found: string[] = [];
  for (const [path, { base, ours, theirs }] of both) {
    for (const entry of [base, ours, theirs]) {
      if (entry === undefined) continue;
      if (entry.mode === '100644' || entry.mode === '100755') {
        const { blob } = await repository.git.readBlob({ ...repository.at, oid: entry.id });
        if (textOf(blob) !== undefined) continue;
      }
      found.push(path);
      break;
    }
  }
  return found;
}

/** The id of the merge commit, or the paths in conflict. */
async function tryMerge(
  { git, at }: Repository,
  ours: string,
  theirs: string,
  { message, author }: Merge,
  now: number,
): Promise<string | readonly string[]> {
  const [ourRef, theirRef] = ['refs/heads/ours', 'refs/heads/theirs'];
  await git.writeRef({ ...at, ref: ourRef, value: ours, force: true });
  await git.writeRef({ ...at, ref: theirRef, value: theirs, force: true });
  const person = signature(author, now);
  try {
    const { oid } = await git.merge({
      ...at,
      ours: ourRef,
      theirs: theirRef,
      message,
      author: person,
      committer: person,
      abortOnConflict: true,
    });
    if (oid === undefined) throw new Error('a merge without a commit');
    return oid;
  } catch (thrown) {
    if (!(thrown instanceof git.Errors.MergeConflictError)) throw thrown;
    const data: unknown = thrown.data;
    const paths: unknown = isObject(data) ? data['filepaths'] : undefined;
    if (!Array.isArray(paths)) throw thrown;
    return paths.map(String);
  }
}

async function conflictOf(repository: Repository, path: string, both: Both | undefined): Promise<Conflict> {
  const side = async (entry: Entry | undefined): Promise<Side | null> => {
    if (entry === undefined) return null;
    if (entry.type !== 'blob') return { id: entry.id };
    const { blob } = await repository.git.readBlob({ ...repository.at, oid: entry.id });
    const text = blob.byteLength > LIMITS.gitConflictBytes ? undefined : textOf(blob);
    return { id: entry.id, ...(text !== undefined && { text }) };
  };
  return { path, base: await side(both?.base), ours: await side(both?.ours), theirs: await side(both?.theirs) };
}

/** Undefined for what is no text, as Git itself tells it: by a NUL, and here by what is no UTF-8. */
function textOf(bytes: Uint8Array): string | undefined {
  if (bytes.includes(0)) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
}
