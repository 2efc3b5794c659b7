/** Says where a reference stopped. Only on the way to an error, so it may take its time. */

import { nodesOf, type Node } from './ast.ts';
import { parseExpression } from './library.ts';
import { FaultError, fault } from '../errors.ts';
import { isObject } from '../json.ts';
import type { Scope } from './types.ts';

export function missingFault(source: string, scope: Scope, path: string): FaultError {
  const reason = firstMissing(parseExpression(source).ast, scope) ?? `\`${source}\` gives nothing`;
  const where = path === '' ? '' : `${path}: `;
  const fix = 'end the expression with `?` if it may be missing, or give a default with `??`';
  return new FaultError(fault('expression.missing', `${where}${reason}; ${fix}.`));
}

function firstMissing(ast: Node, scope: Scope): string | undefined {
  for (const node of nodesOf(ast)) {
    const reason = node.type === 'path' ? stopOf(node, scope) : undefined;
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** Follows plain names and indexes; undefined where the path is of another kind or does not stop. */
function stopOf(path: Node, scope: Scope): string | undefined {
  let value: unknown = scope;
  let known = '';
  const whole = textOf(path);
  for (const step of path.steps ?? []) {
    if (step.type !== 'name' || Array.isArray(value)) return undefined;
    const name = String(step.value);
    const next = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined;
    if (next === undefined) {
      return `\`${whole}\` is missing: ${known === '' ? `there is no \`${name}\`` : `\`${known}\` has no \`${name}\``}`;
    }
    known = known === '' ? name : `${known}.${name}`;
    value = next;
    const index = step.stages?.[0]?.expr?.value;
    if (typeof index !== 'number' || !Array.isArray(value)) continue;
    if (value.length === 0) return `\`${whole}\` is missing: \`${known}\` is empty`;
    if (value.at(index) === undefined) return `\`${whole}\` is missing: \`${known}\` has ${value.length} items`;
    value = value.at(index) as unknown;
    known = `${known}[${index}]`;
  }
  return undefined;
}

const textOf = (path: Node): string =>
  (path.steps ?? [])
    .map((step) => {
      const index = step.stages?.[0]?.expr?.value;
      return typeof index === 'number' ? `${String(step.value)}[${index}]` : String(step.value);
    })
    .join('.');
