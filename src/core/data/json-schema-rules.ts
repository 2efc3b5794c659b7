/** Schemas as rules that run without the `eval` that a Worker has not: no code is generated. */

import type { Resource, SchemaDocuments } from './json-schema-documents.ts';
import { isKeyword, KEYWORDS, type Maker } from './json-schema-keywords.ts';
import { no, type Node } from './json-schema-visit.ts';
import { isObject } from '../json.ts';

export class UnresolvedReference extends Error {
  readonly reference: string;
  constructor(reference: string) {
    super(`The reference "${reference}" leads to nothing.`);
    this.reference = reference;
  }
}

/** Makes nodes of schemas, each once. References must lead somewhere: otherwise throws UnresolvedReference. */
export function createCompiler(documents: SchemaDocuments, assertsFormats: boolean) {
  const nodes = new Map<unknown, Node>();

  function compile(schema: unknown, outer: Resource): Node {
    const known = nodes.get(schema);
    if (known !== undefined) return known;
    const resource = documents.ownerOf(schema) ?? outer;
    const node: Node = { resource, rules: [], tracks: false };
    if (!isObject(schema)) {
      if (schema === false) node.rules.push((_value, visit) => no(visit, 'This field is not allowed here; remove it.'));
      return node;
    }
    nodes.set(schema, node);
    const maker: Maker = {
      schema,
      resource,
      assertsFormats,
      node: (part) => compile(part, resource),
      refer(reference) {
        const target = documents.resolve(reference, resource);
        if (target === undefined) throw new UnresolvedReference(reference);
        return { node: compile(target.schema, target.resource), dynamicAnchor: target.dynamicAnchor };
      },
      anchored(other, name) {
        const found = other.dynamicAnchors.get(name);
        return found === undefined ? undefined : compile(found, other);
      },
    };
    const names = Object.keys(schema).filter((name) => isKeyword(name, resource.draft));
    const used = resource.draft === '7' && names.includes('$ref') ? ['$ref'] : names;
    // What is left over is known only at the end.
    const last = used.filter((name) => name.startsWith('unevaluated'));
    node.tracks = last.length > 0;
    for (const name of [...used.filter((other) => !last.includes(other)), ...last]) {
      const rule = KEYWORDS[name]?.(schema[name] as never, maker);
      if (rule !== undefined) node.rules.push(rule);
    }
    return node;
  }
  return compile;
}
