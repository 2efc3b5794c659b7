/**
 * Which schema a reference means (JSON Schema 2020-12, chapters 8.2 and 9; draft 7, chapter 8).
 *
 * Guarantee: nothing is fetched. A reference leads into the schema itself or into one that was given with it.
 */

import { isObject } from '../json.ts';

export type Draft = '7' | '2020-12';
export type Schema = Readonly<Record<string, unknown>>;

export const DRAFTS: ReadonlyMap<unknown, Draft> = new Map<unknown, Draft>([
  ['https://json-schema.org/draft/2020-12/schema', '2020-12'],
  ['https://json-schema.org/draft/2020-12/schema#', '2020-12'],
  ['http://json-schema.org/draft-07/schema', '7'],
  ['http://json-schema.org/draft-07/schema#', '7'],
]);

/** A schema with an identifier of its own, and the anchors in it. */
export interface Resource {
  readonly uri: string;
  readonly root: unknown;
  readonly draft: Draft;
  readonly anchors: Map<string, Schema>;
  readonly dynamicAnchors: Map<string, Schema>;
}

export interface Target {
  readonly schema: unknown;
  readonly resource: Resource;
  /** The anchor by which it was named, if it is a dynamic one. */
  readonly dynamicAnchor: string | undefined;
}

/** Keywords that hold a schema, a list of them, or schemas by name. An `$id` anywhere else is only data. */
const PLACES: ReadonlySet<string> = new Set(
  (
    'not if then else contains propertyNames additionalProperties unevaluatedProperties additionalItems ' +
    'unevaluatedItems contentSchema items allOf anyOf oneOf prefixItems'
  ).split(' '),
);
const MAPS: ReadonlySet<string> = new Set(
  '$defs definitions properties patternProperties dependentSchemas dependencies'.split(' '),
);

/** What a schema without `$id` is called; nothing is ever sent there. */
const NAMELESS = 'https://schema.invalid/';

export class SchemaDocuments {
  readonly #resources = new Map<string, Resource>();
  readonly #owners = new Map<object, Resource>();

  /**
   * A document, which must share no part with another one.
   *
   * @param uri by which others refer to it, besides its `$id`
   */
  add(root: unknown, draft: Draft, uri: string = NAMELESS): Resource {
    const resource = this.#open(root, absolute(uri, NAMELESS) ?? NAMELESS, draft);
    this.#index(root, resource);
    return this.ownerOf(root) ?? resource;
  }

  ownerOf(schema: unknown): Resource | undefined {
    return isObject(schema) ? this.#owners.get(schema) : undefined;
  }

  resolve(reference: string, from: Resource): Target | undefined {
    const uri = absolute(reference, from.uri);
    const named = uri === undefined ? undefined : this.#resources.get(uri);
    // A document may have been given by another URI than its own.
    const resource = this.ownerOf(named?.root) ?? named;
    const fragment = decoded(URL.parse(reference, from.uri)?.hash.slice(1) ?? '');
    if (resource === undefined || fragment === undefined) return undefined;
    if (fragment === '' || fragment.startsWith('/')) return this.#follow(fragment, resource);
    const schema = resource.anchors.get(fragment);
    if (schema === undefined) return undefined;
    return { schema, resource, dynamicAnchor: resource.dynamicAnchors.has(fragment) ? fragment : undefined };
  }

  #follow(pointer: string, from: Resource): Target | undefined {
    let schema = from.root;
    let resource = this.ownerOf(schema) ?? from;
    for (const token of pointer.split('/').slice(1)) {
      const key = token.replaceAll('~1', '/').replaceAll('~0', '~');
      if (typeof schema !== 'object' || schema === null || !Object.hasOwn(schema, key)) return undefined;
      schema = (schema as Schema)[key];
      resource = this.ownerOf(schema) ?? resource;
    }
    // A place that no keyword makes a schema becomes one by being referred to.
    if (this.ownerOf(schema) === undefined) this.#index(schema, resource);
    return { schema, resource: this.ownerOf(schema) ?? resource, dynamicAnchor: undefined };
  }

  #open(root: unknown, uri: string, draft: Draft): Resource {
    const own = isObject(root) ? DRAFTS.get(root['$schema']) : undefined;
    const resource = { uri, root, draft: own ?? draft, anchors: new Map(), dynamicAnchors: new Map() };
    if (!this.#resources.has(uri)) this.#resources.set(uri, resource);
    return resource;
  }

  #index(schema: unknown, outer: Resource): void {
    if (!isObject(schema)) return;
    const resource = this.#resourceOf(schema, outer);
    this.#owners.set(schema, resource);
    for (const keyword of ['$anchor', '$dynamicAnchor']) {
      const name = schema[keyword];
      if (typeof name !== 'string' || resource.draft === '7') continue;
      resource.anchors.set(name, schema);
      if (keyword === '$dynamicAnchor') resource.dynamicAnchors.set(name, schema);
    }
    for (const [keyword, value] of Object.entries(schema)) {
      const parts = PLACES.has(keyword) && !Array.isArray(value) ? [value] : childrenOf(keyword, value);
      for (const part of parts) this.#index(part, resource);
    }
  }

  #resourceOf(schema: Schema, outer: Resource): Resource {
    const id = schema['$id'];
    // Draft 7 looks at nothing beside a $ref, and writes anchors as an $id that is only a fragment.
    if (typeof id !== 'string' || (outer.draft === '7' && schema['$ref'] !== undefined)) return outer;
    if (id.startsWith('#')) {
      outer.anchors.set(id.slice(1), schema);
      return outer;
    }
    const uri = absolute(id, outer.uri) ?? outer.uri;
    const resource = uri === outer.uri && schema === outer.root ? outer : this.#open(schema, uri, outer.draft);
    const [, anchor = ''] = id.split('#');
    if (anchor !== '') resource.anchors.set(anchor, schema);
    return resource;
  }
}

function childrenOf(keyword: string, value: unknown): readonly unknown[] {
  if (PLACES.has(keyword) && Array.isArray(value)) return value;
  return MAPS.has(keyword) && isObject(value) ? Object.values(value) : [];
}

/** Without its fragment. */
function absolute(reference: string, base: string): string | undefined {
  const url = URL.parse(reference, base);
  if (url === null) return undefined;
  url.hash = '';
  return url.href;
}

function decoded(fragment: string): string | undefined {
  try {
    return decodeURIComponent(fragment);
  } catch {
    return undefined;
  }
}
