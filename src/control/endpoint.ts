/** One operation of the management API: its facts, from which the OpenAPI document is made, and its work. */

import * as v from 'valibot';
import { invalid } from './issues.ts';
import type { ControlPorts } from './ports.ts';
import { readText, type BodyReader } from './request.ts';
import { eventTypeName } from '../core/outbound/settings.ts';
import type { Principal } from './principal.ts';
import { isReservedName } from '../core/chain/names.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import type { Role } from '../core/roles.ts';

export const API = '/_/api/v1';

export type Method = 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';

type ParamsOf<Path extends string> = Path extends `${string}{${infer Name}}${infer Rest}`
  ? Name | ParamsOf<Rest>
  : never;

export interface Call<Path extends string, Body, Query> {
  readonly ports: ControlPorts;
  /** Whoever asks, for the audit log. */
  readonly actor: string;
  readonly role: Role;
  /** Checked: `name` is a name of this API, `id` an id. */
  readonly params: Readonly<Record<ParamsOf<Path>, string>>;
  readonly body: Body;
  readonly query: Query;
  /** Scheme and host under which the gateway was called. */
  readonly origin: string;
  readonly request: Request;
}

export interface Reply {
  readonly status: 200 | 201 | 202 | 204;
  readonly body?: unknown;
  readonly location?: string;
  /** Sent as it is in place of all else: a stream, or a WebSocket. */
  readonly response?: Response;
}

export interface ReplyFacts {
  readonly description: string;
  readonly schema?: v.GenericSchema;
  /** Of the content, where it is no JSON. */
  readonly mediaType?: string;
}

/** What the OpenAPI document says of an endpoint. */
interface Facts {
  readonly id: string;
  readonly tag: string;
  readonly summary: string;
  /** `public`: answered to anybody. */
  readonly access?: 'public';
  /** The least role that may call it; where none is named, only owners may. */
  readonly role?: Role;
  readonly replies: Readonly<Partial<Record<Reply['status'], ReplyFacts>>>;
  /** Codes of the faults that are its own; those that every endpoint may answer are left out. */
  readonly faults?: readonly string[];
}

export interface Endpoint extends Facts {
  readonly method: Method;
  /** With parameters as `{name}`. */
  readonly path: string;
  readonly body: BodyReader<unknown> | undefined;
  readonly query: QuerySchema | undefined;
  answer(
    request: Request,
    params: Readonly<Record<string, string>>,
    ports: ControlPorts,
    principal: Principal,
  ): Promise<Result<Reply>>;
}

export type QuerySchema = v.StrictObjectSchema<v.ObjectEntries, undefined>;

interface Definition<Path extends string, Body, Query extends QuerySchema> extends Facts {
  readonly method: Method;
  readonly path: Path;
  readonly body?: BodyReader<Body>;
  readonly query?: Query;
  handle(call: Call<Path, Body, v.InferOutput<Query>>): Promise<Result<Reply>>;
}

/** Parses parameters, query and body once; the work begins with typed values or not at all. */
export function endpoint<Path extends string, Body = undefined, Query extends QuerySchema = QuerySchema>(
  definition: Definition<Path, Body, Query>,
): Endpoint {
  const { handle, ...facts } = definition;
  return {
    ...facts,
    body: definition.body,
    query: definition.query,
    async answer(request, params, ports, principal) {
      const names = parseParams<Path>(definition, params);
      if (!names.ok) return names;
      const url = new URL(request.url);
      const query = parseQuery(definition.query, url);
      if (!query.ok) return query;
      const body = await parseBody(definition.body, request);
      if (!body.ok) return body;
      const call = { ports, ...principal, params: names.value, query: query.value, body: body.value };
      return handle({ ...call, origin: url.origin, request });
    },
  };
}

/** By name of the parameter, what the path may hold in its place. */
export const PARAMS = {
  name: v.pipe(v.string(), v.regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/), v.maxLength(64)),
  id: v.pipe(v.string(), v.regex(/^[A-Za-z0-9][A-Za-z0-9_-]*$/), v.maxLength(128)),
  /** Of an event type: `invoice.paid`. */
  type: eventTypeName,
};

function parseParams<Path extends string>(
  { method, path }: { readonly method: Method; readonly path: Path },
  params: Readonly<Record<string, string>>,
): Result<Readonly<Record<ParamsOf<Path>, string>>> {
  for (const [key, value] of Object.entries(params)) {
    const schema = key === 'name' || key === 'type' ? PARAMS[key] : PARAMS.id;
    if (v.is(schema, value) && !isReservedName(value)) continue;
    if (method !== 'PUT') return fail('request.not-found', `There is nothing named so at ${path}.`);
    const message =
      key === 'type'
        ? 'An event type is noun.verb in lower case, such as invoice.paid.'
        : 'A name has lower-case words and digits joined by hyphens, at most 64 characters.';
    return fail('request.invalid', `The name in the address is not valid. ${message}`, {
      issues: [{ path: key, message }],
    });
  }
  // The router gives exactly the parameters of the path.
  return ok(params as Readonly<Record<ParamsOf<Path>, string>>);
}

function parseQuery<Query extends QuerySchema>(schema: Query | undefined, url: URL): Result<v.InferOutput<Query>> {
  const given = Object.fromEntries(url.searchParams);
  const parsed = v.safeParse(schema ?? v.strictObject({}), given);
  // Without a schema nothing of the query is read.
  return parsed.success ? ok(parsed.output as v.InferOutput<Query>) : invalid(parsed.issues, 'query');
}

async function parseBody<Body>(reader: BodyReader<Body> | undefined, request: Request): Promise<Result<Body>> {
  // Without a reader `Body` is undefined: see the default of `endpoint`.
  if (reader === undefined) return ok(undefined as Body);
  const text = await readText(request, reader.optional, reader.limitBytes);
  return text.ok ? reader.read(text.value) : text;
}
