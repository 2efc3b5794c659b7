/** The OpenAPI 3.1 document of the management API, made from its endpoints. */

import { toJsonSchema } from '@valibot/to-json-schema';
import type * as v from 'valibot';
import { PARAMS, type Endpoint } from './endpoint.ts';
import { VERSION } from './health/version.ts';
import { PROBLEM_COMPONENTS } from '../core/problem.ts';

type Part = Record<string, unknown>;

export function openApiDocument(endpoints: readonly Endpoint[]): Part {
  const paths: Record<string, Part> = {};
  for (const endpoint of endpoints) (paths[endpoint.path] ??= {})[endpoint.method.toLowerCase()] = operation(endpoint);
  return {
    openapi: '3.1.0',
    info: {
      title: 'Tidegate management API',
      version: VERSION,
      description:
        'Chains, runs, webhook sources, connections and API keys of one gateway. Errors are RFC 9457 problems.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    security: [{ bearer: [] }, { access: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description: 'The admin key, a management token, or the token of a person who has a role.',
        },
        access: { type: 'apiKey', in: 'header', name: 'Cf-Access-Jwt-Assertion', description: 'Cloudflare Access.' },
      },
      ...PROBLEM_COMPONENTS,
    },
  };
}

function operation({ id, tag, summary, path, access, role = 'owner', body, query, replies, faults }: Endpoint): Part {
  const parameters = [...pathParameters(path), ...(query === undefined ? [] : queryParameters(query))];
  const problem = { $ref: '#/components/responses/Problem' };
  return {
    operationId: id,
    tags: [tag],
    summary,
    ...(faults === undefined
      ? {}
      : { description: `Problems of its own: ${faults.map((code) => `\`${code}\``).join(', ')}.` }),
    ...(access === 'public' ? { security: [] } : { 'x-tidegate-role': role }),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined ? {} : { requestBody: { required: !body.optional, content: content(body.schema) } }),
    responses: {
      ...Object.fromEntries(
        Object.entries(replies).map(([status, { description, schema, mediaType }]) => [
          status,
          { description, ...(schema === undefined ? {} : { content: content(schema, mediaType) }) },
        ]),
      ),
      default: problem,
    },
  };
}

const content = (schema: v.GenericSchema, mediaType = 'application/json') => ({
  [mediaType]: { schema: jsonSchema(schema) },
});

const pathParameters = (path: string): Part[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: jsonSchema(name === 'name' ? PARAMS.name : PARAMS.id),
  }));

function queryParameters(schema: v.GenericSchema): Part[] {
  const { properties = {}, required = [] } = jsonSchema(schema);
  return Object.entries(properties).map(([name, property]) => ({
    name,
    in: 'query',
    required: required.includes(name),
    schema: property,
  }));
}

/** As the client sends it: before the API's own conversions. */
function jsonSchema(schema: v.GenericSchema) {
  const { $schema: _dialect, ...rest } = toJsonSchema(schema, {
    target: 'draft-2020-12',
    typeMode: 'input',
    errorMode: 'ignore',
  });
  return rest;
}
