/**
 * Finds the target of a method and path. Static paths are one map look-up; paths with parameters walk a
 * tree by segments, literal before parameter, without a regular expression. Built once per configuration.
 */

import { Bare } from '../core/json.ts';

export interface Match<T> {
  readonly target: T;
  readonly params: Readonly<Record<string, string>>;
}

export type Lookup<T> =
  | { readonly kind: 'found'; readonly match: Match<T> }
  | { readonly kind: 'method'; readonly allowed: readonly string[] }
  | { readonly kind: 'missing' };

interface Route<T> {
  readonly target: T;
  readonly names: readonly string[];
}

type Methods<T> = Map<string, Route<T>>;

interface Node<T> {
  readonly literals: Map<string, Node<T>>;
  parameter: Node<T> | undefined;
  methods: Methods<T> | undefined;
}

const NO_PARAMS: Readonly<Record<string, string>> = Object.freeze({});
const MISSING = { kind: 'missing' } as const;

const newNode = <T>(): Node<T> => ({ literals: new Map(), parameter: undefined, methods: undefined });

export class Router<T> {
  readonly #static = new Map<string, Methods<T>>();
  readonly #root: Node<T> = newNode();

  /** @param path normalised, `/a/{id}/b` */
  add(method: string, path: string, target: T): void {
    const names: string[] = [];
    if (!path.includes('{')) {
      const methods = this.#static.get(path) ?? new Map();
      this.#static.set(path, methods.set(method, { target, names }));
      return;
    }
    let node = this.#root;
    for (const segment of path.slice(1).split('/')) {
      if (segment.startsWith('{')) {
        names.push(segment.slice(1, -1));
        node = node.parameter ??= newNode();
      } else {
        const next = node.literals.get(segment) ?? newNode();
        node.literals.set(segment, next);
        node = next;
      }
    }
    node.methods ??= new Map();
    node.methods.set(method, { target, names });
  }

  /** @param path as received, percent-encoding kept; parameters come back decoded */
  find(method: string, path: string): Lookup<T> {
    const fixed = this.#static.get(path);
    const route = fixed?.get(method);
    if (route !== undefined) return { kind: 'found', match: { target: route.target, params: NO_PARAMS } };
    const values: string[] = [];
    const dynamic = walk(this.#root, method, path, 1, values, undefined);
    if (dynamic !== undefined) return found(dynamic, values);
    const allowed = new Set<string>(fixed?.keys());
    walk(this.#root, method, path, 1, values, allowed);
    return allowed.size === 0 ? MISSING : { kind: 'method', allowed: [...allowed] };
  }
}

/** Adds the methods of what matches the path alone to `allowed`, and looks on. */
function walk<T>(
  node: Node<T>,
  method: string,
  path: string,
  from: number,
  values: string[],
  allowed: Set<string> | undefined,
): Route<T> | undefined {
  const slash = path.indexOf('/', from);
  const segment = path.slice(from, slash === -1 ? path.length : slash);
  const literal = node.literals.get(segment);
  const route = literal && enter(literal, method, path, slash, values, allowed);
  // An empty segment is no value: `/orders//items` does not match `/orders/{id}/items`.
  if (route !== undefined || node.parameter === undefined || segment === '') return route;
  values.push(segment);
  const behind = enter(node.parameter, method, path, slash, values, allowed);
  if (behind === undefined) values.pop();
  return behind;
}

function enter<T>(
  node: Node<T>,
  method: string,
  path: string,
  slash: number,
  values: string[],
  allowed: Set<string> | undefined,
): Route<T> | undefined {
  if (slash !== -1) return walk(node, method, path, slash + 1, values, allowed);
  const route = node.methods?.get(method);
  if (route === undefined && allowed !== undefined) for (const other of node.methods?.keys() ?? []) allowed.add(other);
  return route;
}

function found<T>(route: Route<T>, values: readonly string[]): Lookup<T> {
  const params = new Bare<string>();
  for (let index = 0; index < route.names.length; index++) {
    const value = decode(values[index] ?? '');
    if (value === undefined) return MISSING;
    params[route.names[index] ?? ''] = value;
  }
  return { kind: 'found', match: { target: route.target, params } };
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
