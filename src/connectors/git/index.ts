/** `git.*`: a repository on any server that speaks Git's smart HTTP protocol. */

import { Buffer } from 'node:buffer';
import type { InferOutput } from 'valibot';
import { decodeContent, encodeContent } from '../kit/content.ts';
import { defineAction, originOf, type ActionContext, type Connector } from '../kit/types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { mergeBranches } from '../../drivers/git/merge.ts';
import { compareRefs, listFiles, readFiles, readLog } from '../../drivers/git/read.ts';
import { listRefs, type GitRemote } from '../../drivers/git/repository.ts';
import { commitFiles, createBranch, createTag, type Author, type FileChange } from '../../drivers/git/write.ts';
import {
  branchParams,
  commitParams,
  compareParams,
  listParams,
  logParams,
  mergeParams,
  readParams,
  refsParams,
  secrets,
  settings,
  tagParams,
} from './schemas.ts';

const connection = { settings, secrets };
type Settings = InferOutput<typeof settings>;
type Context = ActionContext<Settings, InferOutput<typeof secrets>>;

/** What hosts take as a user name where the token is all that counts. */
const ANY_USER = 'x-access-token';

function remoteOf({ connection: { settings: at, secrets: keys } }: Context): GitRemote {
  const { username = ANY_USER, password, bearer } = keys;
  const url = at.url.replace(/\/+$/, '');
  if (bearer !== undefined) return { url, authorization: `Bearer ${bearer}` };
  if (password === undefined) return { url };
  return { url, authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
}

function authorOf(given: Author | undefined, context: Context): Result<Author> {
  const author = given ?? context.connection.settings.author;
  return author === undefined ? fail('step.params', '`author`: Name one here or in the connection.') : ok(author);
}

function changesOf(files: InferOutput<typeof commitParams>['files']): Result<FileChange[]> {
  const changes: FileChange[] = [];
  for (const [index, { path, executable, delete: isDeleted, ...content }] of files.entries()) {
    if (isDeleted === true) {
      if (Object.keys(content).length > 0) {
        return fail('step.params', `files[${index}]: Give a content or \`delete\`, not both.`);
      }
      changes.push({ path });
      continue;
    }
    const encoded = encodeContent(content, `files[${index}]: `);
    if (!encoded.ok) return encoded;
    changes.push({ path, bytes: encoded.value.bytes, isExecutable: executable });
  }
  return ok(changes);
}

const reading: Connector['actions'] = {
  refs: defineAction(
    {
      title: 'List branches and tags',
      effect: 'idempotent',
      params: refsParams,
      example: {},
      run: (_, context) => listRefs(remoteOf(context), context),
    },
    connection,
  ),
  log: defineAction(
    {
      title: 'Read the newest commits',
      effect: 'idempotent',
      params: logParams,
      example: { ref: 'main', limit: 10 },
      async run({ ref, limit }, context) {
        const commits = await readLog(remoteOf(context), context, ref, limit);
        return commits.ok ? ok({ commits: commits.value }) : commits;
      },
    },
    connection,
  ),
  list: defineAction(
    {
      title: 'List files',
      effect: 'idempotent',
      params: listParams,
      example: { ref: 'main', folder: 'src' },
      run: ({ ref, folder, recursive }, context) => listFiles(remoteOf(context), context, ref, folder, recursive),
    },
    connection,
  ),
  read: defineAction(
    {
      title: 'Read files',
      effect: 'idempotent',
      params: readParams,
      example: { ref: 'main', paths: ['README.md'] },
      async run({ ref, paths, as }, context) {
        const read = await readFiles(remoteOf(context), context, ref, paths);
        if (!read.ok) return read;
        const { commit, missing } = read.value;
        const files: unknown[] = [];
        for (const { path, mode, bytes } of read.value.files) {
          const body = decodeContent(bytes, as);
          if (!body.ok) return fail('upstream.invalid', `${path} is not ${as === 'json' ? 'JSON' : 'text in UTF-8'}.`);
          files.push({ path, mode, body: body.value });
        }
        return ok({ commit, files, missing });
      },
    },
    connection,
  ),
  compare: defineAction(
    {
      title: 'List the paths that differ',
      effect: 'idempotent',
      params: compareParams,
      example: { from: 'v1.0', to: 'main' },
      run: ({ from, to }, context) => compareRefs(remoteOf(context), context, from, to),
    },
    connection,
  ),
};

const writing: Connector['actions'] = {
  commit: defineAction(
    {
      title: 'Change files in one commit, and push it',
      effect: 'idempotent',
      params: commitParams,
      example: {
        branch: 'main',
        message: 'Update the prices',
        author: { name: 'Ada', email: 'ada@example.com' },
        files: [
          { path: 'prices.json', json: { apple: 3 } },
          { path: 'old.txt', delete: true },
        ],
      },
      async run({ files, author, ...commit }, context) {
        const changes = changesOf(files);
        if (!changes.ok) return changes;
        const by = authorOf(author, context);
        if (!by.ok) return by;
        return commitFiles(remoteOf(context), context, { ...commit, author: by.value, files: changes.value });
      },
    },
    connection,
  ),
  branch: defineAction(
    {
      title: 'Make a branch',
      effect: 'idempotent',
      params: branchParams,
      example: { branch: 'release', from: 'main' },
      run: ({ branch, from }, context) => createBranch(remoteOf(context), context, branch, from),
    },
    connection,
  ),
  tag: defineAction(
    {
      title: 'Tag a commit',
      effect: 'idempotent',
      params: tagParams,
      example: { tag: 'v1.0', ref: 'main' },
      async run({ tag, ref, message, author }, context) {
        if (message === undefined) return createTag(remoteOf(context), context, { tag, ref });
        const tagger = authorOf(author, context);
        if (!tagger.ok) return tagger;
        return createTag(remoteOf(context), context, { tag, ref, message, tagger: tagger.value });
      },
    },
    connection,
  ),
  merge: defineAction(
    {
      title: 'Merge a branch into another, and push it',
      effect: 'idempotent',
      params: mergeParams,
      example: { into: 'main', from: 'feature', author: { name: 'Ada', email: 'ada@example.com' } },
      async run({ into, from, message, author }, context) {
        const by = authorOf(author, context);
        if (!by.ok) return by;
        const merge = { into, from, author: by.value, message: message ?? `Merge ${from} into ${into}` };
        return mergeBranches(remoteOf(context), context, merge);
      },
    },
    connection,
  ),
};

export const git: Connector = {
  name: 'git',
  title: 'Git',
  connection: {
    required: true,
    ...connection,
    origins: ({ url }: Settings) => [originOf(url)],
    probe: () => ({ action: 'refs', params: {} }),
  },
  actions: { ...reading, ...writing },
};
