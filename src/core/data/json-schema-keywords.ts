/**
 * The keywords of JSON Schema 2020-12 and draft 7, each a rule made once of its value, which has passed
 * `checkSchema`.
 */

import { deepCompareStrict, format as FORMATS, ucs2length } from '@cfworker/json-schema';
import { decimalOf, isMultiple } from './decimal.ts';
import type { Draft, Resource, Schema } from './json-schema-documents.ts';
import {
  below,
  check,
  every,
  item,
  lengthOf,
  matches,
  member,
  membersOf,
  no,
  ofArray,
  ofNumber,
  ofObject,
  ofSize,
  ofText,
  type Node,
  type Rule,
  type Scope,
  type Visit,
} from './json-schema-visit.ts';
import { canonicalJson } from '../chain/canonical.ts';
import { isObject } from '../json.ts';

/** What a rule may ask for while it is made. */
export interface Maker {
  readonly schema: Schema;
  readonly resource: Resource;
  readonly assertsFormats: boolean;
  node(schema: unknown): Node;
  refer(reference: string): { readonly node: Node; readonly dynamicAnchor: string | undefined };
  anchored(resource: Resource, name: string): Node | undefined;
}

const tuple = (schemas: readonly unknown[], maker: Maker): Rule => {
  const nodes = schemas.map(maker.node);
  return ofArray((value, visit) =>
    every(nodes.slice(0, value.length), visit, (node, index) => item(node, value, index, visit)),
  );
};
const itemsFrom = (start: number, node: Node): Rule =>
  ofArray((value, visit) =>
    every(value.slice(start), visit, (_item, index) => item(node, value, start + index, visit)),
  );

const typeOf = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value);
const isType = (value: unknown, type: string): boolean =>
  type === 'integer' ? Number.isInteger(value) : type === 'number' ? typeof value === 'number' : typeOf(value) === type;

const regex = (source: string): RegExp => new RegExp(source, 'u');
const plural = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
const shown = (value: unknown): string => {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
};

const ONLY_2020 = new Set(
  (
    '$dynamicRef prefixItems dependentRequired dependentSchemas unevaluatedProperties unevaluatedItems minContains ' +
    'maxContains'
  ).split(' '),
);
export const isKeyword = (name: string, draft: Draft): boolean =>
  Object.hasOwn(KEYWORDS, name) && !(draft === '7' ? ONLY_2020.has(name) : name === 'additionalItems');

export const KEYWORDS: Readonly<Record<string, (value: never, maker: Maker) => Rule | undefined>> = {
  $ref(reference: string, maker) {
    const { node } = maker.refer(reference);
    return (value, visit) => check(node, value, visit);
  },
  $dynamicRef(reference: string, maker) {
    const { node, dynamicAnchor } = maker.refer(reference);
    if (dynamicAnchor === undefined) return (value, visit) => check(node, value, visit);
    return (value, visit) => {
      // The outermost resource with that anchor decides.
      let chosen = node;
      for (let scope: Scope | undefined = visit.scope; scope !== undefined; scope = scope.outer) {
        chosen = maker.anchored(scope.resource, dynamicAnchor) ?? chosen;
      }
      return check(chosen, value, visit);
    };
  },
  allOf(schemas: readonly unknown[], maker) {
    const nodes = schemas.map(maker.node);
    return (value, visit) => every(nodes, visit, (node) => check(node, value, visit));
  },
  anyOf(schemas: readonly unknown[], maker) {
    const nodes = schemas.map(maker.node);
    return (value, visit) => {
      let isMatch = false;
      for (const node of nodes) {
        isMatch = matches(node, value, visit) || isMatch;
        if (isMatch && visit.seen === undefined) return true;
      }
      if (!isMatch && visit.issues !== undefined) for (const node of nodes) check(node, value, visit);
      return isMatch;
    };
  },
  oneOf(schemas: readonly unknown[], maker) {
    const nodes = schemas.map(maker.node);
    return (value, visit) => {
      const count = nodes.filter((node) => matches(node, value, visit)).length;
      if (count === 1) return true;
      if (count === 0 && visit.issues !== undefined) for (const node of nodes) check(node, value, visit);
      return no(visit, `Must match exactly one of ${plural(nodes.length, 'schema')}, not ${count}.`);
    };
  },
  not(schema: unknown, maker) {
    const node = maker.node(schema);
    return (value, visit) =>
      !matches(node, value, { ...visit, seen: undefined }) || no(visit, 'Must not match the schema in `not`.');
  },
  if(schema: unknown, maker) {
    const [condition, then, otherwise] = [schema, maker.schema['then'] ?? true, maker.schema['else'] ?? true].map(
      maker.node,
    );
    return (value, visit) => {
      const branch = condition !== undefined && matches(condition, value, visit) ? then : otherwise;
      return branch === undefined || check(branch, value, visit);
    };
  },
  type(types: string | readonly string[]) {
    const choices = typeof types === 'string' ? [types] : types;
    return (value, visit) =>
      choices.some((type) => isType(value, type)) ||
      no(visit, `Must be ${choices.join(' or ')}, not ${typeOf(value)}.`);
  },
  enum: (choices: readonly unknown[]) => (value, visit) =>
    choices.some((choice) => deepCompareStrict(value, choice)) ||
    no(visit, `Must be one of ${choices.map(shown).join(', ')}.`),
  const: (expected: unknown) => (value, visit) =>
    deepCompareStrict(value, expected) || no(visit, `Must be ${shown(expected)}.`),
  minimum: (limit: number) => ofNumber((value) => value >= limit, `Must be at least ${limit}.`),
  maximum: (limit: number) => ofNumber((value) => value <= limit, `Must be at most ${limit}.`),
  exclusiveMinimum: (limit: number) => ofNumber((value) => value > limit, `Must be more than ${limit}.`),
  exclusiveMaximum: (limit: number) => ofNumber((value) => value < limit, `Must be less than ${limit}.`),
  multipleOf(step: number) {
    const exact = decimalOf(step);
    return ofNumber((value) => {
      const decimal = decimalOf(value);
      return exact !== undefined && decimal !== undefined && isMultiple(decimal, exact);
    }, `Must be a multiple of ${step}.`);
  },
  minLength: (limit: number) =>
    ofText((value) => ucs2length(value) >= limit, `Must have at least ${plural(limit, 'character')}.`),
  maxLength: (limit: number) =>
    ofText((value) => ucs2length(value) <= limit, `Must have at most ${plural(limit, 'character')}.`),
  pattern(source: string) {
    const pattern = regex(source);
    return ofText((value) => pattern.test(value), `The text does not match ${source}.`);
  },
  format(name: string, maker) {
    const isOf = maker.assertsFormats && Object.hasOwn(FORMATS, name) ? FORMATS[name] : undefined;
    return isOf && ofText(isOf, `The text is no ${name}.`);
  },
  minItems: (limit: number) =>
    ofSize(lengthOf, (size) => size >= limit, `Must have at least ${plural(limit, 'item')}.`),
  maxItems: (limit: number) => ofSize(lengthOf, (size) => size <= limit, `Must have at most ${plural(limit, 'item')}.`),
  minProperties: (limit: number) =>
    ofSize(membersOf, (size) => size >= limit, `Must have at least ${plural(limit, 'field')}.`),
  maxProperties: (limit: number) =>
    ofSize(membersOf, (size) => size <= limit, `Must have at most ${plural(limit, 'field')}.`),
  uniqueItems: (isAsked: boolean) =>
    isAsked
      ? ofArray(
          (value, visit) =>
            new Set(value.map(canonicalJson)).size === value.length || no(visit, 'Must not have the same item twice.'),
        )
      : undefined,
  prefixItems: tuple,
  items: (schemas: unknown, maker) => {
    if (Array.isArray(schemas)) return tuple(schemas, maker);
    const prefix = maker.resource.draft === '7' ? undefined : maker.schema['prefixItems'];
    return itemsFrom(Array.isArray(prefix) ? prefix.length : 0, maker.node(schemas));
  },
  additionalItems(schema: unknown, maker) {
    const items = maker.schema['items'];
    return Array.isArray(items) ? itemsFrom(items.length, maker.node(schema)) : undefined;
  },
  contains(schema: unknown, maker) {
    const node = maker.node(schema);
    const counts = maker.resource.draft === '7' ? {} : maker.schema;
    const least = Number(counts['minContains'] ?? 1);
    const most = Number(counts['maxContains'] ?? Infinity);
    return ofArray((value, visit) => {
      let count = 0;
      for (const [index, part] of value.entries()) {
        if (!matches(node, part, { ...visit, seen: undefined })) continue;
        visit.seen?.items.add(index);
        count++;
      }
      if (count < least) return no(visit, `Must contain at least ${plural(least, 'item')} that match \`contains\`.`);
      return count <= most || no(visit, `Must contain at most ${plural(most, 'item')} that match \`contains\`.`);
    });
  },
  unevaluatedItems(schema: unknown, maker) {
    const node = maker.node(schema);
    return ofArray((value, visit) => {
      const left = [...value.keys()].filter((index) => visit.seen?.items.has(index) !== true);
      return every(left, visit, (index) => item(node, value, index, visit));
    });
  },
  required: (names: readonly string[]) =>
    ofObject((value, visit) =>
      every(names, visit, (name) => Object.hasOwn(value, name) || no(below(visit, name), `"${name}" is missing.`)),
    ),
  properties(schemas: Schema, maker) {
    const nodes = Object.entries(schemas).map(([name, schema]) => [name, maker.node(schema)] as const);
    return ofObject((value, visit) =>
      every(nodes, visit, ([name, node]) => !Object.hasOwn(value, name) || member(node, value, name, visit)),
    );
  },
  patternProperties(schemas: Schema, maker) {
    const nodes = Object.entries(schemas).map(([source, schema]) => [regex(source), maker.node(schema)] as const);
    return ofObject((value, visit) =>
      every(Object.keys(value), visit, (name) =>
        every(nodes, visit, ([pattern, node]) => !pattern.test(name) || member(node, value, name, visit)),
      ),
    );
  },
  additionalProperties(schema: unknown, maker) {
    const node = maker.node(schema);
    const { properties, patternProperties } = maker.schema;
    const known = new Set(isObject(properties) ? Object.keys(properties) : []);
    const patterns = (isObject(patternProperties) ? Object.keys(patternProperties) : []).map(regex);
    return ofObject((value, visit) =>
      every(
        Object.keys(value).filter((name) => !known.has(name) && !patterns.some((pattern) => pattern.test(name))),
        visit,
        (name) => member(node, value, name, visit),
      ),
    );
  },
  unevaluatedProperties(schema: unknown, maker) {
    const node = maker.node(schema);
    return ofObject((value, visit) => {
      const left = Object.keys(value).filter((name) => visit.seen?.names.has(name) !== true);
      return every(left, visit, (name) => member(node, value, name, visit));
    });
  },
  propertyNames(schema: unknown, maker) {
    const node = maker.node(schema);
    return ofObject((value, visit) =>
      every(Object.keys(value), visit, (name) => check(node, name, below(visit, name))),
    );
  },
  dependentRequired: (needs: Readonly<Record<string, readonly string[]>>) =>
    ofObject((value, visit) =>
      every(Object.entries(needs), visit, ([name, others]) => has(value, name, others, visit)),
    ),
  dependentSchemas: (schemas: Schema, maker) => dependencies(schemas, maker),
  dependencies: (needs: Schema, maker) => dependencies(needs, maker),
};

const has = (value: Schema, name: string, others: readonly string[], visit: Visit): boolean =>
  !Object.hasOwn(value, name) ||
  every(
    others,
    visit,
    (other) => Object.hasOwn(value, other) || no(below(visit, other), `"${other}" is missing: "${name}" needs it.`),
  );

function dependencies(needs: Schema, maker: Maker): Rule {
  const rules = Object.entries(needs).map(([name, need]): Rule => {
    if (Array.isArray(need)) return ofObject((value, visit) => has(value, name, need.map(String), visit));
    const node = maker.node(need);
    return ofObject((value, visit) => !Object.hasOwn(value, name) || check(node, value, visit));
  });
  return (value, visit) => every(rules, visit, (rule) => rule(value, visit));
}
