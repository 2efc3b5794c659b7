/** `http.*`: any HTTP API, with or without a connection. */

import { optional } from 'valibot';
import { events } from './events.ts';
import { outgoing, type HttpContext } from './outgoing.ts';
import { outputOf, readAs, type HttpOutput } from './reply.ts';
import {
  httpOAuth,
  httpSecrets,
  httpSettings,
  withBody,
  withMethod,
  withoutBody,
  type HttpParams,
  type HttpSettings,
} from './schemas.ts';
import { defineAction, type Action, type Connector } from '../kit/types.ts';
import { sendAuthorized } from './tokens.ts';
import type { Result } from '../../core/errors.ts';

/** That the host is there and takes the credentials, though it may have nothing at that address. */
const ANSWERS = Array.from({ length: 300 }, (_, index) => 200 + index).filter((s) => ![401, 403, 407, 429].includes(s));

/** For the types only: a step may name no connection. */
const maybe = { settings: optional(httpSettings), secrets: optional(httpSecrets) };

async function call(method: string, params: HttpParams, context: HttpContext): Promise<Result<HttpOutput>> {
  const prepared = outgoing(method, params, context);
  if (!prepared.ok) return prepared;
  const { expect, parse } = params;
  const reply = await sendAuthorized(context, {
    ...prepared.value,
    readAs: readAs(parse),
    // Who expects a redirect wants to see it.
    follow: !(Array.isArray(expect) && expect.some((status) => status >= 300 && status < 400)),
  });
  return reply.ok ? outputOf(reply.value, params, prepared.value.url, context.now()) : reply;
}

const reading = (method: 'GET' | 'HEAD', title: string): Action =>
  defineAction(
    {
      title,
      effect: 'idempotent',
      params: withoutBody,
      example: { url: 'https://api.example.com/orders', query: { status: 'paid' } },
      run: (params, context) => call(method, params, context),
    },
    maybe,
  );

const writing = (method: 'POST' | 'PUT' | 'PATCH' | 'DELETE', title: string): Action =>
  defineAction(
    {
      title,
      effect: method === 'PUT' || method === 'DELETE' ? 'idempotent' : 'keyed',
      params: withBody,
      example: { url: 'https://api.example.com/orders/1', json: { status: 'paid' } },
      run: (params, context) => call(method, params, context),
    },
    maybe,
  );

export const http: Connector = {
  name: 'http',
  title: 'HTTP',
  connection: {
    required: false,
    settings: httpSettings,
    secrets: httpSecrets,
    oauth: httpOAuth,
    probe: ({ probe }: HttpSettings) =>
      probe === undefined
        ? { action: 'head', params: { url: '/', expect: ANSWERS } }
        : { action: 'get', params: { url: probe } },
  },
  actions: {
    request: defineAction(
      {
        title: 'Send a request',
        effect: 'keyed',
        params: withMethod,
        example: { method: 'GET', url: 'https://api.example.com/orders' },
        run: (params, context) => call(params.method, params, context),
      },
      maybe,
    ),
    get: reading('GET', 'Get a resource'),
    head: reading('HEAD', 'Get the headers of a resource'),
    post: writing('POST', 'Post to a resource'),
    put: writing('PUT', 'Put a resource'),
    patch: writing('PATCH', 'Change a resource'),
    delete: writing('DELETE', 'Delete a resource'),
  },
  subscriptions: { events },
};
