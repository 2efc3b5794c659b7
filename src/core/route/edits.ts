/** What a route changes of a request on its way to the upstream, and of the reply on its way back. */

import * as v from 'valibot';
import { at, type IssueList } from '../chain/issues.ts';
import { checkTemplate } from '../chain/scopes.ts';
import type { Template } from '../expression/types.ts';

const headerName = v.pipe(
  v.string(),
  v.regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'Must be the name of a header, such as X-Tenant.'),
);

const headerEdits = v.strictObject({
  set: v.optional(v.pipe(v.record(headerName, v.string()), v.description('Values may hold expressions.'))),
  remove: v.optional(v.array(headerName)),
});

const body = (what: string) =>
  v.optional(v.pipe(v.unknown(), v.description(`Template of the new body; ${what} is then read as a whole first.`)));

export const requestEditsSchema = v.pipe(
  v.strictObject({
    path: v.optional(
      v.pipe(
        v.string(),
        v.regex(/^\//),
        v.maxLength(1024),
        v.examples(['/v2/orders/{id}', '/{rest*}']),
        v.description(
          'The path at the upstream, behind the base of its URL. `{name}` is the parameter as it was received. Default: the path of the request.',
        ),
      ),
    ),
    query: v.optional(
      v.strictObject({
        set: v.optional(v.pipe(v.record(v.string(), v.string()), v.description('Values may hold expressions.'))),
        remove: v.optional(v.array(v.string())),
      }),
    ),
    headers: v.optional(headerEdits),
    body: body('the body of the request'),
  }),
  v.description('Changes to the request. Expressions see `request`, `identity` and `route`.'),
);

export const responseEditsSchema = v.pipe(
  v.strictObject({ headers: v.optional(headerEdits), body: body('the body of the reply') }),
  v.description('Changes to the reply. Expressions see `response` too.'),
);

export interface HeaderEdits {
  readonly set: readonly (readonly [name: string, value: Template])[];
  readonly remove: readonly string[];
}

export interface RequestEdits {
  /** Texts and positions of parameters, to be joined; undefined: the path stays as it is. */
  readonly path: readonly (string | number)[] | undefined;
  readonly query: { readonly set: HeaderEdits['set']; readonly remove: ReadonlySet<string> } | undefined;
  readonly headers: HeaderEdits | undefined;
  readonly body: Template | undefined;
}

export interface ResponseEdits {
  readonly headers: HeaderEdits | undefined;
  readonly body: Template | undefined;
}

/** Credentials that belong to the gateway, and fields that frame a message. */
const OWN_HEADERS =
  /^(?:connection|content-length|host|keep-alive|te|trailer|transfer-encoding|upgrade|cf-.*|tidegate-.*)$/;

const ROOTS = ['request', 'identity', 'route'];

export function compileRequestEdits(
  document: v.InferOutput<typeof requestEditsSchema> | undefined,
  parameters: readonly string[],
  place: string,
  issues: IssueList,
): RequestEdits | undefined {
  if (document === undefined) return undefined;
  const { path, query, headers } = document;
  return {
    path: path === undefined ? undefined : compilePath(path, parameters, at(place, 'path'), issues),
    query: query && {
      set: compileValues(query.set, ROOTS, at(place, 'query', 'set'), issues),
      remove: new Set(query.remove),
    },
    headers: compileHeaders(headers, ROOTS, at(place, 'headers'), issues),
    body: compileBody(document.body, ROOTS, at(place, 'body'), issues),
  };
}

export function compileResponseEdits(
  document: v.InferOutput<typeof responseEditsSchema> | undefined,
  place: string,
  issues: IssueList,
): ResponseEdits | undefined {
  if (document === undefined) return undefined;
  const roots = [...ROOTS, 'response'];
  return {
    headers: compileHeaders(document.headers, roots, at(place, 'headers'), issues),
    body: compileBody(document.body, roots, at(place, 'body'), issues),
  };
}

function compilePath(
  path: string,
  parameters: readonly string[],
  place: string,
  issues: IssueList,
): readonly (string | number)[] {
  return path.split(/(\{[^/{}]*\})/).flatMap((part): (string | number)[] => {
    if (!part.startsWith('{')) {
      if (/[{}?#\s]/.test(part)) issues.add(place, `"${part}" cannot stand in a path.`);
      return part === '' ? [] : [part];
    }
    const name = part.slice(1, -1).replace(/\*$/, '');
    const index = parameters.indexOf(name);
    if (index === -1) issues.add(place, `The path of the route has no parameter {${name}}.`);
    return [index];
  });
}

function compileHeaders(
  edits: v.InferOutput<typeof headerEdits> | undefined,
  roots: readonly string[],
  place: string,
  issues: IssueList,
): HeaderEdits | undefined {
  if (edits === undefined) return undefined;
  const { set = {}, remove = [] } = edits;
  for (const name of [...Object.keys(set), ...remove]) {
    if (OWN_HEADERS.test(name.toLowerCase())) issues.add(place, `The header ${name} is set by the gateway.`);
  }
  return { set: compileValues(set, roots, at(place, 'set'), issues), remove };
}

const compileValues = (
  values: Readonly<Record<string, string>> | undefined,
  roots: readonly string[],
  place: string,
  issues: IssueList,
): HeaderEdits['set'] =>
  Object.entries(values ?? {}).flatMap(([name, value]) => {
    const template = checkTemplate(value, at(place, name), { roots, steps: [] }, issues);
    return template === undefined ? [] : [[name, template] as const];
  });

const compileBody = (
  body: unknown,
  roots: readonly string[],
  place: string,
  issues: IssueList,
): Template | undefined => (body === undefined ? undefined : checkTemplate(body, place, { roots, steps: [] }, issues));
