/**
 * The tree is the architecture, and this holds it: which folder may import which, what the pure core may
 * not touch, no import cycles, and no file that grew out of hand. `npm run check` runs it over `src`.
 */

import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative, resolve, sep } from 'node:path';

/**
 * What each folder of `src` may import, besides packages and itself. Types count as much as values. Folders
 * of one connector or driver are closed to each other; see `isNeighbour`.
 */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  drivers: ['core'],
  connectors: ['core', 'drivers'],
  store: ['core', 'env.ts'],
  vault: ['core', 'store', 'env.ts'],
  telemetry: ['core', 'store', 'env.ts'],
  runtime: ['core', 'connectors', 'drivers', 'store', 'vault', 'telemetry', 'env.ts'],
  gateway: ['core', 'connectors', 'drivers', 'store', 'vault', 'telemetry', 'runtime', 'env.ts'],
  control: ['core', 'connectors', 'drivers', 'store', 'vault', 'telemetry', 'runtime', 'env.ts'],
  // Names the classes of the objects in the types of its bindings.
  'env.ts': ['runtime', 'telemetry'],
};

/** The composition root: it may import anything, and nothing imports it. */
const ROOT_FILE = 'index.ts';

/** Folders whose subfolders are members of a family: they share these, and know nothing of one another. */
const FAMILIES: Readonly<Record<string, readonly string[]>> = { connectors: ['kit'], drivers: ['http', 'kit'] };

const CORE_PACKAGES = /^(?:cloudflare:|node:|hono(?:\/|$)|drizzle-orm(?:\/|$))/;

/** Clock and chance come into the core as arguments, so that a seed replays anything. */
const CORE_CALLS: readonly (readonly [pattern: RegExp, name: string])[] = [
  [/\bDate\.now\b/, 'Date.now'],
  [/\bnew Date(?:\(\s*\)|(?!\s*[\w$(.]))/, 'new Date()'],
  [/\bperformance\.now\b/, 'performance.now'],
  [/\bMath\.random\b/, 'Math.random'],
  [/\bcrypto\.(?:getRandomValues|randomUUID)\b/, 'crypto’s random numbers'],
];

/** Nothing else reaches the network: what is guarded here is guarded for all. */
const WAY_OUT = 'src/runtime/way-out.ts';

const TRAFFIC_PACKAGES = /^(?:cloudflare:sockets|(?:node:)?(?:net|tls|http|https|http2|dgram))$/;

const TRAFFIC_CALLS: readonly (readonly [pattern: RegExp, name: string])[] = [
  [/(?<!typeof\s+)\b(?:globalThis|self)\.fetch\b/, 'the global fetch'],
  [/\bnew\s+(?:WebSocket|EventSource)\s*\(/, 'a connection of its own'],
  [/\bEGRESS\b(?!\?|\s*===)/, 'the unguarded way out'],
];

/** A call of `fetch`, or its value, by its bare name; not a member, a type, or a method of that name. */
const BARE_FETCH =
  /(?<![\w$.#]|typeof\s+|async\s+|override\s+)fetch(?:\s*\((?!\s*(?:\)|\w+\s*(?::|,\s*env\b)))|(?=\s*[,;)}]))/;
/** Where a file has a `fetch` of its own: a parameter, or a part of one. */
const OWN_FETCH =
  /(?<!readonly\s+)\bfetch\??:\s*(?:typeof\b|GuardedFetch\b)|\{[^{}()]*\bfetch\b[^{}()]*\}\s*(?:=(?!>)|:\s*\w)/;

const SIZES = { largest: 700, ninetieth: 350, median: 120 };

export interface Sizes {
  readonly files: number;
  readonly median: number;
  readonly ninetieth: number;
  readonly largest: number;
  readonly largestFile: string;
}

export interface Report {
  readonly violations: readonly string[];
  readonly sizes: Sizes;
}

interface Import {
  readonly from: string;
  /** A path, or the name of a package. */
  readonly to: string;
  readonly isFile: boolean;
  readonly typeOnly: boolean;
}

/** @param files the text of each TypeScript file by its path, from `src/` on, with slashes */
export function checkArchitecture(files: ReadonlyMap<string, string>): Report {
  const imports = [...files].flatMap(([path, text]) => importsOf(path, text));
  const sizes = sizesOf(files);
  return {
    violations: [
      ...imports.flatMap((edge) => checkImport(edge, files)),
      ...[...files].flatMap(([path, text]) => checkPurity(path, text)),
      ...[...files].flatMap(([path, text]) => checkTraffic(path, text)),
      ...cyclesOf(imports.filter(({ typeOnly }) => !typeOnly)),
      ...checkSizes(files, sizes),
    ],
    sizes,
  };
}

const STATEMENT =
  /^[ \t]*(?:import|export)\b(?<type>\s+type\b)?(?:[^'";]*?\bfrom)?\s*(?<quote>['"])(?<target>[^'"\n]+)\k<quote>/gm;
const DYNAMIC = /\bimport\(\s*(?<quote>['"])(?<target>[^'"\n]+)\k<quote>/g;

function importsOf(from: string, text: string): Import[] {
  const code = blank(text, 'keep strings');
  return [...code.matchAll(STATEMENT), ...code.matchAll(DYNAMIC)].map(({ groups = {} }) => {
    const target = groups['target'] ?? '';
    const isFile = target.startsWith('.');
    const to = isFile ? posix.join(posix.dirname(from), target) : target;
    return { from, to, isFile, typeOnly: groups['type'] !== undefined };
  });
}

/** `src/runtime/inline.ts` → `runtime`; `src/env.ts` → `env.ts`. */
const layerOf = (path: string): string => path.split('/')[1] ?? '';

function checkImport({ from, to, isFile }: Import, files: ReadonlyMap<string, string>): string[] {
  const violation = (reason: string): string[] => [`${from} imports ${to}: ${reason}`];
  const own = layerOf(from);
  if (own === ROOT_FILE) return [];
  const allowed = LAYERS[own];
  if (allowed === undefined) return violation(`${own} has no layer; give it one in scripts/architecture.ts`);
  if (!isFile) return own === 'core' && CORE_PACKAGES.test(to) ? violation(`core must not import ${to}`) : [];
  if (!to.startsWith('src/')) return violation('it lies outside src');
  const other = layerOf(to);
  if (other === ROOT_FILE) return violation('nothing imports the composition root');
  if (to.endsWith('.ts') && !files.has(to)) return violation('there is no such file');
  if (own !== other) return allowed.includes(other) ? [] : violation(`${own} must not import ${other}`);
  return isNeighbour(from, to) ? violation(`one of the ${own} must not import another`) : [];
}

function isNeighbour(from: string, to: string): boolean {
  const shared = FAMILIES[layerOf(from)];
  const [member, other] = [from, to].map((path) => path.split('/').slice(2, -1)[0]);
  // A file at the top of the family, its list, imports all members.
  if (shared === undefined || member === undefined || other === undefined) return false;
  return member !== other && !shared.includes(other);
}

function checkPurity(path: string, text: string): string[] {
  if (layerOf(path) !== 'core') return [];
  const lines = blank(text, 'blank strings').split('\n');
  return lines.flatMap((line, index) =>
    CORE_CALLS.filter(([pattern]) => pattern.test(line)).map(
      ([, name]) => `${path}:${index + 1} uses ${name}: core takes it as an argument`,
    ),
  );
}

function checkTraffic(path: string, text: string): string[] {
  if (path === WAY_OUT) return [];
  const code = blank(text, 'blank strings');
  const calls = OWN_FETCH.test(code) ? TRAFFIC_CALLS : [...TRAFFIC_CALLS, [BARE_FETCH, 'the global fetch'] as const];
  const found = code
    .split('\n')
    .flatMap((line, index) =>
      calls.filter(([pattern]) => pattern.test(line)).map(([, name]) => `${path}:${index + 1} uses ${name}`),
    );
  const packages = importsOf(path, text).filter(
    ({ to, isFile, typeOnly }) => !isFile && !typeOnly && TRAFFIC_PACKAGES.test(to),
  );
  return [...found, ...packages.map(({ to }) => `${path} imports ${to}`)].map(
    (what) => `${what}: traffic leaves through ${WAY_OUT} only`,
  );
}

/** Each strongly connected group once, as one way around it. */
function cyclesOf(imports: readonly Import[]): string[] {
  const targets = new Map<string, string[]>();
  for (const { from, to } of imports) targets.set(from, [...(targets.get(from) ?? []), to]);
  const settled = new Set<string>();
  const trail: string[] = [];
  const cycles: string[] = [];
  const visit = (path: string): void => {
    const start = trail.indexOf(path);
    if (start >= 0) cycles.push(`${[...trail.slice(start), path].join(' → ')}: an import cycle`);
    if (start >= 0 || settled.has(path)) return;
    trail.push(path);
    for (const target of targets.get(path) ?? []) visit(target);
    trail.pop();
    settled.add(path);
  };
  for (const path of targets.keys()) visit(path);
  return cycles;
}

const linesOf = (text: string): number => text.trimEnd().split('\n').length;

function sizesOf(files: ReadonlyMap<string, string>): Sizes {
  const lines = [...files.values()].map(linesOf).sort((a, b) => a - b);
  const at = (part: number): number => lines[Math.ceil(lines.length * part) - 1] ?? 0;
  const largest = at(1);
  const largestFile = [...files].find(([, text]) => linesOf(text) === largest)?.[0] ?? '';
  return { files: files.size, median: at(0.5), ninetieth: at(0.9), largest, largestFile };
}

function checkSizes(files: ReadonlyMap<string, string>, { median, ninetieth }: Sizes): string[] {
  const large = [...files].filter(([, text]) => linesOf(text) > SIZES.largest);
  return [
    ...large.map(([path, text]) => `${path} has ${linesOf(text)} lines: no file has more than ${SIZES.largest}`),
    ...(median > SIZES.median ? [`the median file has ${median} lines: at most ${SIZES.median}`] : []),
    ...(ninetieth > SIZES.ninetieth
      ? [`a tenth of the files has over ${ninetieth} lines: at most ${SIZES.ninetieth}`]
      : []),
  ];
}

/** In this order: comments, templates, strings, and regular expressions where a value may begin. */
const NOT_CODE =
  /\/\/.*|\/\*[\s\S]*?\*\/|`(?:\\[\s\S]|[^`\\])*`|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|(?<=[=(,:[!&|?{};+]\s*|\breturn\s+)\/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n[*])+\//g;

/** The text with all that is no code blanked, line for line. A template goes whole, its expressions too. */
function blank(text: string, strings: 'keep strings' | 'blank strings'): string {
  return text.replace(NOT_CODE, (match) => {
    const isString = match.startsWith("'") || match.startsWith('"');
    return isString && strings === 'keep strings' ? match : match.replace(/[^\n]/g, ' ');
  });
}

export function readSources(root: string): Map<string, string> {
  const entries = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true });
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const sources = paths.filter((path) => path.endsWith('.ts')).sort();
  return new Map(sources.map((path) => [relative(root, path).split(sep).join('/'), readFileSync(path, 'utf8')]));
}

if (import.meta.main) {
  const { violations, sizes } = checkArchitecture(readSources(resolve(dirname(import.meta.filename), '..')));
  for (const violation of violations) console.error(violation);
  const { files, median, ninetieth, largest, largestFile } = sizes;
  console.log(
    `${files} files: median ${median} lines, ninetieth percentile ${ninetieth}, largest ${largest} (${largestFile})`,
  );
  process.exitCode = violations.length > 0 ? 1 : 0;
}
