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

/** Few objects lie on the way to a target: with thousands of routes, each is one that the processor has to fetch. */
interface Node<T> {
  /** The first literal segment behind it, without a map: most nodes have no other. */
  segment: string | undefined;
  child: Node<T> | undefined;
  literals: Map<string, Node<T>> | undefined;
  /** What is behind a parameter that is not the end. */
  parameter: Node<T> | undefined;
  entry: Entry<T> | undefined;
  /** Of a parameter that is the end. */
  last: Entry<T> | undefined;
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
  last: undefined,
  rest: undefined,
});

const literalOf = <T>(node: Node<T>, segment: string): Node<T> | undefined =>
  segment === node.segment ? node.child : node.literals?.get(segment);

function addLiteral<T>(node: Node<T>, segment: string): Node<T> {
  const known = literalOf(node, segment);
  if (known !== undefined) return known;
  const child = newNode<T>();
  if (node.segment === undefined) {
    node.segment = interned(segment);
    node.child = child;
  } else (node.literals ??= new Map()).set(segment, child);
  return child;
}

/** Segments and lists of names, each once: what thousands of routes share stays near the processor. */
const segments = new Map<string, string>();
const lists = new Map<string, readonly string[]>();

function interned(segment: string): string {
  const known = segments.get(segment) ?? segment;
  segments.set(segment, known);
  return known;
}

function shared(names: readonly string[]): readonly string[] {
  const key = names.join('/');
  const known = lists.get(key) ?? names;
  lists.set(key, known);
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

/** Puts a path into the tree. */
function grow<T>(root: Node<T>, method: string, path: string, target: T): void {
  const names: string[] = [];
  let node = root;
  const segments = path.slice(1).split('/');
  for (const [index, segment] of segments.entries()) {
    if (segment.endsWith('*}')) {
      names.push(segment.slice(1, -2));
      node.rest = put(node.rest, method, shared(names), target);
      return;
    }
    if (!segment.startsWith('{')) {
      node = addLiteral(node, segment);
      continue;
    }
    names.push(segment.slice(1, -1));
    if (index === segments.length - 1) {
      node.last = put(node.last, method, shared(names), target);
      return;
    }
    node = node.parameter ??= newNode();
  }
  node.entry = put(node.entry, method, shared(names), target);
}

function seek<T>(root: Node<T>, method: string, path: string, allowed: Set<string> | undefined): Lookup<T> | undefined {
  const values: string[] = [];
  const entry = walk(root, method, path, 1, values, allowed);
  return entry && found(entry, values);
}

export class Router<T> {
  /** Of every host: static paths, and the others. */
  readonly #fixed = new Map<string, Entry<T>>();
  readonly #root: Node<T> = newNode();
  readonly #hosts = new Map<string, Node<T>>();
  /** By `.example.com`. */
  readonly #domains = new Map<string, Node<T>>();

  /**
   * @param path normalised, `/a/{id}/{rest*}`
   * @param host `api.example.com`, `*.example.com`, or undefined for every host
   */
  add(method: string, path: string, target: T, host?: string): void {
    if (host === undefined && !path.includes('{')) {
      this.#fixed.set(path, put(this.#fixed.get(path), method, NO_VALUES, target));
    } else grow(this.#rootOf(host), method, path, target);
  }

  #rootOf(host: string | undefined): Node<T> {
    if (host === undefined) return this.#root;
    const [map, key] = host.startsWith('*') ? [this.#domains, host.slice(1)] : [this.#hosts, host];
    const root = map.get(key) ?? newNode<T>();
    map.set(key, root);
    return root;
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
    const lookup = this.#seek(own, method, path, undefined);
    if (lookup !== undefined) return lookup;
    const allowed = new Set<string>();
    this.#seek(own, '', path, allowed);
    return allowed.size === 0 ? MISSING : { kind: 'method', allowed: [...allowed] };
  }

  /** @param allowed gets the methods of what matches the path alone */
  #seek(
    own: readonly Node<T>[],
    method: string,
    path: string,
    allowed: Set<string> | undefined,
  ): Lookup<T> | undefined {
    for (const root of own) {
      const lookup = seek(root, method, path, allowed);
      if (lookup !== undefined) return lookup;
    }
    const fixed = this.#fixed.get(path);
    const entry = named(fixed, method);
    if (entry !== undefined) {
      return { kind: 'found', match: { target: entry.target, params: NO_PARAMS, values: NO_VALUES } };
    }
    note(fixed, allowed);
    return seek(this.#root, method, path, allowed);
  }

  /** The nearest first. */
  #onHost(host: string): readonly Node<T>[] {
    const exact = this.#hosts.get(host);
    const all = exact === undefined ? [] : [exact];
    if (this.#domains.size === 0) return all;
    for (let dot = host.indexOf('.'); dot !== -1; dot = host.indexOf('.', dot + 1)) {
      const root = this.#domains.get(host.slice(dot));
      if (root !== undefined) all.push(root);
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
  if (segment !== '') {
    values.push(segment);
    const behind = behindParameter(node, method, path, slash, values, allowed);
    if (behind !== undefined) return behind;
    values.pop();
  }
  return takeRest(node, method, path.slice(from), values, allowed);
}

function behindParameter<T>(
  { parameter, last }: Node<T>,
  method: string,
  path: string,
  slash: number,
  values: string[],
  allowed: Set<string> | undefined,
): Entry<T> | undefined {
  if (slash === -1) {
    const entry = named(last, method);
    if (entry !== undefined) return entry;
    note(last, allowed);
  }
  return parameter && enter(parameter, method, path, slash, values, allowed);
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
