/**
 * Finds the target of a host, method and path. Static paths are one map look-up; paths with parameters walk
 * a tree by segments, without a regular expression: literal before parameter before `{rest*}`, a method by
 * name before any method, a named host before `*.host` before every host. Built once per configuration.
 */

import { Bare } from '../core/json.ts';

export interface Match<T> {
  readonly target: T;
  /** Decoded. */
  readonly params: Readonly<Record<string, string>>;
  /** The same in their order, as received. */
  readonly values: readonly string[];
}

export type Lookup<T> =
  | { readonly kind: 'found'; readonly match: Match<T> }
  | { readonly kind: 'method'; readonly allowed: readonly string[] }
  | { readonly kind: 'missing' };

/** Of one method, and the others of the same path behind it: a list is short and lies closer in memory than a map. */
interface Entry<T> {
  readonly method: string;
  readonly target: T;
  readonly names: readonly string[];
  next: Entry<T> | undefined;
}

interface Node<T> {
  /** The first literal segment behind it, without a map: most nodes have no other. */
  segment: string | undefined;
  child: Node<T> | undefined;
  literals: Map<string, Node<T>> | undefined;
  parameter: Node<T> | undefined;
  entry: Entry<T> | undefined;
  /** Of `{rest*}`, which takes whatever is left. */
  rest: Entry<T> | undefined;
}

/** The method of an entry that answers all. */
export const ANY = '*';

const NO_PARAMS: Readonly<Record<string, string>> = Object.freeze({});
const NO_VALUES: readonly string[] = Object.freeze([]);
const MISSING = { kind: 'missing' } as const;

const newNode = <T>(): Node<T> => ({
  segment: undefined,
  child: undefined,
  literals: undefined,
  parameter: undefined,
  entry: undefined,
  rest: undefined,
});

const literalOf = <T>(node: Node<T>, segment: string): Node<T> | undefined =>
  segment === node.segment ? node.child : node.literals?.get(segment);

function addLiteral<T>(node: Node<T>, segment: string): Node<T> {
  const known = literalOf(node, segment);
  if (known !== undefined) return known;
  const child = newNode<T>();
  if (node.segment === undefined) {
    node.segment = segment;
    node.child = child;
  } else (node.literals ??= new Map()).set(segment, child);
  return child;
}

/** Lists of names, each once: what thousands of routes share stays near the processor. */
const sharedNames = new Map<string, readonly string[]>();

function shared(names: readonly string[]): readonly string[] {
  const key = names.join('/');
  const known = sharedNames.get(key) ?? names;
  sharedNames.set(key, known);
  return known;
}

function named<T>(first: Entry<T> | undefined, method: string): Entry<T> | undefined {
  let any: Entry<T> | undefined;
  for (let entry = first; entry !== undefined; entry = entry.next) {
    if (entry.method === method) return entry;
    if (entry.method === ANY) any = entry;
  }
  return any;
}

/** The list with the method in it, in place of one that had it. */
function put<T>(first: Entry<T> | undefined, method: string, names: readonly string[], target: T): Entry<T> {
  if (first === undefined) return { method, target, names, next: undefined };
  if (first.method === method) return { method, target, names, next: first.next };
  first.next = put(first.next, method, names, target);
  return first;
}

function note(first: Entry<unknown> | undefined, allowed: Set<string> | undefined): void {
  for (let entry = allowed && first; entry !== undefined; entry = entry.next) allowed?.add(entry.method);
}

class Paths<T> {
  #static: Map<string, Entry<T>> | undefined;
  readonly #root: Node<T> = newNode();

  add(method: string, path: string, target: T): void {
    if (!path.includes('{')) {
      this.#static ??= new Map();
      this.#static.set(path, put(this.#static.get(path), method, NO_VALUES, target));
      return;
    }
    const names: string[] = [];
    let node = this.#root;
    for (const segment of path.slice(1).split('/')) {
      if (segment.endsWith('*}')) {
        names.push(segment.slice(1, -2));
        node.rest = put(node.rest, method, shared(names), target);
        return;
      }
      if (segment.startsWith('{')) {
        names.push(segment.slice(1, -1));
        node = node.parameter ??= newNode();
      } else node = addLiteral(node, segment);
    }
    node.entry = put(node.entry, method, shared(names), target);
  }

  /** @param allowed gets the methods of what matches the path alone */
  find(method: string, path: string, allowed: Set<string> | undefined): Lookup<T> | undefined {
    const fixed = this.#static?.get(path);
    const entry = named(fixed, method);
    if (entry !== undefined) {
      return { kind: 'found', match: { target: entry.target, params: NO_PARAMS, values: NO_VALUES } };
    }
    note(fixed, allowed);
    const values: string[] = [];
    const dynamic = walk(this.#root, method, path, 1, values, allowed);
    return dynamic && found(dynamic, values);
  }
}

export class Router<T> {
  readonly #everywhere = new Paths<T>();
  readonly #hosts = new Map<string, Paths<T>>();
  /** By `.example.com`. */
  readonly #domains = new Map<string, Paths<T>>();

  /**
   * @param path normalised, `/a/{id}/{rest*}`
   * @param host `api.example.com`, `*.example.com`, or undefined for every host
   */
  add(method: string, path: string, target: T, host?: string): void {
    this.#pathsOf(host).add(method, path, target);
  }

  #pathsOf(host: string | undefined): Paths<T> {
    if (host === undefined) return this.#everywhere;
    const [map, key] = host.startsWith('*') ? [this.#domains, host.slice(1)] : [this.#hosts, host];
    const paths = map.get(key) ?? new Paths<T>();
    map.set(key, paths);
    return paths;
  }

  /** Whether the host of a request matters; reading it is spared otherwise. */
  get hosted(): boolean {
    return this.#hosts.size > 0 || this.#domains.size > 0;
  }

  /**
   * @param path as received, percent-encoding kept; parameters come back decoded
   * @param host without a port
   */
  find(method: string, path: string, host = ''): Lookup<T> {
    const own = this.hosted ? this.#onHost(host) : [];
    for (const paths of own) {
      const lookup = paths.find(method, path, undefined);
      if (lookup !== undefined) return lookup;
    }
    const lookup = this.#everywhere.find(method, path, undefined);
    if (lookup !== undefined) return lookup;
    const allowed = new Set<string>();
    for (const paths of [...own, this.#everywhere]) paths.find('', path, allowed);
    return allowed.size === 0 ? MISSING : { kind: 'method', allowed: [...allowed] };
  }

  /** The nearest first. */
  #onHost(host: string): readonly Paths<T>[] {
    const exact = this.#hosts.get(host);
    const all = exact === undefined ? [] : [exact];
    if (this.#domains.size === 0) return all;
    for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1)) {
      const paths = this.#domains.get(host.slice(dot));
      if (paths !== undefined) all.push(paths);
    }
    return all;
  }
}

function walk<T>(
  node: Node<T>,
  method: string,
  path: string,
  from: number,
  values: string[],
  allowed: Set<string> | undefined,
): Entry<T> | undefined {
  const slash = path.indexOf('/', from);
  const segment = path.slice(from, slash === -1 ? path.length : slash);
  const literal = literalOf(node, segment);
  const entry = literal && enter(literal, method, path, slash, values, allowed);
  if (entry !== undefined) return entry;
  // An empty segment is no value: `/orders//items` does not match `/orders/{id}/items`.
  if (node.parameter !== undefined && segment !== '') {
    values.push(segment);
    const behind = enter(node.parameter, method, path, slash, values, allowed);
    if (behind !== undefined) return behind;
    values.pop();
  }
  return takeRest(node, method, path.slice(from), values, allowed);
}

function enter<T>(
  node: Node<T>,
  method: string,
  path: string,
  slash: number,
  values: string[],
  allowed: Set<string> | undefined,
): Entry<T> | undefined {
  if (slash !== -1) return walk(node, method, path, slash + 1, values, allowed);
  const entry = named(node.entry, method);
  if (entry !== undefined) return entry;
  note(node.entry, allowed);
  return takeRest(node, method, '', values, allowed);
}

function takeRest<T>(
  { rest }: Node<T>,
  method: string,
  left: string,
  values: string[],
  allowed: Set<string> | undefined,
): Entry<T> | undefined {
  const entry = named(rest, method);
  if (entry !== undefined) values.push(left);
  else note(rest, allowed);
  return entry;
}

function found<T>(entry: Entry<T>, values: readonly string[]): Lookup<T> {
  const params = new Bare<string>();
  for (let index = 0; index < entry.names.length; index++) {
    const value = decode(values[index] ?? '');
    if (value === undefined) return MISSING;
    params[entry.names[index] ?? ''] = value;
  }
  return { kind: 'found', match: { target: entry.target, params, values } };
}

/** A malformed escape matches nothing rather than reaching a chain half-decoded. */
function decode(value: string): string | undefined {
  if (!value.includes('%')) return value;
  try {
    return decodeURIComponent(value);
  } catch {
    return undefined;
  }
}
