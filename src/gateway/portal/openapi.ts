/** One OpenAPI 3.1 document of all routes and HTTP chains that a reader may know of. */

import { SECURITY_SCHEMES, securityOf } from './security.ts';
import type { Operation } from './operations.ts';
import { PROBLEM_COMPONENTS } from '../../core/problem.ts';

type Part = Readonly<Record<string, unknown>>;

const ACCEPTED = {
  description: 'The run is accepted; `location` is where it is followed.',
  content: { 'application/json': { schema: { type: 'object', properties: { run: { type: 'string' } } } } },
} as const;

export interface Portal {
  readonly title: string;
  /** Where the gateway is reached. */
  readonly origin: string;
}

export function openApiOf(operations: readonly Operation[], { title, origin }: Portal): Part {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of operations) {
    const item = (paths[operation.path.replace('*}', '}')] ??= {});
    // Of two hosts with one path, the document can name one operation; the others are told in its description.
    item[operation.method.toLowerCase()] ??= operationPart(operation, origin);
  }
  return {
    openapi: '3.1.0',
    info: { title, version: '1', description: 'Errors are RFC 9457 problems.' },
    servers: [{ url: origin }],
    paths,
    components: {
      securitySchemes: SECURITY_SCHEMES,
      ...PROBLEM_COMPONENTS,
    },
  };
}

function operationPart(operation: Operation, origin: string): Part {
  const { id, docs, hosts, policies, deprecated } = operation;
  const parameters = parametersOf(operation);
  const { summary, description, tags, request } = docs;
  return {
    operationId: id,
    ...(tags !== undefined && { tags }),
    ...(summary !== undefined && { summary }),
    ...(description !== undefined && { description }),
    ...(deprecated && { deprecated }),
    ...(hosts.length > 0 && { servers: hosts.map((host) => ({ url: `${new URL(origin).protocol}//${host}` })) }),
    security: securityOf(policies.auth),
    ...(parameters.length > 0 && { parameters }),
    ...(hasBody(operation) && {
      requestBody: { required: request !== undefined, content: { 'application/json': { schema: request ?? true } } },
    }),
    responses: { ...successOf(operation), default: { $ref: '#/components/responses/Problem' } },
  };
}

const hasBody = ({ method }: Operation): boolean => method === 'POST' || method === 'PUT' || method === 'PATCH';

function successOf({ docs: { response }, accepts }: Operation): Part {
  if (accepts) return { 202: ACCEPTED };
  const content = response === undefined ? {} : { content: { 'application/json': { schema: response } } };
  return { 200: { description: 'It succeeded.', ...content } };
}

function parametersOf({ path, docs, choice, method }: Operation): Part[] {
  const inPath = [...path.matchAll(/\{(\w+)(\*?)\}/g)].map(([, name, star]) => ({
    name,
    in: 'path',
    required: true,
    ...(star === '*' && { description: 'The rest of the path; it may hold slashes.' }),
    schema: { type: 'string' },
  }));
  const query = Object.entries(docs.query ?? {}).map(([name, schema]) => ({ name, in: 'query', schema }));
  // Without a body, the input of a chain comes from the query.
  const fields = method === 'GET' || method === 'HEAD' || method === 'DELETE' ? propertiesOf(docs.request) : [];
  const known = new Set([...inPath, ...query].map(({ name }) => name));
  const version =
    choice === undefined
      ? []
      : [{ name: choice.name, in: choice.by, schema: { type: 'string', enum: choice.versions } }];
  return [...inPath, ...query, ...fields.filter(({ name }) => !known.has(name)), ...version];
}

function propertiesOf(schema: Part | undefined) {
  const { properties, required } = schema ?? {};
  const needed = Array.isArray(required) ? required : [];
  return Object.entries((properties as Part | undefined) ?? {}).map(([name, property]) => ({
    name,
    in: 'query',
    ...(needed.includes(name) && { required: true }),
    schema: property,
  }));
}
