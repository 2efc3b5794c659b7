/**
 * The jsonata library under guards: what {@link compileNative} does not answer, it does.
 *
 * Guarantee: bounded time, depth, items and result; no `$eval`; no regular expression whose matching
 * can explode. Accepted weakness: time is checked between nodes, so one call of a built-in over data
 * within the bounds runs to its end. (The guards read the clock; nothing that they read is in a result.)
 */

import jsonata from 'jsonata';
import { nodesOf, type Node } from './ast.ts';
import { FaultError, fault } from '../errors.ts';
import { LIMITS } from '../limits.ts';

const GUARDS = {
  timeout: LIMITS.expressionMilliseconds,
  stack: LIMITS.expressionDepth,
  sequence: LIMITS.expressionItems,
};

/** Codes of the library's own guards. */
const BOUND_CODES: ReadonlySet<unknown> = new Set(['D1011', 'D1012', 'D2014', 'D2015', 'U1001']);

export interface LibraryExpression {
  readonly ast: Node;
  evaluate(input: unknown, bindings: Readonly<Record<string, unknown>>, now: number | undefined): Promise<unknown>;
}

/** @throws what the library throws on a syntax error: `{ code, position, token, message }` */
export function parseExpression(source: string): LibraryExpression {
  const expression = jsonata(source, GUARDS as never);
  const ast = expression.ast() as unknown as Node;
  refuseUnsafe(ast);
  expression.registerFunction('eval', () => {
    throw { code: 'D3120', message: '$eval is not available' };
  });
  expression.registerFunction('pad', boundedPad, '<s-ns?:s>');
  return {
    ast,
    evaluate: async (input, bindings, now) => {
      const bound = now === undefined ? bindings : { ...clock(now), ...bindings };
      return plain(await expression.evaluate(input, bound));
    },
  };
}

/** What is not bounded or not contained at run time is refused before. */
function refuseUnsafe(ast: Node): void {
  const nodes = [...nodesOf(ast)];
  for (const { type, value, position } of nodes) {
    if (type !== 'regex' || !(value instanceof RegExp) || !canExplode(value.source)) continue;
    const message = `the regular expression ${String(value)} repeats a repetition and can take forever`;
    throw { code: 'unsafe-regex', position, message };
  }
  // A transform copies its input by whatever `$clone` is at that moment.
  if (
    nodes.some(({ type }) => type === 'transform') &&
    nodes.some(({ type, value }) => type === 'variable' && value === 'clone')
  ) {
    throw { code: 'unsafe-clone', message: '$clone may not be used beside a transform' };
  }
}

/** A replay sees the same time: `$now` and `$millis` are the run's. */
const clock = (now: number) => ({
  millis: () => now,
  now: (picture?: string, timezone?: string) =>
    picture === undefined ? new Date(now).toISOString() : FORMAT.evaluate({}, { now, picture, timezone }),
});

const FORMAT = jsonata('$fromMillis($now, $picture, $timezone)');
const PAD = jsonata('$pad($text, $width, $char)');

function boundedPad(text: string, width: number, char?: string): Promise<unknown> {
  if (Math.abs(width) > LIMITS.expressionResultCharacters) {
    throw { code: 'U1001', message: `$pad to ${width} characters` };
  }
  return PAD.evaluate({}, { text, width, char });
}

/**
 * Refuses a quantified group that holds a quantifier or an alternation, `(a+)+`, `(a|a)*`. Conservative:
 * an isolate cannot interrupt a regular expression, so what might explode is refused.
 */
export function canExplode(source: string): boolean {
  const groups: boolean[] = [];
  for (let index = 0; index < source.length; index++) {
    const char = source[index];
    if (char === '\\') index++;
    else if (char === '[') index = endOfClass(source, index);
    else if (char === '(') groups.push(false);
    else if (char === ')') {
      const repeats = groups.pop() ?? false;
      if (repeats && /^(?:[*+]|\{\d*,)/.test(source.slice(index + 1))) return true;
      if (repeats && groups.length > 0) groups[groups.length - 1] = true;
    } else if ((char === '*' || char === '+' || char === '|' || char === '{') && groups.length > 0) {
      groups[groups.length - 1] = true;
    }
  }
  // Neighbouring unbounded repetitions at the top are quadratic or worse: three are refused.
  return (source.replaceAll(/\\.|\[[^\]]*\]/g, 'x').match(/[*+]/g) ?? []).length > 3;
}

function endOfClass(source: string, start: number): number {
  for (let index = start + 1; index < source.length; index++) {
    if (source[index] === '\\') index++;
    else if (source[index] === ']') return index;
  }
  return source.length;
}

/**
 * Plain data of a result: the library marks its sequences by properties of the arrays, and hands out
 * functions. Counts characters and items on the way.
 */
function plain(value: unknown): unknown {
  let left: number = LIMITS.expressionResultCharacters;
  const copy = (item: unknown, depth: number): unknown => {
    if (typeof item === 'function') return undefined;
    left -= typeof item === 'string' ? item.length : 1;
    if (left < 0) throw new FaultError(fault('expression.bounds', 'The result of the expression is too large.'));
    if (typeof item !== 'object' || item === null) return item;
    if (depth > LIMITS.jsonDepth) throw new FaultError(fault('expression.bounds', 'The result is nested too deep.'));
    if (Array.isArray(item)) return item.map((each) => copy(each, depth + 1));
    if ('_jsonata_function' in item || '_jsonata_lambda' in item) return undefined;
    const made: Record<string, unknown> = {};
    for (const [name, each] of Object.entries(item)) {
      if (name !== '__proto__') made[name] = copy(each, depth + 1);
    }
    return made;
  };
  return copy(value, 0);
}

interface LibraryError {
  readonly code?: unknown;
  readonly message?: unknown;
  readonly position?: unknown;
}

/** What the library threw, as a fault with its words. */
export function libraryFault(thrown: unknown, source: string): FaultError {
  if (thrown instanceof FaultError) return thrown;
  const { code, message } = (thrown ?? {}) as LibraryError;
  const bounds = BOUND_CODES.has(code) || thrown instanceof RangeError;
  const words = typeof message === 'string' ? message : 'it could not be evaluated';
  return new FaultError(
    fault(bounds ? 'expression.bounds' : 'expression.failed', `\`${source}\`: ${words}`, { data: { code } }),
  );
}
