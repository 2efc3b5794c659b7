/** What the actions of `git` take. */

import * as v from 'valibot';
import { endpoint, text } from '../kit/object-schemas.ts';
import { LIMITS } from '../../core/limits.ts';
import { COMMIT_ID, newRefIssue, refIssue } from '../../drivers/git/names.ts';

/** A line break or an angle bracket would end the line of the author in a commit, and begin another. */
const line = v.pipe(
  v.string(),
  v.regex(/^[^<>\p{Cc}]*[^<>\p{Cc}\s][^<>\p{Cc}]*$/u, 'Must be one line without < and >.'),
  v.maxLength(200),
);
const person = v.strictObject({ name: line, email: line });

export const settings = v.strictObject({
  url: v.pipe(endpoint, v.description('As `git clone` takes it, e.g. https://github.com/acme/shop.git.')),
  author: v.optional(v.pipe(person, v.description('Of commits and tags, where a step names none.'))),
});

export const secrets = v.strictObject({
  username: v.optional(v.pipe(text, v.description('Left out where the token is all that counts, as with GitHub.'))),
  password: v.optional(v.pipe(text, v.description('The password, or a token in its place.'))),
  bearer: v.optional(v.pipe(text, v.description('A token that is sent as Bearer, instead of the two above.'))),
});

const ref = v.pipe(
  v.string(),
  v.check((value) => refIssue(value) === undefined, 'Must be the name of a branch or a tag, or the id of a commit.'),
);
const newRef = v.pipe(
  v.string(),
  v.check((value) => newRefIssue(value) === undefined, 'Must be the short name of a branch or a tag, e.g. main.'),
);
const path = v.pipe(text, v.description('From the root on, with `/`, e.g. src/app.ts.'));
const message = v.pipe(text, v.maxLength(64 * 1024), v.excludes('\0'));
const author = v.optional(v.pipe(person, v.description('That of the connection where it is left out.')));
const at = v.optional(
  v.pipe(ref, v.description('A branch, a tag or the id of a commit. Default: the default branch.')),
  'HEAD',
);

export const refsParams = v.strictObject({});
export const logParams = v.strictObject({
  ref: at,
  limit: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIMITS.gitCommits)), 20),
});
export const listParams = v.strictObject({
  ref: at,
  folder: v.optional(path),
  recursive: v.optional(v.pipe(v.boolean(), v.description('Also what folders hold. Default true.')), true),
});
export const readParams = v.strictObject({
  ref: at,
  paths: v.pipe(v.array(path), v.minLength(1), v.maxLength(LIMITS.gitFiles)),
  as: v.optional(v.pipe(v.picklist(['text', 'json', 'base64']), v.description('What `body` becomes.')), 'text'),
});
export const compareParams = v.strictObject({ from: ref, to: ref });

const change = v.strictObject({
  path,
  text: v.optional(v.pipe(v.string(), v.description('The file in UTF-8.'))),
  json: v.optional(v.pipe(v.unknown(), v.description('The file as JSON.'))),
  base64: v.optional(v.pipe(v.string(), v.description('The bytes of the file.'))),
  executable: v.optional(v.pipe(v.boolean(), v.description('Default: as it was.'))),
  delete: v.optional(v.pipe(v.literal(true), v.description('Deletes the file or folder, instead of a content.'))),
});

export const commitParams = v.strictObject({
  branch: newRef,
  from: v.optional(v.pipe(ref, v.description('What the branch is made of where it is not there yet.'))),
  ifCommit: v.optional(
    v.pipe(v.string(), v.regex(COMMIT_ID), v.description('Only while the branch is at this commit.')),
  ),
  message,
  author,
  files: v.pipe(v.array(change), v.minLength(1), v.maxLength(LIMITS.gitFiles)),
});

export const branchParams = v.strictObject({ branch: newRef, from: at });
export const tagParams = v.strictObject({
  tag: newRef,
  ref: at,
  message: v.optional(v.pipe(message, v.description('Makes an annotated tag.'))),
  author,
});
export const mergeParams = v.strictObject({
  into: v.pipe(newRef, v.description('The branch that gets the commits.')),
  from: v.pipe(ref, v.description('The branch, tag or commit that is merged.')),
  message: v.optional(message),
  author,
});
