import { describe, expect, it } from 'vitest';
import { git } from '../../../src/connectors/git/index.ts';
import { actionsOf, DEAD_ADDRESS, faultOf, output, servers, written, type Credentials } from './fixtures.ts';

const { url, ...secrets } = servers.git;
const author = { name: 'Grace', email: 'grace@example.com' };
const credentialsFor = (path: string): Credentials => ({ settings: { url: `${url}${path}`, author }, secrets });
const repository = (name: string) => actionsOf(git, credentialsFor(`/${name}.git`));
/** A copy of the shop that only this test knows. */
const fresh = () => repository(`own-${crypto.randomUUID()}`);

const shop = repository('shop');
type Call = typeof shop;

async function textAt(call: Call, path: string, ref = 'main'): Promise<string | undefined> {
  const { files } = (await output(call('read', { ref, paths: [path] }))) as { files: { body: string }[] };
  return files[0]?.body;
}

async function tipOf(call: Call, branch: string): Promise<string | undefined> {
  const { branches } = (await output(call('refs', {}))) as { branches: { name: string; commit: string }[] };
  return branches.find(({ name }) => name === branch)?.commit;
}

const put = (branch: string, path: string, text: string, more: Record<string, unknown> = {}) => ({
  branch,
  message: 'Write a file',
  files: [{ path, text }],
  ...more,
});

describe('reading', () => {
  it('lists branches and tags, each with its commit', async () => {
    const refs = (await output(shop('refs', {}))) as { tags: { name: string; commit: string }[] };
    expect(refs).toMatchObject({ defaultBranch: 'main' });
    expect(refs).toMatchObject({ branches: ['ahead', 'clash', 'main', 'topic'].map((name) => ({ name })) });
    const annotated = (await output(shop('log', { ref: 'v2', limit: 1 }))) as { commits: { commit: string }[] };
    expect(refs.tags.map(({ name }) => name)).toEqual(['v1', 'v2']);
    expect(refs.tags[1]?.commit).toBe(annotated.commits[0]?.commit);
  });

  it('gives files of a branch, a tag and a commit, and names those that are not there', async () => {
    const paths = ['README.md', 'src/deep/er/file.txt', 'nothing.txt', 'src'];
    expect(await output(shop('read', { paths }))).toMatchObject({
      files: [
        { path: 'README.md', mode: '100644', body: '# The shop\n' },
        { path: 'src/deep/er/file.txt', body: 'deep\n' },
      ],
      missing: ['nothing.txt', 'src'],
    });
    expect(await textAt(shop, 'README.md', 'v1')).toBe('# Shop\n');
    const { tags } = (await output(shop('refs', {}))) as { tags: { commit: string }[] };
    expect(await textAt(shop, 'README.md', tags[0]?.commit)).toBe('# Shop\n');
  });

  it('gives JSON and bytes where they are asked for', async () => {
    expect(await output(shop('read', { paths: ['data.json'], as: 'json' }))).toMatchObject({
      files: [{ body: { apples: 3, pears: 5 } }],
    });
    expect(await output(shop('read', { paths: ['logo.bin'], as: 'base64' }))).toMatchObject({
      files: [{ body: btoa('a\0b') }],
    });
    await faultOf(shop('read', { paths: ['README.md'], as: 'json' }), 'upstream.invalid');
  });

  it('follows no symbolic link', async () => {
    expect(await output(shop('read', { paths: ['link'] }))).toMatchObject({
      files: [{ mode: '120000', body: '../../etc/passwd' }],
    });
  });

  it('lists files, all or of one folder', async () => {
    const paths = async (params: unknown) =>
      ((await output(shop('list', params))) as { entries: { path: string }[] }).entries.map(({ path }) => path);
    expect(await paths({ folder: 'src' })).toEqual(['src/app.txt', 'src/deep/er/file.txt']);
    expect(await paths({ recursive: false })).toEqual(['README.md', 'data.json', 'link', 'logo.bin', 'run.sh', 'src']);
    await faultOf(shop('list', { folder: 'README.md' }), 'upstream.rejected');
  });

  it('gives the newest commits, as many as were asked for', async () => {
    const { commits } = (await output(shop('log', { limit: 2 }))) as { commits: unknown[] };
    expect(commits).toHaveLength(2);
    expect(commits[0]).toMatchObject({
      message: expect.stringContaining('Change the beginning, too'),
      author: { name: 'Ada', email: 'ada@example.com', at: expect.stringMatching(/^2023-11-14T/) },
    });
  });

  it('compares any two by their paths', async () => {
    expect(await output(shop('compare', { from: 'v1', to: 'clash' }))).toMatchObject({
      changes: [
        { path: 'README.md', change: 'deleted' },
        { path: 'data.json', change: 'modified' },
        { path: 'logo.bin', change: 'modified' },
        { path: 'src/app.txt', change: 'modified' },
      ],
    });
    expect(await output(shop('compare', { from: 'main', to: 'main' }))).toMatchObject({ changes: [] });
  });
});

describe('a commit', () => {
  it('adds, changes and deletes files, and is pushed', async () => {
    const call = fresh();
    const before = await tipOf(call, 'main');
    const files = [
      { path: 'README.md', text: 'ünï\n' },
      { path: 'a/b/c.bin', base64: btoa('\0\u{1}') },
      { path: 'src/deep', delete: true },
      { path: 'run.sh', text: '#!/bin/bash\n' },
      { path: 'go.sh', text: 'go', executable: true },
    ];
    const made = await output(call('commit', { branch: 'main', message: 'Change much', files }));
    expect(made).toEqual({ commit: await tipOf(call, 'main'), changed: true });
    expect(await output(call('compare', { from: before, to: 'main' }))).toMatchObject({
      changes: [
        { path: 'README.md', change: 'modified' },
        { path: 'a/b/c.bin', change: 'added' },
        { path: 'go.sh', change: 'added' },
        { path: 'run.sh', change: 'modified' },
        { path: 'src/deep/er/file.txt', change: 'deleted' },
      ],
    });
    expect(await output(call('read', { paths: ['run.sh', 'go.sh'] }))).toMatchObject({
      files: [{ mode: '100755' }, { mode: '100755', body: 'go' }],
    });
    expect(await output(call('log', { limit: 1 }))).toMatchObject({ commits: [{ parents: [before], author }] });
  });

  it('that is made again changes nothing', async () => {
    const call = fresh();
    const first = (await output(call('commit', put('main', 'a.txt', 'a')))) as { commit: string };
    expect(await output(call('commit', put('main', 'a.txt', 'a')))).toEqual({ commit: first.commit, changed: false });
    const gone = { branch: 'main', message: 'x', files: [{ path: 'never/was.txt', delete: true }] };
    expect(await output(call('commit', gone))).toEqual({ commit: first.commit, changed: false });
  });

  it('makes its branch where it is told of what', async () => {
    const call = fresh();
    expect((await faultOf(call('commit', put('next', 'a.txt', 'a')), 'upstream.rejected')).message).toContain('from');
    await output(call('commit', put('next', 'a.txt', 'a', { from: 'v1' })));
    expect(await textAt(call, 'README.md', 'next')).toBe('# Shop\n');
    expect(await textAt(call, 'a.txt', 'next')).toBe('a');
  });

  it('may be the first of a repository', async () => {
    const call = repository('empty');
    expect((await faultOf(call('read', { paths: ['a'] }), 'upstream.rejected')).message).toContain('empty');
    await output(call('commit', put('main', 'a.txt', 'first')));
    expect(await textAt(call, 'a.txt')).toBe('first');
  });

  it('is made only at the commit that it is meant for, and known again when its answer was lost', async () => {
    const call = fresh();
    const tip = await tipOf(call, 'main');
    await output(call('commit', put('main', 'a.txt', 'a', { ifCommit: tip })));
    expect(await output(call('commit', put('main', 'a.txt', 'a', { ifCommit: tip })))).toMatchObject({ changed: true });
    const fault = await faultOf(call('commit', put('main', 'a.txt', 'b', { ifCommit: tip })), 'upstream.rejected');
    expect(fault.retryable).toBe(false);
  });

  it('that somebody else came before is refused, and takes with a second attempt', async () => {
    const call = fresh();
    let pushes = 0;
    const overtaken: typeof fetch = async (input, init) => {
      // Between what is read and what is pushed.
      if (String(input).includes('service=git-receive-pack') && pushes++ === 0) {
        await output(call('commit', put('main', 'theirs.txt', 'theirs')));
      }
      return fetch(input, init);
    };
    const commit = () => call('commit', put('main', 'ours.txt', 'ours'), { fetch: overtaken });
    const fault = await faultOf(commit(), 'upstream.rejected');
    expect(fault).toMatchObject({ retryable: true, data: { reason: 'non-fast-forward' } });
    await output(commit());
    expect(await textAt(call, 'theirs.txt')).toBe('theirs');
    expect(await textAt(call, 'ours.txt')).toBe('ours');
  });

  it('that came between the look at the branch and the push is refused by the server itself', async () => {
    const call = fresh();
    let pushes = 0;
    const overtaken: typeof fetch = async (input, init) => {
      if (String(input).endsWith('/git-receive-pack') && pushes++ === 0) {
        await output(call('commit', put('main', 'theirs.txt', 'theirs')));
      }
      return fetch(input, init);
    };
    const fault = await faultOf(
      call('commit', put('main', 'ours.txt', 'x'), { fetch: overtaken }),
      'upstream.rejected',
    );
    expect(fault.retryable).toBe(true);
    expect(await textAt(call, 'ours.txt')).toBeUndefined();
  });

  it('that a hook of the server declines is refused for good', async () => {
    const fault = await faultOf(repository('guarded')('commit', put('main', 'a', 'a')), 'upstream.rejected');
    expect(fault).toMatchObject({ retryable: false, message: expect.stringContaining('hook declined') });
  });

  it.each([
    [[{ path: 'README.md/x', text: 'x' }], 'is a file'],
    [[{ path: 'src', text: 'x' }], 'is a folder'],
    [
      [
        { path: 'a', text: 'x' },
        { path: 'a', text: 'y' },
      ],
      'twice',
    ],
    [[{ path: 'a', text: 'x', delete: true }], 'not both'],
    [[{ path: 'a' }], 'exactly one'],
  ])('of %j is refused', async (files, said) => {
    const fault = await faultOf(shop('commit', { branch: 'main', message: 'x', files }), 'step.params');
    expect(fault.message).toContain(said);
  });
});

describe('names', () => {
  it.each([
    '../up',
    'a/../../b',
    '/etc/passwd',
    '.git/config',
    'a/.GIT/hooks/post-checkout',
    '.g\u{200c}it/config',
    'git~1/config',
    '.git./config',
    '.git::$INDEX_ALLOCATION/config',
    'a\\..\\b',
    'a\0b',
    'a//b',
    './a',
    'a/',
    'line\nbreak',
  ])('of files such as %j are refused', async (path) => {
    const never: typeof fetch = () => Promise.reject(new Error('sent'));
    await faultOf(shop('commit', put('main', path, 'x'), { fetch: never }), 'step.params');
    await faultOf(shop('read', { paths: [path] }, { fetch: never }), 'step.params');
  });

  it.each([
    '--upload-pack=touch /tmp/x',
    '-f',
    'a..b',
    'a b',
    'a:b',
    'a~1',
    'a^',
    'a?b',
    'a[b',
    'a\\b',
    'a@{1}',
    'a.lock',
    '.a',
    'a/.b',
    'a//b',
    '/a',
    'a/',
    'a.',
    '@',
    '',
    'a\nb',
    '\0',
  ])('of branches such as %j are refused', async (name) => {
    await expect(shop('read', { ref: name, paths: ['a'] })).rejects.toThrow(/name of a branch/);
    await expect(shop('commit', put(name, 'a', 'a'))).rejects.toThrow(/short name/);
    await expect(shop('tag', { tag: name })).rejects.toThrow(/short name/);
  });

  it.each(['HEAD', 'refs/heads/x', 'a'.repeat(40)])('that mean something else are not made: %s', async (name) => {
    await expect(shop('branch', { branch: name })).rejects.toThrow(/short name/);
  });

  it('of authors forge no line of a commit', async () => {
    for (const name of ['Eve\nparent 0000', 'Eve <a@b>', ' ', '']) {
      const forged = { ...put('main', 'a', 'a'), author: { name, email: 'a@b' } };
      await expect(shop('commit', forged)).rejects.toThrow(/one line/);
    }
  });

  it('of files that objects have by themselves are files like others', async () => {
    const call = fresh();
    await output(call('commit', put('main', '__proto__/constructor', 'x')));
    expect(await textAt(call, '__proto__/constructor')).toBe('x');
    expect(await output(shop('read', { paths: ['toString', '__proto__'] }))).toMatchObject({ files: [] });
  });
});

describe('branches and tags', () => {
  it('are made at what is there, and again without a change', async () => {
    const call = fresh();
    const made = await output(call('branch', { branch: 'release/1', from: 'v1' }));
    expect(made).toEqual({ commit: await tipOf(call, 'release/1'), created: true });
    expect(await output(call('branch', { branch: 'release/1', from: 'v1' }))).toMatchObject({ created: false });
    expect((await faultOf(call('branch', { branch: 'main', from: 'v1' }), 'upstream.rejected')).retryable).toBe(false);
  });

  it.each([{}, { message: 'The third\nof many' }])('tag a commit with %j', async (more) => {
    const call = fresh();
    expect(await output(call('tag', { tag: 'v3', ref: 'main', ...more }))).toMatchObject({ created: true });
    expect(await output(call('tag', { tag: 'v3', ref: 'main', ...more }))).toMatchObject({ created: false });
    expect(await output(call('refs', {}))).toMatchObject({
      tags: [{ name: 'v1' }, { name: 'v2' }, { name: 'v3', commit: await tipOf(call, 'main') }],
    });
    await faultOf(call('tag', { tag: 'v3', ref: 'topic', ...more }), 'upstream.rejected');
  });
});

describe('a merge', () => {
  it('joins what two branches changed in different places', async () => {
    const call = fresh();
    const [main, topic] = [await tipOf(call, 'main'), await tipOf(call, 'topic')];
    const merged = await output(call('merge', { into: 'main', from: 'topic' }));
    expect(merged).toEqual({ merged: true, how: 'merge', commit: await tipOf(call, 'main') });
    expect(await output(call('log', { limit: 1 }))).toMatchObject({ commits: [{ parents: [main, topic], author }] });
    const text = (await textAt(call, 'src/app.txt')) ?? '';
    expect(text).toMatch(/^main\nline 2\n/);
    expect(text).toMatch(/line 19\ntopic\n$/);
    expect(await textAt(call, 'new.txt')).toBe('new\n');
    expect(await output(call('merge', { into: 'main', from: 'topic' }))).toMatchObject({ how: 'nothing-new' });
  });

  it('goes forward where only one has moved', async () => {
    const call = fresh();
    expect(await output(call('merge', { into: 'main', from: 'ahead' }))).toMatchObject({ how: 'fast-forward' });
    expect(await tipOf(call, 'main')).toBe(await tipOf(call, 'ahead'));
  });

  it('in conflict is a result with both sides, and pushes nothing', async () => {
    const call = fresh();
    const before = await tipOf(call, 'main');
    await output(call('commit', { branch: 'clash', message: 'x', files: [{ path: 'logo.bin', delete: true }] }));
    const result = await output(call('merge', { into: 'main', from: 'clash' }));
    expect(result).toMatchObject({
      merged: false,
      commit: before,
      conflicts: [
        {
          path: 'README.md',
          base: { text: '# Shop\n' },
          ours: { text: '# The shop\n' },
          theirs: null,
        },
        {
          path: 'src/app.txt',
          base: { text: expect.stringMatching(/^line 1\n/) },
          ours: { text: expect.stringMatching(/^main\n/) },
          theirs: { text: expect.stringMatching(/^clash\n/) },
        },
      ],
    });
    expect(await tipOf(call, 'main')).toBe(before);
  });

  it('never mixes the bytes of what is no text', async () => {
    const call = fresh();
    const files = [{ path: 'logo.bin', base64: btoa('x\0y') }];
    await output(call('commit', { branch: 'main', message: 'x', files }));
    const result = await output(call('merge', { into: 'main', from: 'clash' }));
    expect(result).toMatchObject({
      merged: false,
      conflicts: expect.arrayContaining([expect.objectContaining({ path: 'logo.bin' })]),
    });
    expect(JSON.stringify(result)).not.toContain('\\u0000');
  });
});

describe('connections', () => {
  it('probe whether the repository can be seen', async () => {
    const probe = git.connection?.probe?.(credentialsFor('/shop.git').settings);
    await output(shop(probe?.action ?? '', probe?.params));
    const wrong = actionsOf(git, {
      ...credentialsFor('/shop.git'),
      secrets: { username: 'ada', password: 'not-it-0123' },
    });
    const fault = await faultOf(wrong(probe?.action ?? '', probe?.params), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    expect(written(fault)).not.toMatch(/not-it-0123|bm90LWl0/);
    const without = actionsOf(git, { ...credentialsFor('/shop.git'), secrets: { bearer: 'not-it-0123' } });
    expect(written(await faultOf(without('refs', {}), 'upstream.unauthorized'))).not.toContain('not-it-0123');
  });

  it('to a repository that is not there say so', async () => {
    const fault = await faultOf(repository('nothing')('refs', {}), 'upstream.rejected');
    expect(fault.message).toContain('no such repository');
  });

  it('to a branch that is not there say so', async () => {
    expect((await faultOf(shop('log', { ref: 'nobody' }), 'upstream.rejected')).message).toContain('nobody');
  });

  it('to something else than Git are unreadable, or unreachable', async () => {
    const other = actionsOf(git, { settings: { url: `${servers.upstream.url}/json` }, secrets: {} });
    await faultOf(other('refs', {}), 'upstream.invalid');
    const nobody = actionsOf(git, { settings: { url: DEAD_ADDRESS }, secrets: {} });
    expect((await faultOf(nobody('refs', {}), 'upstream.unreachable')).retryable).toBe(true);
  });

  it('that are lost within a fetch may be tried again', async () => {
    const broken = actionsOf(git, credentialsFor('/broken/shop.git'));
    expect((await faultOf(broken('read', { paths: ['a'] }), 'upstream.unreachable')).retryable).toBe(true);
  });

  it('are given up in time', async () => {
    const slow = actionsOf(git, credentialsFor('/slow/shop.git'));
    const fault = await faultOf(slow('refs', {}, { signal: AbortSignal.timeout(200) }), 'step.timeout');
    expect(fault.retryable).toBe(true);
  });

  it('cannot be bent to another repository by what a step says', async () => {
    const asked: string[] = [];
    const watching: typeof fetch = (input, init) => {
      asked.push(String(input));
      return fetch(input, init);
    };
    await shop('read', { ref: 'refs/heads/main', paths: ['README.md'] }, { fetch: watching });
    expect(asked.length).toBeGreaterThan(1);
    for (const each of asked) expect(each.startsWith(`${url}/shop.git/`)).toBe(true);
  });
});

describe('a repository', () => {
  it('that is larger than what a step takes is refused while it comes', async () => {
    await faultOf(repository('large')('read', { paths: ['data.bin'] }), 'upstream.too-large');
  });

  it('that unpacks to more than what a step takes is refused before it is unpacked', async () => {
    const fault = await faultOf(repository('bomb')('read', { paths: ['data.bin'] }), 'upstream.too-large');
    expect(fault.message).toContain('an object');
  });

  it('whose trees hold each other without end is not walked to the end', async () => {
    const fault = await faultOf(repository('tangle')('list', {}), 'upstream.too-large');
    expect(fault.message).toContain('entries');
    await output(repository('tangle')('list', { recursive: false }));
  });
});
