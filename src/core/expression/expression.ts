/** One expression, the text between `{{` and `}}`, compiled once. */

import { isDeterministic, isTimed, referencedRoots, referencedSteps } from './ast.ts';
import { libraryFault, parseExpression } from './library.ts';
import { compileNative, nowOf, UNSURE } from './native.ts';
import { fail, ok, type Result } from '../errors.ts';
import { isObject } from '../json.ts';
import { LIMITS } from '../limits.ts';

export interface CompiledExpression {
  readonly source: string;
  /** Whether closures answer the usual case, without the library. */
  readonly native: boolean;
  readonly deterministic: boolean;
  readonly timed: boolean;
  readonly steps: readonly string[];
  readonly roots: readonly string[];
  /**
   * JSONata's result; undefined for a missing value. A promise only where the library was needed.
   * @throws FaultError `expression.failed` | `expression.bounds`, also by rejection
   */
  evaluate(input: unknown, bindings?: Readonly<Record<string, unknown>>): unknown;
}

const NO_BINDINGS = Object.freeze({});

export function compileExpression(source: string): Result<CompiledExpression> {
  if (source.length > LIMITS.expressionCharacters) {
    return fail('expression.syntax', `An expression may have ${LIMITS.expressionCharacters} characters.`);
  }
  let parsed;
  try {
    parsed = parseExpression(source);
  } catch (thrown) {
    const { message, position } = thrown as { message?: unknown; position?: unknown };
    const where = typeof position === 'number' ? ` at character ${position}` : '';
    const words = typeof message === 'string' ? message : 'it cannot be read';
    return fail('expression.syntax', `\`${source}\`${where}: ${words}`, { data: thrown });
  }
  const { ast, evaluate: evaluateByLibrary } = parsed;
  const native = compileNative(ast);
  const byLibrary = async (input: unknown, bindings: Readonly<Record<string, unknown>>): Promise<unknown> => {
    try {
      return await evaluateByLibrary(input, bindings, nowOf(input));
    } catch (thrown) {
      throw libraryFault(thrown, source);
    }
  };
  return ok({
    source,
    native: native !== undefined,
    deterministic: isDeterministic(ast),
    timed: isTimed(ast),
    steps: referencedSteps(ast),
    roots: referencedRoots(ast),
    evaluate: (input, bindings = NO_BINDINGS) => {
      if (native === undefined || !isObject(input)) return byLibrary(input, bindings);
      const value = native(input);
      return value === UNSURE ? byLibrary(input, bindings) : value;
    },
  });
}
