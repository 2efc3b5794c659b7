/**
 * Finds the target of a host, method and path, without a regular expression: literal before parameter before
 * `{rest*}`, a method by name before any method, a named host before `*.host` before every host.
 */

import { Bare } from '../core/json.ts';
import { Branch, RouteBuffer, type End, type Search } from './route-buffer.ts';

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

/** The method of a route that answers all. */
export const ANY = '*';

const MISSING = { kind: 'missing' } as const;

/** Literals of the root, which no path begins with. */
const EVERY_HOST = '';

export class Router<T> {
  /** By host, `.example.com` for all below it. */
  readonly #hosts = new Branch<T>();
  /** Made at the first look-up after a route was added. */
  #built: RouteBuffer<T> | undefined;
  #everyHost = 0;
  #domains = false;

  /**
   * @param path normalised, `/a/{id}/{rest*}`
   * @param host `api.example.com`, `*.example.com`, or undefined for every host
   */
  add(method: string, path: string, target: T, host = EVERY_HOST): void {
    if (host.startsWith('*')) this.#domains = true;
    grow(this.#hosts.literal(host.startsWith('*') ? host.slice(1) : host), method, path, target);
    this.#built = undefined;
  }

  /** Whether the host of a request matters; reading it is spared otherwise. */
  get hosted(): boolean {
    const { literals } = this.#hosts;
    return literals.size > (literals.has(EVERY_HOST) ? 1 : 0);
  }

  /**
   * @param path as received, percent-encoding kept; parameters come back decoded
   * @param host without a port
   */
  find(method: string, path: string, host = EVERY_HOST): Lookup<T> {
    const buffer = (this.#built ??= this.#build());
    const values: string[] = [];
    const end = this.#seek(buffer, host, { method: buffer.method(method), path, values, allowed: undefined });
    if (end !== 0) return found(buffer.targetOf(end), buffer.namesOf(end), values);
    const allowed = new Set<string>();
    this.#seek(buffer, host, { method: -1, path, values: [], allowed });
    return allowed.size === 0 ? MISSING : { kind: 'method', allowed: [...allowed] };
  }

  #build(): RouteBuffer<T> {
    const buffer = new RouteBuffer(this.#hosts, ANY);
    this.#everyHost = buffer.literal(buffer.root, EVERY_HOST, 0, 0);
    return buffer;
  }

  /** On the host itself, on the domains that it is in, the nearest first, and on every host. */
  #seek(buffer: RouteBuffer<T>, host: string, search: Search): number {
    const own = host === EVERY_HOST ? 0 : buffer.literal(buffer.root, host, 0, host.length);
    let end = own && buffer.walk(own, 1, search);
    if (this.#domains) {
      for (let dot = host.indexOf('.'); end === 0 && dot !== -1; dot = host.indexOf('.', dot + 1)) {
        const domain = buffer.literal(buffer.root, host, dot, host.length);
        end = domain && buffer.walk(domain, 1, search);
      }
    }
    return end || (this.#everyHost && buffer.walk(this.#everyHost, 1, search));
  }
}

/** Puts a path into the tree. */
function grow<T>(root: Branch<T>, method: string, path: string, target: T): void {
  const names: string[] = [];
  let branch = root;
  const segments = path.slice(1).split('/');
  for (const [index, segment] of segments.entries()) {
    if (!segment.startsWith('{')) {
      branch = branch.literal(segment);
      continue;
    }
    const rest = segment.endsWith('*}');
    names.push(segment.slice(1, rest ? -2 : -1));
    if (rest || index === segments.length - 1) {
      put(rest ? branch.rests : branch.lasts, { method, target, names });
      return;
    }
    branch = branch.parameter ??= new Branch();
  }
  put(branch.ends, { method, target, names });
}

/** In place of one of the same method. */
function put<T>(ends: End<T>[], end: End<T>): void {
  const index = ends.findIndex(({ method }) => method === end.method);
  ends.splice(index === -1 ? ends.length : index, 1, end);
}

const NO_PARAMS: Match<unknown>['params'] = new Bare<string>();

function found<T>(target: T, names: readonly string[], values: readonly string[]): Lookup<T> {
  if (names.length === 0) return { kind: 'found', match: { target, params: NO_PARAMS, values } };
  const params = new Bare<string>();
  for (let index = 0; index < names.length; index++) {
    const value = decode(values[index] ?? '');
    if (value === undefined) return MISSING;
    params[names[index] ?? ''] = value;
  }
  return { kind: 'found', match: { target, params, values } };
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
