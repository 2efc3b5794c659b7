/** Connections of the whole Worker that get their tokens from the OpenID provider of the test run. */

import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, inject } from 'vitest';
import * as v from 'valibot';
import { reloadConfiguration } from '../../../src/runtime/configuration.ts';
import { hostOf } from '../../../src/runtime/host.ts';
import { tokensOf } from '../../../src/runtime/oauth/place.ts';
import type { TokenObject } from '../../../src/runtime/oauth/token-object.ts';
import type { AccessToken } from '../../../src/connectors/kit/types.ts';
import type { Result } from '../../../src/core/errors.ts';
import { call, manage, ORIGIN, type Called } from '../gateway/fixtures.ts';
import { Upstreams } from '../gateway/proxy/fixtures.ts';

export const { issuer } = inject('servers').oidc;
export const REDIRECT_URI = `${ORIGIN}/_/oauth/callback`;

type Fields = Readonly<Record<string, unknown>>;

const registered = v.object({ client_id: v.string(), client_secret: v.optional(v.string()) });

/** A client of its own, so that its requests can be counted. */
export async function register(more: Fields = {}): Promise<{ readonly id: string; readonly secret: string }> {
  const metadata = {
    redirect_uris: [REDIRECT_URI],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    scope: 'openid offline_access orders:read',
    ...more,
  };
  const response = await fetch(`${issuer}/reg`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(metadata),
  });
  const client = v.parse(registered, await response.json());
  return { id: client.client_id, secret: client.client_secret ?? '' };
}

const counts = v.object({ succeeded: v.number(), failed: v.number() });

/** Requests of a client at the token endpoint. */
export const grantsOf = async (client: string): Promise<v.InferOutput<typeof counts>> =>
  v.parse(counts, await (await fetch(`${issuer}/_grants/${client}`)).json());

let count = 0;

export interface ConnectionDraft {
  readonly oauth: Fields;
  readonly secrets?: Fields;
  readonly baseUrl?: string;
  readonly name?: string;
}

/** Saves a connection of `http` and returns its name. */
export async function connect({ oauth, secrets, baseUrl = issuer, name }: ConnectionDraft): Promise<string> {
  const given = name ?? `oauth-${++count}`;
  const settings = { baseUrl, oauth: { issuer, ...oauth } };
  const body = { connector: 'http', settings, secrets: secrets === undefined ? {} : { oauth: secrets } };
  const saved = await manage(`PUT /connections/${given}`, body);
  expect(saved.status, saved.text).toBeLessThan(300);
  return given;
}

export const objectOf = (name: string): DurableObjectStub<TokenObject> => tokensOf(env, { tenant: '', name });

/** A step's way to a token, with a memory of its own as each isolate has one. */
export async function tokenOf(name: string, refused?: AccessToken): Promise<Result<AccessToken>> {
  const host = hostOf(env);
  await reloadConfiguration(env);
  const facts = { name: 'http.get', effect: 'idempotent', params: {}, connection: 'optional' } as const;
  const opened = await host.open(name, facts);
  if (!opened.ok) return opened;
  if (opened.value.tokens === undefined) throw new Error(`${name} has no tokens`);
  return opened.value.tokens.get(refused);
}

export async function tokenIn(name: string, refused?: AccessToken): Promise<AccessToken> {
  const result = await tokenOf(name, refused);
  if (!result.ok) throw new Error(JSON.stringify(result.fault));
  return result.value;
}

/** Makes the stored token older than it is, as the passing of time would. */
export const age = (name: string, milliseconds: number): Promise<void> =>
  runInDurableObject(objectOf(name), (_object, { storage: { sql } }) => {
    for (const field of ['obtainedAt', 'refreshAt', 'expiresAt', 'forcedAt']) {
      const path = `$.${field}`;
      sql.exec(
        'UPDATE tokens SET facts = json_set(facts, ?, json_extract(facts, ?) - ?) WHERE json_extract(facts, ?) IS NOT NULL',
        path,
        path,
        milliseconds,
        path,
      );
    }
  });

export const statusOf = async (name: string): Promise<Record<string, unknown>> =>
  (await manage(`GET /connections/${name}/authorization`)).body;

/** The link of a connect page. */
export async function linkTo(name: string, body?: Fields): Promise<string> {
  const made = await manage(`POST /connections/${name}/authorization`, body);
  expect(made.status, made.text).toBe(201);
  return String(made.body['url']);
}

/** Opens addresses as a browser does: cookies by host, redirects one by one. */
export class Browser {
  readonly #cookies = new Map<string, Map<string, string>>();

  cookies(url: string): string {
    return [...(this.#cookies.get(new URL(url).host) ?? [])].map(([name, value]) => `${name}=${value}`).join('; ');
  }

  keep(url: string, setCookies: readonly string[]): void {
    const { host } = new URL(url);
    const jar = this.#cookies.get(host) ?? new Map<string, string>();
    for (const line of setCookies) {
      const [pair = ''] = line.split(';');
      const at = pair.indexOf('=');
      jar.set(pair.slice(0, at), pair.slice(at + 1));
    }
    this.#cookies.set(host, jar);
  }

  /** A page of the gateway. */
  async gateway(method: string, url: string, headers: Record<string, string> = {}): Promise<Called> {
    const { pathname, search } = new URL(url);
    const own = { cookie: this.cookies(url), ...(method === 'POST' && { 'sec-fetch-site': 'same-origin' }) };
    const reply = await call(`${method} ${pathname}${search}`, method === 'POST' ? '' : undefined, {
      ...own,
      ...headers,
    });
    this.keep(url, reply.headers.getSetCookie());
    return reply;
  }

  /** Presses the button of a connect page; returns the address that the browser is sent to. */
  async start(link: string): Promise<URL> {
    const begun = await this.gateway('POST', link);
    expect(begun.status, begun.text).toBe(200);
    const [, target = ''] = /content="0;url=([^"]+)"/.exec(begun.text) ?? [];
    return new URL(target.replaceAll('&amp;', '&'));
  }

  /** Signs in and consents at the provider; returns the address that it sends the browser back to. */
  async consent(start: URL): Promise<URL> {
    let url = start.href;
    for (let hop = 0; hop < 10; hop++) {
      const response = await fetch(url, { redirect: 'manual', headers: { cookie: this.cookies(url) } });
      await response.body?.cancel();
      this.keep(url, response.headers.getSetCookie());
      const location = response.headers.get('location');
      if (location === null) throw new Error(`${url} answered ${response.status}`);
      url = new URL(location, url).href;
      if (url.startsWith(REDIRECT_URI)) return new URL(url);
    }
    throw new Error('the provider redirects for ever');
  }

  /** All of it. */
  async authorize(link: string): Promise<Called> {
    return this.gateway('GET', (await this.consent(await this.start(link))).href);
  }
}

/** A connection by code, authorized. */
export async function authorized(
  oauth: Fields = {},
  client: Fields = {},
): Promise<{ readonly name: string; readonly client: string; readonly secret: string }> {
  const { id, secret } = await register(client);
  const scopes = ['openid', 'offline_access'];
  const name = await connect({
    oauth: { grant: 'authorization_code', clientId: id, scopes, ...oauth },
    secrets: { clientSecret: secret },
  });
  const done = await new Browser().authorize(await linkTo(name));
  expect(done.status, done.text).toBe(200);
  return { name, client: id, secret };
}

/** A server of the test's own that answers every request alike. */
export class FakeServer {
  readonly #upstreams = new Upstreams();
  readonly url = this.#upstreams.urls[0] ?? '';

  async answer(body: string | Fields, status = 200, contentType = 'application/json'): Promise<this> {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    await this.#upstreams.behave(0, {
      kind: 'answer',
      status,
      headers: { 'content-type': contentType },
      body: btoa(text),
    });
    return this;
  }

  async redirect(location: string): Promise<this> {
    await this.#upstreams.behave(0, { kind: 'answer', status: 302, headers: { location } });
    return this;
  }

  async requests(): Promise<number> {
    return (await this.#upstreams.seen()).length;
  }
}

/** A connection of a program whose token endpoint is a {@link FakeServer}. */
export async function connectTo(server: FakeServer, oauth: Fields = {}): Promise<string> {
  return connect({
    oauth: {
      issuer: undefined,
      grant: 'client_credentials',
      clientId: 'program',
      endpoints: { token: server.url },
      ...oauth,
    },
    secrets: { clientSecret: 'secret-of-the-program' },
  });
}
