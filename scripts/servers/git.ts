/**
 * Git's own `http-backend` behind Basic authentication, with repositories for the tests.
 *
 * `/<name>.git` is made as a copy of a small shop at first sight; some names are special, see {@link SPECIAL}.
 * Before a path, `/slow` answers late and `/broken` breaks off within the reply of a fetch.
 */

import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cp, mkdir, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ensurePackage, findProgram } from './packages.ts';
import { listen, type Running, type ServerOptions } from './process.ts';

export interface GitServer extends Running {
  /** Before `/<name>.git`. */
  readonly url: string;
  readonly username: string;
  readonly password: string;
}

const run = promisify(execFile);
const USERNAME = 'ada';
const PATH = /^(?:\/(slow|broken))?(\/([a-z0-9-]+)\.git\/.*)$/;
const SLOW_MILLISECONDS = 5_000;
/** More than a step takes, and packed to less than it takes. */
const BOMB_BYTES = 24 * 1024 * 1024;
const LARGE_BYTES = 20 * 1024 * 1024;

class Repositories {
  readonly root: string;
  readonly env: NodeJS.ProcessEnv;
  readonly #made = new Map<string, Promise<void>>();

  constructor(root: string, env: NodeJS.ProcessEnv) {
    this.root = root;
    // No configuration of the machine's or the user's.
    this.env = { ...env, GIT_CONFIG_NOSYSTEM: '1', GIT_CONFIG_GLOBAL: '/dev/null', HOME: root };
  }

  ensure(name: string): Promise<void> {
    let making = this.#made.get(name);
    if (making === undefined) this.#made.set(name, (making = this.#make(name)));
    return making;
  }

  async #make(name: string): Promise<void> {
    const path = join(this.root, `${name}.git`);
    const special = SPECIAL[name];
    if (special === undefined && name !== 'shop') {
      await this.ensure('shop');
      await cp(join(this.root, 'shop.git'), path, { recursive: true });
      return;
    }
    await run('git', ['init', '--quiet', '--bare', '--initial-branch=main', path], { env: this.env });
    for (const setting of ['http.receivepack', 'uploadpack.allowReachableSHA1InWant']) {
      await run('git', ['-C', path, 'config', setting, 'true'], { env: this.env });
    }
    await (special ?? makeShop)(path, this);
  }

  async import(path: string, stream: string | Buffer): Promise<void> {
    const child = spawn('git', ['-C', path, 'fast-import', '--quiet'], {
      env: this.env,
      stdio: ['pipe', 'ignore', 'inherit'],
    });
    child.stdin.end(stream);
    const code = await new Promise((resolve) => child.once('close', resolve));
    if (code !== 0) throw new Error(`git fast-import failed at ${path}.`);
  }
}

const SPECIAL: Readonly<Record<string, (path: string, repositories: Repositories) => Promise<void>>> = {
  empty: async () => {},
  large: (path, repositories) => repositories.import(path, blobCommit(randomBytes(LARGE_BYTES))),
  bomb: (path, repositories) => repositories.import(path, blobCommit(Buffer.alloc(BOMB_BYTES))),
  /** A tree that holds itself ten times over, eight levels deep: 10^8 files in a few objects. */
  tangle: makeTangle,
  guarded: async (path, repositories) => {
    await makeShop(path, repositories);
    const hook = '#!/bin/sh\necho "no changes on fridays" >&2\nexit 1\n';
    await mkdir(join(path, 'hooks'), { recursive: true });
    await writeFile(join(path, 'hooks', 'pre-receive'), hook, { mode: 0o755 });
  },
};

const blobCommit = (bytes: Buffer): Buffer =>
  Buffer.concat([
    Buffer.from(
      `commit refs/heads/main\ncommitter Ada <ada@example.com> 1700000000 +0000\ndata 1\nx\nM 644 inline data.bin\ndata ${bytes.byteLength}\n`,
    ),
    bytes,
    Buffer.from('\n'),
  ]);

async function makeTangle(path: string, { env }: Repositories): Promise<void> {
  const git = async (args: readonly string[], input: string): Promise<string> => {
    const child = run('git', ['-C', path, ...args], { env });
    child.child.stdin?.end(input);
    return (await child).stdout.trim();
  };
  let line = `100644 blob ${await git(['hash-object', '-w', '--stdin'], 'x')}`;
  for (let level = 0; level < 8; level++) {
    const entries = Array.from({ length: 10 }, (_, index) => `${line}\t${index}\n`);
    line = `040000 tree ${await git(['mktree'], entries.join(''))}`;
  }
  const person = { GIT_AUTHOR_NAME: 'A', GIT_AUTHOR_EMAIL: 'a@b', GIT_COMMITTER_NAME: 'A', GIT_COMMITTER_EMAIL: 'a@b' };
  const tree = line.split(' ')[2] ?? '';
  const { stdout } = await run('git', ['-C', path, 'commit-tree', '-m', 'x', tree], { env: { ...env, ...person } });
  await run('git', ['-C', path, 'update-ref', 'refs/heads/main', stdout.trim()], { env });
}

const LINES = Array.from({ length: 20 }, (_, index) => `line ${index + 1}\n`);

/** `main` with three commits, tags, and branches that merge, or do not. */
async function makeShop(path: string, repositories: Repositories): Promise<void> {
  let seconds = 1_700_000_000;
  const commit = (branch: string, message: string, from: string | undefined, files: Record<string, string>): string => {
    seconds += 60;
    const changes = Object.entries(files).map(([name, content]) => {
      const [file = '', mode = '100644'] = name.split(' ');
      return content === ''
        ? `D ${file}\n`
        : `M ${mode} inline ${file}\ndata ${Buffer.byteLength(content)}\n${content}\n`;
    });
    const person = `Ada <ada@example.com> ${seconds} +0000`;
    const parent = from === undefined ? '' : `from ${from}\n`;
    return `commit refs/heads/${branch}\ncommitter ${person}\ndata ${Buffer.byteLength(message)}\n${message}\n${parent}${changes.join('')}\n`;
  };
  const changed = (line: number, content: string): string => LINES.with(line - 1, `${content}\n`).join('');
  const main = 'refs/heads/main';
  await repositories.import(
    path,
    [
      commit('main', 'Open the shop', undefined, {
        'README.md': '# Shop\n',
        'src/app.txt': LINES.join(''),
        'src/deep/er/file.txt': 'deep\n',
        'data.json': '{"apples":3}',
        'logo.bin': 'a\0b',
        'run.sh 100755': '#!/bin/sh\n',
        'link 120000': '../../etc/passwd',
      }),
      `reset refs/tags/v1\nfrom ${main}\n\n`,
      commit('main', 'Sell pears', undefined, { 'data.json': '{"apples":3,"pears":5}' }),
      `tag v2\nfrom ${main}\ntagger Ada <ada@example.com> 1700000500 +0000\ndata 6\nsecond\n`,
      `reset refs/heads/topic\nfrom ${main}\n\n`,
      `reset refs/heads/clash\nfrom ${main}\n\n`,
      `reset refs/heads/ahead\nfrom ${main}\n\n`,
      commit('topic', 'Change the end', undefined, { 'src/app.txt': changed(20, 'topic'), 'new.txt': 'new\n' }),
      commit('clash', 'Change the beginning', undefined, {
        'src/app.txt': changed(1, 'clash'),
        'logo.bin': 'c\0d',
        'README.md': '',
      }),
      commit('main', 'Change the beginning, too', undefined, {
        'src/app.txt': changed(1, 'main'),
        'README.md': '# The shop\n',
      }),
      `reset refs/heads/ahead\nfrom ${main}\n\n`,
      commit('ahead', 'Go ahead', undefined, { 'ahead.txt': 'ahead\n' }),
    ].join(''),
  );
}

export async function start({ dataDirectory }: ServerOptions): Promise<GitServer> {
  const { env } = await ensurePackage('git', async (at) => (await findProgram('git', at)) !== undefined);
  await mkdir(dataDirectory, { recursive: true });
  const repositories = new Repositories(dataDirectory, env);
  await repositories.ensure('shop');
  const password = randomBytes(16).toString('hex');
  const expected = `Basic ${Buffer.from(`${USERNAME}:${password}`).toString('base64')}`;
  const server = createServer((request, response) => {
    if (request.headers.authorization !== expected) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="git"' }).end('<html>Sign in</html>');
      return;
    }
    void serve(repositories, request, response).catch(() => response.destroy());
  });
  const { port, stop } = await listen(server);
  return { url: `http://127.0.0.1:${port}`, username: USERNAME, password, stop };
}

async function serve(repositories: Repositories, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'http://git');
  const [, how, path = '', name = ''] = PATH.exec(url.pathname) ?? [];
  if (name === '' || name === 'nothing') return void response.writeHead(404).end('Not Found');
  await repositories.ensure(name);
  if (how === 'slow') await new Promise((resolve) => setTimeout(resolve, SLOW_MILLISECONDS).unref());
  const child = spawn('git', ['http-backend'], {
    env: {
      ...repositories.env,
      GIT_PROJECT_ROOT: repositories.root,
      GIT_HTTP_EXPORT_ALL: '1',
      PATH_INFO: path,
      QUERY_STRING: url.search.slice(1),
      REQUEST_METHOD: request.method,
      CONTENT_TYPE: request.headers['content-type'],
      HTTP_CONTENT_ENCODING: request.headers['content-encoding'],
      GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      REMOTE_USER: USERNAME,
    },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  child.stdin.on('error', () => {});
  request.pipe(child.stdin);
  const chunks: Buffer[] = [];
  for await (const chunk of child.stdout) chunks.push(Buffer.from(chunk as Uint8Array));
  const output = Buffer.concat(chunks);
  const end = output.indexOf('\r\n\r\n');
  const lines = output.subarray(0, end).toString().split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line: string) => [
      line.slice(0, line.indexOf(':')).toLowerCase(),
      line.slice(line.indexOf(':') + 1).trim(),
    ]),
  );
  const { status = '200', ...rest } = headers;
  response.writeHead(Number.parseInt(status, 10), rest);
  const body = output.subarray(end + 4);
  if (how === 'broken' && request.method === 'POST') {
    response.write(body.subarray(0, body.byteLength / 2));
    setTimeout(() => response.destroy(), 50);
  } else response.end(body);
}
