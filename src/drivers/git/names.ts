/** Names that a repository may hold: references (git-check-ref-format) and paths of files. */

import { fail, ok, type Result } from '../../core/errors.ts';

export const COMMIT_ID = /^[0-9a-f]{40}$/;

const REF_CHARACTERS = 250;
const PATH_CHARACTERS = 1_024;
// eslint-disable-next-line no-control-regex
const FORBIDDEN_IN_REF = /[\u0000- ~^:?*[\\\u007f]|\.\.|@\{|\/\/|^[-/]|[/.]$|^@$/;

/** Whatever may be read: a branch, a tag, `HEAD`, a full reference or the id of a commit. */
export function refIssue(ref: string): string | undefined {
  const isName =
    ref !== '' &&
    ref.length <= REF_CHARACTERS &&
    !FORBIDDEN_IN_REF.test(ref) &&
    !ref.split('/').some((part) => part.startsWith('.') || part.endsWith('.lock'));
  return isName ? undefined : 'Must be the name of a branch or a tag, or the id of a commit.';
}

/** What may be made: no name that means something else already. */
export function newRefIssue(name: string): string | undefined {
  const isTaken = name === 'HEAD' || name.startsWith('refs/') || COMMIT_ID.test(name);
  return isTaken ? 'Must be the short name of a branch or a tag, e.g. main.' : refIssue(name);
}

/** Characters that some file systems ignore, so that `.g\u200cit` is `.git` there (CVE-2014-9390). */
const IGNORED = /[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g;
const GIT_FOLDER = /^(?:\.git|git~\d+)[. ]*(?::.*)?$/i;

/** The segments of a path of a file or folder. Fault `step.params`, with the path. */
export function segmentsOf(path: string): Result<readonly string[]> {
  const segments = path.split('/');
  const isOutside = segments.some(
    (segment) => segment === '' || segment === '.' || segment === '..' || GIT_FOLDER.test(segment.replace(IGNORED, '')),
  );
  if (isOutside || path.length > PATH_CHARACTERS || /[\p{Cc}\\]/u.test(path)) {
    return fail(
      'step.params',
      `The path "${path.slice(0, 100)}" cannot be in a repository: write it from the root, as src/app.ts.`,
    );
  }
  return ok(segments);
}
