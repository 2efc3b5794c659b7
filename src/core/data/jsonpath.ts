/** JSONPath of RFC 9535, by json-p3. */

import { JSONPathEnvironment } from 'json-p3';
import { fail, ok, type Result } from '../errors.ts';
import { LIMITS } from '../limits.ts';

export interface JsonPath {
  /** It selects at most one node, whatever the data (RFC 9535, 2.3.5.1: a singular query). */
  readonly singular: boolean;
  query(value: unknown): unknown[];
}

const environment = new JSONPathEnvironment({ maxRecursionDepth: LIMITS.jsonDepth });

/** Fault `expression.syntax`. Filters are data, not code: nothing in a path is ever executed. */
export function compileJsonPath(source: string): Result<JsonPath> {
  try {
    const path = environment.compile(source);
    return ok({ singular: path.singularQuery(), query: (value) => path.query(value as never).values() });
  } catch (thrown) {
    return fail(
      'expression.syntax',
      `\`${source}\` is not a JSONPath: ${thrown instanceof Error ? thrown.message : ''}`,
    );
  }
}
