/** The part of jsonata's syntax tree that we read, and walks over it. */

export interface Node {
  readonly type: string;
  readonly value?: unknown;
  readonly position?: number;
  readonly steps?: readonly Node[];
  readonly stages?: readonly Node[];
  readonly expr?: Node;
  readonly lhs?: Node | readonly (readonly [Node, Node])[];
  readonly rhs?: Node;
  readonly condition?: Node;
  readonly then?: Node;
  readonly else?: Node;
  readonly expressions?: readonly Node[];
  readonly expression?: Node;
  readonly arguments?: readonly Node[];
  readonly procedure?: Node;
  readonly [key: string]: unknown;
}

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && typeof (value as { type?: unknown }).type === 'string';

function* childrenOf(value: unknown): Generator<Node> {
  if (Array.isArray(value)) for (const item of value) yield* childrenOf(item);
  else if (isNode(value)) yield value;
}

/** Every node, parents first. Stack depth is bounded by the length of the source. */
export function* nodesOf(node: Node): Generator<Node> {
  yield node;
  for (const value of Object.values(node)) {
    if (typeof value === 'object' && value !== null) for (const child of childrenOf(value)) yield* nodesOf(child);
  }
}

/** `$now` and `$millis` are not among them: a run has one time, which its row keeps. */
const NONDETERMINISTIC: ReadonlySet<unknown> = new Set(['random', 'shuffle']);

/** A built-in can only be reached through a variable of its name, also by an alias. */
export function isDeterministic(root: Node): boolean {
  for (const node of nodesOf(root)) if (node.type === 'variable' && NONDETERMINISTIC.has(node.value)) return false;
  return true;
}

const CLOCK: ReadonlySet<unknown> = new Set(['now', 'millis']);

/** Whether it may ask for the time, which is another for each run. */
export function isTimed(root: Node): boolean {
  for (const node of nodesOf(root)) if (node.type === 'variable' && CLOCK.has(node.value)) return true;
  return false;
}

const isContextVariable = (node: Node | undefined): boolean =>
  node?.type === 'variable' && (node.value === '' || node.value === '$');

/** The names a path begins with, `$` and `$$` left out; undefined where it does not begin with a name. */
function namesOf(path: Node): readonly unknown[] {
  const steps = path.steps ?? [];
  const named = isContextVariable(steps[0]) ? steps.slice(1) : steps;
  const end = named.findIndex((step) => step.type !== 'name' && step.type !== 'string');
  return named.slice(0, end === -1 ? undefined : end).map((step) => step.value);
}

/** Ids in `steps.<id>`; `*` where the steps are used as a whole, or by a computed name. */
export function referencedSteps(root: Node): string[] {
  const found = new Set<string>();
  for (const node of nodesOf(root)) {
    if (node.type !== 'path') continue;
    const [first, id] = namesOf(node);
    if (first === 'steps') found.add(typeof id === 'string' ? id : '*');
    else if (first === undefined && isContextVariable(node.steps?.[0])) found.add('*');
  }
  return [...found];
}

/** First names of the paths that are evaluated at the root, so that a misspelt one can be told at publish. */
export function referencedRoots(node: Node): string[] {
  if (node.type === 'path') {
    const [first] = namesOf(node);
    return typeof first === 'string' ? [first] : [];
  }
  // Inside these, names belong to another context or scope.
  if (!['binary', 'unary', 'condition', 'function'].includes(node.type)) return [];
  const { procedure: _procedure, ...rest } = node;
  return Object.values(rest).flatMap((value) => [...childrenOf(value)].flatMap(referencedRoots));
}
