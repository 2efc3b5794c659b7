/** Documents that are kept under the name of their address, and the endpoints of a family of them. */

import * as v from 'valibot';
import { API, endpoint, type Endpoint } from './endpoint.ts';
import { refuse } from './issues.ts';
import type { BodyReader } from './request.ts';
import { instant, iso, listOf } from './schemas.ts';
import { parseChainText } from '../core/chain/text.ts';
import { fail, ok, type ErrorCode, type Issue, type Result } from '../core/errors.ts';
import { isObject } from '../core/json.ts';
import type { RouteRow, UpstreamRow } from '../store/routes.ts';

type Row = RouteRow | UpstreamRow;

interface Family<Plan> {
  /** In the singular, e.g. `Route`. */
  readonly title: string;
  readonly article: 'A' | 'An';
  readonly invalid: ErrorCode;
  readonly notFound: ErrorCode;
  /** Other faults of `save`. */
  readonly faults: readonly ErrorCode[];
  /** What follows where one is removed. */
  readonly removed: string;
  compile(document: unknown): Result<Plan>;
  save(db: D1Database, row: Row, plan: Plan): Promise<Result<{ readonly created: boolean }>>;
  list(db: D1Database): Promise<Row[]>;
  load(db: D1Database, name: string): Promise<Row | undefined>;
  /** False where there is none of that name. */
  remove(db: D1Database, name: string, actor: string, now: number): Promise<boolean>;
  /** What is not there yet and will make requests fail. */
  warnings?(db: D1Database, plan: Plan): Promise<readonly Issue[]>;
}

const shown = v.strictObject({
  name: v.string(),
  document: v.record(v.string(), v.unknown()),
  updatedAt: instant,
  updatedBy: v.string(),
});

/** @param what fails: `runs` */
export const warningsOn = (what: string) =>
  v.pipe(
    v.array(v.strictObject({ path: v.string(), message: v.string() })),
    v.description(`What is not there yet and will make ${what} fail.`),
  );

/** @param noun with its article, e.g. `A route` */
export const documentBody = (noun: string): BodyReader<unknown> => ({
  read: parseChainText,
  schema: v.pipe(v.record(v.string(), v.unknown()), v.description(`${noun} document; \`name\` may be left out.`)),
  optional: false,
});

const show = ({ name, document, updatedAt, updatedBy }: Row) => ({
  name,
  document,
  updatedAt: iso(updatedAt),
  updatedBy,
});

/**
 * A document under the name of its address, which it may leave out, and what `compile` makes of it.
 * Faults: `invalid` for another name, and those of `compile`.
 */
export function compileNamed<Plan extends { readonly name: string }>(
  given: unknown,
  name: string,
  invalid: ErrorCode,
  compile: (document: unknown) => Result<Plan>,
): Result<{ readonly document: unknown; readonly plan: Plan }> {
  const document = isObject(given) && !Object.hasOwn(given, 'name') ? { name, ...given } : given;
  const compiled = compile(document);
  if (!compiled.ok) return compiled;
  const plan = compiled.value;
  if (plan.name === name) return ok({ document, plan });
  const message = `The document is named "${plan.name}", the address "${name}"; make them equal, or leave the name out.`;
  return refuse(invalid, [{ path: 'name', message }]);
}

/** Saves, lists, reads and removes the documents of a family. */
export function documentEndpoints<Plan extends { readonly name: string }>(family: Family<Plan>): Endpoint[] {
  const { title, warnings } = family;
  const noun = title.toLowerCase();
  const one = `${family.article.toLowerCase()} ${noun}`;
  const tag = `${title}s`;
  const address = `${API}/${noun}s`;
  const PATH: `${string}/{name}` = `${address}/{name}`;
  const saved = warnings === undefined ? shown : v.strictObject({ ...shown.entries, warnings: warningsOn('requests') });
  const notFound = (name: string) => fail(family.notFound, `There is no ${noun} named ${name}.`);
  return [
    endpoint({
      id: `save${title}`,
      tag,
      summary: `Make or replace ${one}`,
      role: 'developer',
      method: 'PUT',
      path: PATH,
      body: documentBody(`${family.article} ${noun}`),
      replies: {
        200: { description: 'It was replaced, and is live.', schema: saved },
        201: { description: 'It was made, and is live.', schema: saved },
      },
      faults: [family.invalid, ...family.faults],
      async handle({ ports, actor, params: { name }, body }) {
        const compiled = compileNamed(body, name, family.invalid, family.compile);
        if (!compiled.ok) return compiled;
        const { document, plan } = compiled.value;
        const row = { name, document, updatedAt: ports.now(), updatedBy: actor };
        const stored = await family.save(ports.db, row, plan);
        if (!stored.ok) return stored;
        await ports.configurationChanged();
        return ok({
          status: stored.value.created ? 201 : 200,
          body: { ...show(row), ...(warnings && { warnings: await warnings(ports.db, plan) }) },
          location: `${address}/${name}`,
        });
      },
    }),

    endpoint({
      id: `list${tag}`,
      tag,
      summary: `List the ${noun}s`,
      role: 'viewer',
      method: 'GET',
      path: address,
      replies: { 200: { description: 'Ordered by name.', schema: listOf(shown) } },
      handle: async ({ ports }) => ok({ status: 200, body: { items: (await family.list(ports.db)).map(show) } }),
    }),

    endpoint({
      id: `get${title}`,
      tag,
      summary: `Read ${one}`,
      role: 'viewer',
      method: 'GET',
      path: PATH,
      replies: { 200: { description: 'The document as it was saved.', schema: shown } },
      faults: [family.notFound],
      async handle({ ports, params: { name } }) {
        const row = await family.load(ports.db, name);
        return row === undefined ? notFound(name) : ok({ status: 200, body: show(row) });
      },
    }),

    endpoint({
      id: `remove${title}`,
      tag,
      summary: `Remove ${one}`,
      role: 'developer',
      method: 'DELETE',
      path: PATH,
      replies: { 204: { description: family.removed } },
      faults: [family.notFound],
      async handle({ ports, actor, params: { name } }) {
        if (!(await family.remove(ports.db, name, actor, ports.now()))) return notFound(name);
        await ports.configurationChanged();
        return ok({ status: 204 });
      },
    }),
  ];
}
