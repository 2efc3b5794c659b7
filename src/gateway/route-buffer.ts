/**
 * A tree of routes laid out in one buffer: with thousands of them a look-up costs what it fetches from memory, and
 * here that is two or three places instead of a dozen objects (`npm run bench -- routes`).
 *
 * A place is an index into the words; 0 stands for none.
 */

/** A node while routes are added. */
export class Branch<T> {
  readonly literals = new Map<string, Branch<T>>();
  /** What is behind a parameter that is not the end. */
  parameter: Branch<T> | undefined;
  readonly ends: End<T>[] = [];
  /** Of a parameter that is the end. */
  readonly lasts: End<T>[] = [];
  /** Of `{rest*}`, which takes whatever is left. */
  readonly rests: End<T>[] = [];

  literal(segment: string): Branch<T> {
    const known = this.literals.get(segment) ?? new Branch();
    this.literals.set(segment, known);
    return known;
  }
}

export interface End<T> {
  readonly method: string;
  readonly target: T;
  /** Of the parameters. */
  readonly names: readonly string[];
}

/** What is looked for, and what is found on the way. */
export interface Search {
  /** {@link RouteBuffer.method}. */
  readonly method: number;
  readonly path: string;
  /** Of the parameters, as received. */
  readonly values: string[];
  /** Gets the methods of what matches the path alone. */
  readonly allowed: Set<string> | undefined;
}

/** A node: these words, and behind them its segment, two UTF-16 units a word. */
const PARENT = 0;
const LENGTH = 1;
/** Its literal where it has one; {@link MANY} where they are among the edges. */
const LITERAL = 2;
const PARAMETER = 3;
const ENDS = 4;
const NODE_WORDS = 5;

const MANY = -1;

/** An end of routes: its kind with its method, {@link kindOf}, and the place of the next one of the node. */
const KIND = 0;
const TARGET = 1;
const NAMES = 2;
const NEXT = 3;
const END_WORDS = 4;

/** Where an end stands: at the node, at a parameter behind it that is the last, or at `{rest*}`. */
const HERE = 0;
const LAST = 1;
const REST = 2;
const KINDS = 3;

const kindOf = (where: number, method: number): number => method * KINDS + where;

const UNITS_PER_WORD = 2;

/** FNV-1a. The routes are the owner's: nobody else chooses what collides. */
function hashOf(parent: number, text: string, from: number, to: number): number {
  let hash = 0x811c9dc5 ^ parent;
  for (let index = from; index < to; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash ^ (hash >>> 15);
}

export class RouteBuffer<T> {
  readonly root: number;
  /** The method of an end that answers all. */
  readonly #any: number;
  readonly #methods: string[] = [];
  readonly #methodIds = new Map<string, number>();
  readonly #targets: T[] = [];
  readonly #names: (readonly string[])[] = [];
  readonly #namesIds = new Map<string, number>();
  #words = new Int32Array(1024);
  #units = new Uint16Array(this.#words.buffer);
  #used = 1;
  /** Literals of all nodes that have many: pairs of hash and place, in the first free pair from the hash on. */
  readonly #edges: Int32Array;
  readonly #mask: number;

  constructor(root: Branch<T>, any: string) {
    this.#any = this.#idOf(this.#methodIds, this.#methods, any, any);
    const edges: (readonly [hash: number, place: number])[] = [];
    this.root = this.#lay(root, 0, '', edges);
    let pairs = 4;
    while (pairs < 1.5 * edges.length) pairs *= 2;
    this.#mask = pairs - 1;
    this.#edges = new Int32Array(2 * pairs);
    for (const [hash, place] of edges) {
      let pair = hash & this.#mask;
      while (this.#edges[2 * pair + 1] !== 0) pair = (pair + 1) & this.#mask;
      this.#edges.set([hash, place], 2 * pair);
    }
  }

  method(name: string): number {
    return this.#methodIds.get(name) ?? -1;
  }

  targetOf(end: number): T {
    return this.#targets[this.#word(end + TARGET)] as T;
  }

  namesOf(end: number): readonly string[] {
    return this.#names[this.#word(end + NAMES)] ?? [];
  }

  /** The literal child of a node that is `text` between two indexes. */
  literal(node: number, text: string, from: number, to: number): number {
    const only = this.#word(node + LITERAL);
    if (only !== MANY) return only !== 0 && this.#spells(only, text, from, to) ? only : 0;
    const hash = hashOf(node, text, from, to);
    for (let pair = hash & this.#mask; ; pair = (pair + 1) & this.#mask) {
      const place = this.#edges[2 * pair + 1] ?? 0;
      if (place === 0) return 0;
      if (this.#edges[2 * pair] !== hash || this.#word(place + PARENT) !== node) continue;
      if (this.#spells(place, text, from, to)) return place;
    }
  }

  /** The end of the path from an index on, behind a node. */
  walk(node: number, from: number, search: Search): number {
    const { path, values } = search;
    const slash = path.indexOf('/', from);
    const to = slash === -1 ? path.length : slash;
    const literal = this.literal(node, path, from, to);
    const end = literal && this.#enter(literal, slash, search);
    if (end !== 0) return end;
    // An empty segment is no value: `/orders//items` does not match `/orders/{id}/items`.
    if (to > from) {
      const last = slash === -1 ? this.#end(node, LAST, search) : 0;
      const parameter = last === 0 ? this.#word(node + PARAMETER) : 0;
      if (last !== 0 || parameter !== 0) {
        values.push(path.slice(from, to));
        const behind = last || this.#enter(parameter, slash, search);
        if (behind !== 0) return behind;
        values.pop();
      }
    }
    return this.#rest(node, from, search);
  }

  #enter(node: number, slash: number, search: Search): number {
    if (slash !== -1) return this.walk(node, slash + 1, search);
    return this.#end(node, HERE, search) || this.#rest(node, search.path.length, search);
  }

  #rest(node: number, from: number, search: Search): number {
    const end = this.#end(node, REST, search);
    if (end !== 0) search.values.push(search.path.slice(from));
    return end;
  }

  /** Of the ends of a node, that of the method, or of any. */
  #end(node: number, where: number, { method, allowed }: Search): number {
    let any = 0;
    for (let end = this.#word(node + ENDS); end !== 0; end = this.#word(end + NEXT)) {
      const kind = this.#word(end + KIND);
      if (kind === kindOf(where, method)) return end;
      if (kind % KINDS !== where) continue;
      if (allowed !== undefined) allowed.add(this.#methods[(kind - where) / KINDS] ?? '');
      else if (kind === kindOf(where, this.#any)) any = end;
    }
    return any;
  }

  #word(place: number): number {
    return this.#words[place] ?? 0;
  }

  #spells(node: number, text: string, from: number, to: number): boolean {
    if (this.#word(node + LENGTH) !== to - from) return false;
    let unit = UNITS_PER_WORD * (node + NODE_WORDS);
    for (let index = from; index < to; index++, unit++) {
      if (this.#units[unit] !== text.charCodeAt(index)) return false;
    }
    return true;
  }

  /** In the order of a walk, so that what is read together lies together. */
  #lay(branch: Branch<T>, parent: number, segment: string, edges?: (readonly [number, number])[]): number {
    const { literals, parameter, ends, lasts, rests } = branch;
    const place = this.#take(NODE_WORDS + Math.ceil(segment.length / UNITS_PER_WORD));
    this.#set(place + PARENT, parent);
    this.#set(place + LENGTH, segment.length);
    for (let index = 0; index < segment.length; index++) {
      this.#units[UNITS_PER_WORD * (place + NODE_WORDS) + index] = segment.charCodeAt(index);
    }
    let end = this.#list(ends, HERE, 0);
    end = this.#list(lasts, LAST, end);
    this.#set(place + ENDS, this.#list(rests, REST, end));
    if (parameter !== undefined) this.#set(place + PARAMETER, this.#lay(parameter, place, '', edges));
    for (const [text, child] of literals) {
      const childPlace = this.#lay(child, place, text, edges);
      this.#set(place + LITERAL, literals.size === 1 ? childPlace : MANY);
      if (literals.size > 1) edges?.push([hashOf(place, text, 0, text.length), childPlace]);
    }
    return place;
  }

  /** In front of `next`; of one kind there is no order. */
  #list(ends: readonly End<T>[], where: number, next: number): number {
    let first = next;
    for (const { method, target, names } of ends) {
      const place = this.#take(END_WORDS);
      this.#set(place + KIND, kindOf(where, this.#idOf(this.#methodIds, this.#methods, method, method)));
      this.#set(place + TARGET, this.#targets.push(target) - 1);
      this.#set(place + NAMES, this.#idOf(this.#namesIds, this.#names, names.join('/'), names));
      this.#set(place + NEXT, first);
      first = place;
    }
    return first;
  }

  #idOf<V>(ids: Map<string, number>, values: V[], key: string, value: V): number {
    const id = ids.get(key) ?? values.push(value) - 1;
    ids.set(key, id);
    return id;
  }

  #take(words: number): number {
    const place = this.#used;
    this.#used += words;
    if (this.#used > this.#words.length) {
      const larger = new Int32Array(UNITS_PER_WORD * this.#used);
      larger.set(this.#words);
      this.#words = larger;
      this.#units = new Uint16Array(larger.buffer);
    }
    return place;
  }

  #set(place: number, word: number): void {
    this.#words[place] = word;
  }
}
