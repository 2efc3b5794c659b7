/**
 * Closures for the common part of JSONata. The rule that keeps them right: a closure answers only where
 * it is certain of the library's answer, and otherwise returns {@link UNSURE}, which hands the whole
 * expression to the library. So every type error, every sequence in an odd place and every rare node is
 * the library's own. Expressions have no effects, so evaluating one again is safe.
 */

import type { Node } from './ast.ts';
import { isObject } from '../json.ts';

export const UNSURE = Symbol('unsure');

type Context = Readonly<Record<string, unknown>>;
export type Native = (context: Context) => unknown;

const has = Object.prototype.hasOwnProperty;

const isPlain = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Undefined where the library must do it all. */
export function compileNative(node: Node): Native | undefined {
  for (const key of MODIFIERS) if (node[key] !== undefined) return undefined;
  return COMPILERS[node.type]?.(node);
}

/** What a node may carry besides its own meaning: `(…)[0]`, `…{group}`, tail calls. */
const MODIFIERS = ['predicate', 'stages', 'group', 'thunk', 'keepArray'];

const literal: (node: Node) => Native =
  ({ value }) =>
  () =>
    value;

const COMPILERS: Readonly<Record<string, (node: Node) => Native | undefined>> = {
  number: literal,
  string: literal,
  value: literal,
  path: compilePath,
  binary: compileBinary,
  unary: compileUnary,
  condition: compileCondition,
  function: compileFunction,
  block: compileBlock,
};

/** A name, and the position after it where there is one: `rows[0]`. */
interface Step {
  readonly name: string;
  readonly index: number | undefined;
}

function compilePath(node: Node): Native | undefined {
  if (node['keepSingletonArray'] !== undefined || node['group'] !== undefined || node['tuple'] !== undefined)
    return undefined;
  const all = node.steps ?? [];
  // At the root, `$` and `$$` are the scope.
  const rooted =
    all[0]?.type === 'variable' && (all[0].value === '' || all[0].value === '$') && all[0].stages === undefined;
  const steps: Step[] = [];
  for (const step of rooted ? all.slice(1) : all) {
    const compiled = compileStep(step);
    if (compiled === undefined) return undefined;
    steps.push(compiled);
  }
  if (steps.length === 0) return undefined;
  return (context) => follow(context, steps);
}

function compileStep(step: Node): Step | undefined {
  if (step.type !== 'name' || typeof step.value !== 'string') return undefined;
  for (const key of ['predicate', 'focus', 'index', 'ancestor', 'tuple', 'keepArray']) {
    if (step[key] !== undefined) return undefined;
  }
  const [stage, ...others] = step.stages ?? [];
  if (stage === undefined) return { name: step.value, index: undefined };
  const position = stage.type === 'filter' && stage.expr?.type === 'number' ? stage.expr.value : undefined;
  if (others.length > 0 || typeof position !== 'number') return undefined;
  return { name: step.value, index: Math.floor(position) };
}

const at = (list: readonly unknown[], index: number): unknown => list[index < 0 ? list.length + index : index];

/** Follows single values; the first array on the way that is not indexed goes on as a sequence. */
function follow(context: Context, steps: readonly Step[]): unknown {
  let value: unknown = context;
  for (let position = 0; position < steps.length; position++) {
    const step = steps[position];
    if (step === undefined || !isPlain(value) || !has.call(value, step.name)) return undefined;
    value = value[step.name];
    if (typeof value === 'function') return UNSURE;
    if (step.index !== undefined && Array.isArray(value)) {
      value = at(value, step.index);
      if (Array.isArray(value)) return UNSURE;
    } else if (step.index !== undefined && step.index !== 0 && step.index !== -1) return undefined;
    if (value === undefined) return undefined;
    if (Array.isArray(value) && position < steps.length - 1) return followEach(value, steps, position + 1);
  }
  return value;
}

/** The rest of a path over several values: each step maps and flattens by one level. */
function followEach(list: readonly unknown[], steps: readonly Step[], from: number): unknown {
  let sequence = list;
  for (let position = from; position < steps.length; position++) {
    const step = steps[position];
    if (step === undefined || step.index !== undefined) return UNSURE;
    const found: unknown[] = [];
    for (const item of sequence) {
      if (Array.isArray(item) || typeof item === 'function') return UNSURE;
      if (!isPlain(item) || !has.call(item, step.name)) continue;
      const value = item[step.name];
      if (value !== undefined) found.push(value);
    }
    const [only] = found;
    if (position === steps.length - 1 && found.length === 1 && Array.isArray(only)) return only;
    sequence = found.some(Array.isArray) ? found.flat() : found;
    if (sequence.length === 0) return undefined;
  }
  return sequence.length === 1 ? sequence[0] : sequence;
}

type Operator = (left: unknown, right: unknown) => unknown;

function arithmetic(operate: (left: number, right: number) => number): Operator {
  return (left, right) => {
    if (typeof left === 'number' && typeof right === 'number') {
      const result = operate(left, right);
      return Number.isFinite(result) ? result : UNSURE;
    }
    const fits = (value: unknown): boolean =>
      value === undefined || (typeof value === 'number' && Number.isFinite(value));
    return fits(left) && fits(right) ? undefined : UNSURE;
  };
}

function comparison(compare: (left: number | string, right: number | string) => boolean): Operator {
  return (left, right) => {
    const same = typeof left === typeof right;
    if (same && (typeof left === 'number' || typeof left === 'string')) return compare(left, right as typeof left);
    const fits = (value: unknown): boolean =>
      value === undefined || typeof value === 'number' || typeof value === 'string';
    return (left === undefined || right === undefined) && fits(left) && fits(right) ? undefined : UNSURE;
  };
}

const isPrimitive = (value: unknown): boolean =>
  value === null || (typeof value !== 'object' && typeof value !== 'function');

function equality(negated: boolean): Operator {
  return (left, right) => {
    if (left === undefined || right === undefined) return false;
    if (!isPrimitive(left) || !isPrimitive(right)) return UNSURE;
    return (left === right) !== negated;
  };
}

/** The text of a value in a concatenation; undefined where only the library can tell. */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (value === undefined) return '';
  if (value === null || typeof value === 'boolean' || Number.isSafeInteger(value)) return String(value);
  return undefined;
}

const concatenate: Operator = (left, right) => {
  const [first, second] = [textOf(left), textOf(right)];
  return first === undefined || second === undefined ? UNSURE : first + second;
};

const OPERATORS: Readonly<Record<string, Operator>> = {
  '+': arithmetic((left, right) => left + right),
  '-': arithmetic((left, right) => left - right),
  '*': arithmetic((left, right) => left * right),
  '/': arithmetic((left, right) => left / right),
  '%': arithmetic((left, right) => left % right),
  '<': comparison((left, right) => left < right),
  '<=': comparison((left, right) => left <= right),
  '>': comparison((left, right) => left > right),
  '>=': comparison((left, right) => left >= right),
  '=': equality(false),
  '!=': equality(true),
  '&': concatenate,
};

function compileBinary(node: Node): Native | undefined {
  const left = isNodeLike(node.lhs) ? compileNative(node.lhs) : undefined;
  const right = node.rhs === undefined ? undefined : compileNative(node.rhs);
  if (left === undefined || right === undefined || typeof node.value !== 'string') return undefined;
  if (node.value === 'and' || node.value === 'or') return compileLogical(left, right, node.value === 'or');
  const operate = OPERATORS[node.value];
  if (operate === undefined) return undefined;
  return (context) => {
    const first = left(context);
    if (first === UNSURE) return UNSURE;
    const second = right(context);
    return second === UNSURE ? UNSURE : operate(first, second);
  };
}

const isNodeLike = (value: Node['lhs']): value is Node => value !== undefined && !Array.isArray(value);

function compileLogical(left: Native, right: Native, decisive: boolean): Native {
  return (context) => {
    const first = truth(left(context));
    if (first === UNSURE || first === decisive) return first;
    return truth(right(context));
  };
}

/** `$boolean`, with missing as false. */
function truth(value: unknown): boolean | typeof UNSURE {
  if (typeof value === 'boolean') return value;
  if (value === undefined || value === null || value === '') return false;
  if (typeof value === 'string') return true;
  if (typeof value === 'number') return Number.isFinite(value) ? value !== 0 : UNSURE;
  if (Array.isArray(value)) {
    if (value.length === 0) return false;
    const truths = value.map((item) => truth(item));
    return truths.includes(UNSURE) ? UNSURE : truths.includes(true);
  }
  return isPlain(value) ? Object.keys(value).length > 0 : UNSURE;
}

function compileUnary(node: Node): Native | undefined {
  if (node.value === '[') return compileArray(node);
  if (node.value === '{') return compileObject(node);
  const operand = node.expression === undefined ? undefined : compileNative(node.expression);
  if (node.value !== '-' || operand === undefined) return undefined;
  return (context) => {
    const value = operand(context);
    return value === undefined ? undefined : typeof value === 'number' && Number.isFinite(value) ? -value : UNSURE;
  };
}

function compileArray(node: Node): Native | undefined {
  const items: { readonly evaluate: Native; readonly nested: boolean }[] = [];
  for (const item of node.expressions ?? []) {
    const evaluate = compileNative(item);
    if (evaluate === undefined) return undefined;
    items.push({ evaluate, nested: item.value === '[' });
  }
  return (context) => {
    const made: unknown[] = [];
    for (const { evaluate, nested } of items) {
      const value = evaluate(context);
      if (value === UNSURE) return UNSURE;
      if (value === undefined) continue;
      if (Array.isArray(value) && !nested) for (const each of value) made.push(each);
      else made.push(value);
    }
    return made;
  };
}

function compileObject(node: Node): Native | undefined {
  const fields: { readonly name: string; readonly evaluate: Native }[] = [];
  for (const [key, value] of Array.isArray(node.lhs) ? (node.lhs as readonly (readonly [Node, Node])[]) : []) {
    const evaluate = compileNative(value);
    if (evaluate === undefined || key.type !== 'string' || typeof key.value !== 'string') return undefined;
    const name = key.value;
    if (name === '__proto__' || fields.some((field) => field.name === name)) return undefined;
    fields.push({ name, evaluate });
  }
  return (context) => {
    const made: Record<string, unknown> = {};
    for (const { name, evaluate } of fields) {
      const value = evaluate(context);
      if (value === UNSURE) return UNSURE;
      if (value !== undefined) made[name] = value;
    }
    return made;
  };
}

function compileCondition(node: Node): Native | undefined {
  const condition = node.condition && compileNative(node.condition);
  const whenTrue = node.then && compileNative(node.then);
  const whenFalse = node.else === undefined ? () => undefined : compileNative(node.else);
  if (condition === undefined || whenTrue === undefined || whenFalse === undefined) return undefined;
  return (context) => {
    const value = condition(context);
    const chosen = value === UNSURE ? UNSURE : truth(value);
    if (chosen === UNSURE) return UNSURE;
    return chosen ? whenTrue(context) : whenFalse(context);
  };
}

function compileBlock(node: Node): Native | undefined {
  const [only, ...others] = node.expressions ?? [];
  return only === undefined || others.length > 0 || node['consarray'] !== undefined ? undefined : compileNative(only);
}

/** Built-ins by name and number of arguments. Each takes evaluated arguments. */
type BuiltIn = (...values: unknown[]) => unknown;

const textual =
  (apply: (text: string) => unknown): BuiltIn =>
  (value) =>
    value === undefined ? undefined : typeof value === 'string' ? apply(value) : UNSURE;

const numeric =
  (apply: (value: number) => number): BuiltIn =>
  (value) =>
    value === undefined ? undefined : typeof value === 'number' && Number.isFinite(value) ? apply(value) : UNSURE;

/** Over a non-empty array of finite numbers. */
const numbers =
  (apply: (list: readonly number[]) => number): BuiltIn =>
  (list) => {
    if (!Array.isArray(list) || list.length === 0) return UNSURE;
    const finite = list.every((item): item is number => typeof item === 'number' && Number.isFinite(item));
    const result = finite ? apply(list) : Number.NaN;
    return Number.isFinite(result) ? result : UNSURE;
  };

// Code points and UTF-16 units differ beyond this; the library counts code points.
const isAscii = (text: string): boolean => /^[\x00-\x7f]*$/.test(text);

const substring: BuiltIn = (text, start, length) => {
  if (text === undefined) return undefined;
  if (typeof text !== 'string' || !isAscii(text) || !Number.isInteger(start)) return UNSURE;
  if ((start as number) < 0 || !(length === undefined || (Number.isInteger(length) && (length as number) >= 0)))
    return UNSURE;
  return text.substring(start as number, length === undefined ? undefined : (start as number) + (length as number));
};

const BUILT_INS: Readonly<Record<string, BuiltIn>> = {
  'exists/1': (value) => value !== undefined,
  'count/1': (value) => (value === undefined ? 0 : Array.isArray(value) ? value.length : 1),
  'not/1': (value) => {
    const known = value === undefined ? undefined : truth(value);
    return known === undefined || known === UNSURE ? known : !known;
  },
  'boolean/1': (value) => (value === undefined ? undefined : truth(value)),
  'string/1': (value) => (value === undefined ? undefined : (textOf(value) ?? UNSURE)),
  'number/1': (value) => (value === undefined || typeof value === 'number' ? value : UNSURE),
  'length/1': textual((text) => (isAscii(text) ? text.length : UNSURE)),
  'uppercase/1': textual((text) => text.toUpperCase()),
  'lowercase/1': textual((text) => text.toLowerCase()),
  'substring/2': substring,
  'substring/3': substring,
  'contains/2': (text, part) =>
    text === undefined
      ? undefined
      : typeof text === 'string' && typeof part === 'string'
        ? text.includes(part)
        : UNSURE,
  'floor/1': numeric(Math.floor),
  'ceil/1': numeric(Math.ceil),
  'abs/1': numeric(Math.abs),
  'sum/1': numbers((list) => list.reduce((total, item) => total + item, 0)),
  'max/1': numbers((list) => list.reduce((most, item) => Math.max(most, item))),
  'min/1': numbers((list) => list.reduce((least, item) => Math.min(least, item))),
};

/** The run's own time, which a replay sees again; the library's where there is no run. */
export function nowOf(scope: unknown): number | undefined {
  const run = isObject(scope) ? scope['run'] : undefined;
  const now = isObject(run) ? run['now'] : undefined;
  return typeof now === 'number' ? now : undefined;
}

/** Where a scope has the source of random numbers: no expression can name it. */
export const RANDOM = Symbol('random');

function random(scope: Context & { readonly [RANDOM]?: (() => number) | undefined }): unknown {
  return scope[RANDOM]?.() ?? UNSURE;
}

const OF_THE_RUN: Readonly<Record<string, Native>> = {
  'millis/0': (scope) => nowOf(scope) ?? UNSURE,
  'now/0': (scope) => {
    const now = nowOf(scope);
    return now === undefined ? UNSURE : new Date(now).toISOString();
  },
  'random/0': random,
};

function compileFunction(node: Node): Native | undefined {
  const given = node.arguments ?? [];
  if (node.procedure?.type !== 'variable') return undefined;
  const name = `${String(node.procedure.value)}/${given.length}`;
  if (has.call(OF_THE_RUN, name)) return OF_THE_RUN[name];
  const apply = has.call(BUILT_INS, name) ? BUILT_INS[name] : undefined;
  const values = given.map((argument) => compileNative(argument));
  if (apply === undefined || !values.every((value) => value !== undefined)) return undefined;
  return (context) => {
    const evaluated = values.map((value) => value(context));
    return evaluated.includes(UNSURE) ? UNSURE : apply(...evaluated);
  };
}
