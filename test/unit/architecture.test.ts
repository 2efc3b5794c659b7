import { resolve } from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { checkArchitecture, readSources } from '../../scripts/architecture.ts';

/** The violations of a made-up tree; files that it does not name are empty. */
function violations(tree: Readonly<Record<string, string>>, ...others: readonly string[]): readonly string[] {
  const files = [...others.map((path): [string, string] => [path, '']), ...Object.entries(tree)];
  return checkArchitecture(new Map(files)).violations;
}

/** One import, from file to file. */
const importing = (from: string, to: string): readonly string[] =>
  violations({ [from]: `import { x } from '${'../'.repeat(from.split('/').length - 1)}${to}';` }, to);

it('the tree keeps to its architecture', () => {
  const { violations: found, sizes } = checkArchitecture(readSources(resolve(import.meta.dirname, '../..')));
  expect(found).toEqual([]);
  expect(sizes.files).toBeGreaterThan(50);
});

describe('an import is refused', () => {
  test.each([
    ['src/core/a.ts', 'src/runtime/b.ts', 'core must not import runtime'],
    ['src/core/a.ts', 'src/connectors/kit/b.ts', 'core must not import connectors'],
    ['src/core/a.ts', 'src/env.ts', 'core must not import env.ts'],
    ['src/connectors/slack/a.ts', 'src/runtime/b.ts', 'connectors must not import runtime'],
    ['src/connectors/slack/a.ts', 'src/vault/b.ts', 'connectors must not import vault'],
    ['src/connectors/slack/a.ts', 'src/connectors/stripe/b.ts', 'one of the connectors must not import another'],
    ['src/connectors/kit/a.ts', 'src/connectors/stripe/b.ts', 'one of the connectors must not import another'],
    ['src/drivers/s3/a.ts', 'src/drivers/redis/b.ts', 'one of the drivers must not import another'],
    ['src/drivers/s3/a.ts', 'src/connectors/s3/b.ts', 'drivers must not import connectors'],
    ['src/store/a.ts', 'src/vault/b.ts', 'store must not import vault'],
    ['src/runtime/a.ts', 'src/gateway/b.ts', 'runtime must not import gateway'],
    ['src/runtime/a.ts', 'src/control/b.ts', 'runtime must not import control'],
    ['src/gateway/a.ts', 'src/control/b.ts', 'gateway must not import control'],
    ['src/control/a.ts', 'src/gateway/b.ts', 'control must not import gateway'],
    ['src/gateway/a.ts', 'src/index.ts', 'nothing imports the composition root'],
    ['src/misc/a.ts', 'src/core/b.ts', 'misc has no layer; give it one in scripts/architecture.ts'],
    ['src/runtime/a.ts', 'scripts/b.ts', 'it lies outside src'],
  ])('from %s to %s', (from, to, reason) => {
    expect(importing(from, to)).toEqual([`${from} imports ${to}: ${reason}`]);
  });

  it('of a file that is not there', () => {
    expect(violations({ 'src/core/a.ts': "import './b.ts';" })).toEqual([
      'src/core/a.ts imports src/core/b.ts: there is no such file',
    ]);
  });

  test.each(['cloudflare:workers', 'hono', 'hono/factory', 'drizzle-orm', 'drizzle-orm/d1', 'node:fs'])(
    'of %s into the core',
    (name) => {
      expect(violations({ 'src/core/a.ts': `import { x } from '${name}';` })).toEqual([
        `src/core/a.ts imports ${name}: core must not import ${name}`,
      ]);
    },
  );

  test.each([
    "import type { B } from '../runtime/b.ts';",
    "import { a,\n  b,\n} from '../runtime/b.ts';",
    "import '../runtime/b.ts';",
    'import * as b from "../runtime/b.ts";',
    "export { b } from '../runtime/b.ts';",
    "export * from '../runtime/b.ts';",
    "export type { B } from '../runtime/b.ts';",
    "const b = await import('../runtime/b.ts');",
    "/* a comment */ const x = 1;\nimport b from '../runtime/b.ts';",
    "const pattern = /['\"`]/;\nimport b from '../runtime/b.ts';",
  ])('in whatever form it is written: %j', (text) => {
    expect(violations({ 'src/core/a.ts': text }, 'src/runtime/b.ts')).toEqual([
      'src/core/a.ts imports src/runtime/b.ts: core must not import runtime',
    ]);
  });
});

describe('an import is allowed', () => {
  test.each([
    ['src/core/a.ts', 'src/core/b/c.ts'],
    ['src/connectors/s3/a.ts', 'src/drivers/s3/b.ts'],
    ['src/connectors/s3/a.ts', 'src/connectors/kit/b.ts'],
    ['src/connectors/index.ts', 'src/connectors/s3/b.ts'],
    ['src/runtime/a.ts', 'src/vault/b.ts'],
    ['src/runtime/a.ts', 'src/env.ts'],
    ['src/control/a.ts', 'src/runtime/b.ts'],
    ['src/gateway/a.ts', 'src/store/b.ts'],
    ['src/index.ts', 'src/control/b.ts'],
  ])('from %s to %s', (from, to) => {
    expect(importing(from, to)).toEqual([]);
  });

  it('where it is only text', () => {
    const text =
      "// import a from '../runtime/b.ts';\nconst doc = `\nimport a from '../runtime/b.ts';\n`;\n/*\nimport '../x';\n*/";
    expect(violations({ 'src/core/a.ts': text })).toEqual([]);
  });
});

describe('the core', () => {
  test.each([
    ['const at = Date.now();', 'Date.now'],
    ['const clock = Date.now;', 'Date.now'],
    ['const at = new Date();', 'new Date()'],
    ['const at = new Date ;', 'new Date()'],
    ['const at = performance.now();', 'performance.now'],
    ['const dice = Math.random();', 'Math.random'],
    ['const id = crypto.randomUUID();', 'crypto’s random numbers'],
  ])('may not do %j', (line, name) => {
    expect(violations({ 'src/core/a.ts': `// first line\n${line}` })).toEqual([
      `src/core/a.ts:2 uses ${name}: core takes it as an argument`,
    ]);
    expect(violations({ 'src/runtime/a.ts': line })).toEqual([]);
  });

  test.each([
    'const at = new Date(now);',
    'const at = new Date(Date.UTC(2026, 0, 1));',
    'const format = new Intl.DateTimeFormat();',
    'const message = "Date.now() is not here";',
    'const digest = crypto.subtle.digest;',
    '// Date.now() in a comment',
  ])('may do %j', (line) => {
    expect(violations({ 'src/core/a.ts': line })).toEqual([]);
  });
});

describe('traffic', () => {
  const through = 'traffic leaves through src/runtime/way-out.ts only';

  test.each([
    ['const reply = await fetch(url);', 'the global fetch'],
    ['  fetch(url, { method });', 'the global fetch'],
    ['const wire = { now, fetch };', 'the global fetch'],
    ['start(fetch, now);', 'the global fetch'],
    ['const send = fetch;', 'the global fetch'],
    ['globalThis.fetch(url);', 'the global fetch'],
    ['const socket = new WebSocket(url);', 'a connection of its own'],
    ['env.EGRESS.fetch(url);', 'the unguarded way out'],
  ])('may not leave by %j, in no layer', (line, name) => {
    for (const layer of ['core', 'drivers/s3', 'connectors/s3', 'runtime', 'gateway', 'control', 'vault']) {
      const path = `src/${layer}/a.ts`;
      expect(violations({ [path]: `// first line\n${line}` })).toEqual([`${path}:2 uses ${name}: ${through}`]);
    }
    expect(violations({ 'src/runtime/way-out.ts': line })).toEqual([]);
  });

  test.each(['cloudflare:sockets', 'node:net', 'node:tls', 'https'])('may not leave by a socket of %s', (name) => {
    expect(violations({ 'src/runtime/a.ts': `import { connect } from '${name}';` })).toEqual([
      `src/runtime/a.ts imports ${name}: ${through}`,
    ]);
  });

  test.each([
    'const reply = context.fetch(url);',
    'const prefetch = refetch(url);',
    'const send = async (fetch: typeof globalThis.fetch) => fetch(url);',
    'const open = ({ fetch, now }: Context) => create({ fetch, now });',
    'const { fetch } = host;\nawait fetch(url);',
    'class A {\n  override async fetch(request: Request) {}\n}',
    'export default {\n  fetch(request, env, ctx) {},\n};',
    'interface Wire {\n  readonly fetch: typeof fetch;\n}',
    "import type { Socket } from 'node:net';",
    "const message = 'fetch(it)'; // fetch(it)",
  ])('may be had like this: %j', (text) => {
    expect(violations({ 'src/runtime/a.ts': text })).toEqual([]);
  });
});

describe('an import cycle', () => {
  it('is shown with the way around it, once', () => {
    const tree = {
      'src/core/a.ts': "import './b.ts';",
      'src/core/b.ts': "import './c.ts';",
      'src/core/c.ts': "import './a.ts';",
      'src/core/d.ts': "import './a.ts';",
    };
    expect(violations(tree)).toEqual([
      'src/core/a.ts → src/core/b.ts → src/core/c.ts → src/core/a.ts: an import cycle',
    ]);
  });

  it('of types alone is none: nothing of it is left when the code runs', () => {
    expect(
      violations({ 'src/core/a.ts': "import './b.ts';", 'src/core/b.ts': "import type { A } from './a.ts';" }),
    ).toEqual([]);
  });
});

describe('sizes', () => {
  const file = (lines: number): string => '\n'.repeat(lines - 1) + 'export {};\n';

  it('refuse a file of more than 700 lines', () => {
    const small = Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`src/core/${index}.ts`, file(10)]));
    expect(violations({ ...small, 'src/core/a.ts': file(700) })).toEqual([]);
    expect(violations({ ...small, 'src/core/a.ts': file(701) })).toEqual([
      'src/core/a.ts has 701 lines: no file has more than 700',
    ]);
  });

  it('refuse a tree of large files', () => {
    const large = Object.fromEntries(Array.from({ length: 10 }, (_, index) => [`src/core/${index}.ts`, file(351)]));
    expect(violations(large)).toEqual([
      'the median file has 351 lines: at most 120',
      'a tenth of the files has over 351 lines: at most 350',
    ]);
  });
});
