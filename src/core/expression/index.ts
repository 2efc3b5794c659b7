/**
 * Templates: JSON values in which texts may hold `{{ expression }}`. A text that is one expression as a
 * whole keeps the expression's type; in a mixed text each expression becomes text.
 *
 * A missing value is an error, unless the expression ends with `?` or has a default (`??`, `?:`). An
 * optional missing value is the empty text in a mixed text, and leaves out its field or item elsewhere.
 */

import { compileExpression, type CompiledExpression } from './expression.ts';
import { missingFault } from './missing.ts';
import { RANDOM } from './native.ts';
import { scanTemplate } from './scan.ts';
import type { Scope, Template } from './types.ts';
import { FaultError, fail, fault, ok, type Issue, type Result } from '../errors.ts';
import { isObject } from '../json.ts';
import { LIMITS } from '../limits.ts';

export { compileExpression, RANDOM };
export type { Template };

type Evaluate = (scope: Scope) => unknown;

interface Collected {
  readonly expressions: CompiledExpression[];
  readonly issues: Issue[];
}

/** @param path where the value stands in its document, for errors; fault `expression.syntax` */
export function compileTemplate(value: unknown, path = ''): Result<Template> {
  const collected: Collected = { expressions: [], issues: [] };
  const evaluate = compileValue(value, path, collected, 0);
  const { expressions, issues } = collected;
  if (issues.length > 0) return fail('expression.syntax', issues[0]?.message ?? 'not readable', { issues });
  const unique = (pick: (each: CompiledExpression) => readonly string[]): string[] => [
    ...new Set(expressions.flatMap(pick)),
  ];
  return ok({
    literal: evaluate === undefined,
    deterministic: expressions.every((each) => each.deterministic),
    timed: expressions.some((each) => each.timed),
    steps: unique((each) => each.steps),
    roots: unique((each) => each.roots),
    evaluate: evaluate ?? (() => value),
  });
}

/** Undefined for a value without expressions: it is shared, not rebuilt. */
function compileValue(value: unknown, path: string, into: Collected, depth: number): Evaluate | undefined {
  if (depth > LIMITS.jsonDepth) {
    into.issues.push({ path, message: `nested deeper than ${LIMITS.jsonDepth} levels` });
    return undefined;
  }
  if (typeof value === 'string') return value.includes('{{') ? compileText(value, path, into) : undefined;
  if (Array.isArray(value)) return compileList(value, path, into, depth);
  return isObject(value) ? compileFields(value, path, into, depth) : undefined;
}

function compileText(text: string, path: string, into: Collected): Evaluate | undefined {
  const segments = scanTemplate(text);
  if (segments === undefined) {
    into.issues.push({ path, message: 'an expression opens with {{ and is never closed with }}' });
    return undefined;
  }
  const [only] = segments;
  if (segments.length === 1 && only?.kind === 'expression') return compileOne(only.text, path, into);
  const parts = segments.map((segment) =>
    segment.kind === 'text' ? segment.text : compileOne(segment.text, path, into),
  );
  return (scope) => join(parts.map((part) => (typeof part === 'function' ? part(scope) : part)));
}

/** Texts as they are, missing optional values as nothing, everything else as JSON. */
function join(values: readonly unknown[]): string | Promise<string> {
  if (values.some((value) => value instanceof Promise)) return Promise.all(values).then(join);
  let text = '';
  for (const value of values) {
    if (typeof value === 'string') text += value;
    else if (value !== undefined) text += JSON.stringify(value);
  }
  if (text.length > LIMITS.expressionResultCharacters) {
    throw new FaultError(fault('expression.bounds', 'The text that the expressions make is too long.'));
  }
  return text;
}

function compileOne(written: string, path: string, into: Collected): Evaluate | undefined {
  const optional = written.endsWith('?');
  const source = optional ? written.slice(0, -1).trimEnd() : written;
  const compiled = compileExpression(source);
  if (!compiled.ok) {
    into.issues.push({ path, message: compiled.fault.message });
    return undefined;
  }
  const expression = compiled.value;
  into.expressions.push(expression);
  if (optional) return expression.evaluate;
  const required = (value: unknown, scope: Scope): unknown => {
    if (value === undefined) throw missingFault(source, scope, path);
    return value;
  };
  return (scope) => {
    const value = expression.evaluate(scope);
    return value instanceof Promise ? value.then((late: unknown) => required(late, scope)) : required(value, scope);
  };
}

function compileList(list: readonly unknown[], path: string, into: Collected, depth: number): Evaluate | undefined {
  const items = list.map((item, index) => compileValue(item, `${path}[${index}]`, into, depth + 1));
  if (items.every((item) => item === undefined)) return undefined;
  const present = (values: readonly unknown[]): unknown[] => values.filter((value) => value !== undefined);
  return (scope) => {
    const values = list.map((item, index) => {
      const evaluate = items[index];
      return evaluate === undefined ? item : evaluate(scope);
    });
    return values.some((value) => value instanceof Promise) ? Promise.all(values).then(present) : present(values);
  };
}

function compileFields(
  object: Readonly<Record<string, unknown>>,
  path: string,
  into: Collected,
  depth: number,
): Evaluate | undefined {
  const names = Object.keys(object);
  const fields = names.map((name) =>
    compileValue(object[name], path === '' ? name : `${path}.${name}`, into, depth + 1),
  );
  if (fields.every((field) => field === undefined)) return undefined;
  const build = (values: readonly unknown[]): Record<string, unknown> => {
    const made: Record<string, unknown> = {};
    for (let index = 0; index < names.length; index++) {
      const name = names[index];
      if (name !== undefined && name !== '__proto__' && values[index] !== undefined) made[name] = values[index];
    }
    return made;
  };
  return (scope) => {
    const values: unknown[] = [];
    let waits = false;
    for (let index = 0; index < names.length; index++) {
      const field = fields[index];
      const value = field === undefined ? object[names[index] ?? ''] : field(scope);
      waits ||= value instanceof Promise;
      values.push(value);
    }
    return waits ? Promise.all(values).then(build) : build(values);
  };
}
