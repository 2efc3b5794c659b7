/// <reference types="@cloudflare/vitest-plugin/types" />

import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, it, vi } from 'vitest';
import * as v from 'valibot';
import { vaultOf } from '../../../src/runtime/configuration.ts';
import { TokenStore } from '../../../src/runtime/oauth/token-store.ts';
import { tokenContext } from '../../../src/vault/vault.ts';
import { call, manage, publish } from '../gateway/fixtures.ts';
import {
  age,
  authorized,
  connect,
  connectTo,
  FakeServer,
  grantsOf,
  issuer,
  objectOf,
  register,
  statusOf,
  tokenIn,
  tokenOf,
} from './fixtures.ts';

const HOUR = 3_600_000;

const ask = (name: string) => objectOf(name).token({ tenant: '', name }, 0);

async function codeOf(result: ReturnType<typeof tokenOf>): Promise<unknown> {
  const settled = await result;
  return settled.ok ? 'a token' : settled.fault.code;
}

/** Kills the object where it stands; what is not on disk is lost. */
const kill = (name: string): Promise<void> =>
  runInDurableObject(objectOf(name), (_object, state) => state.abort('killed by the test')).catch(() => undefined);

/** As somebody would who has the token. */
const atProvider = (client: string, secret: string, path: string, fields: Record<string, string>): Promise<Response> =>
  fetch(`${issuer}${path}`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`${client}:${secret}`)}` },
    body: new URLSearchParams(fields),
  });

/** The refresh token of a connection, which only its object can read. */
async function refreshTokenOf(name: string): Promise<string> {
  const vault = vaultOf(env);
  if (!vault.ok) throw new Error(vault.fault.message);
  const sealed = await runInDurableObject(objectOf(name), (_object, { storage: { sql } }) =>
    String(sql.exec('SELECT sealed FROM tokens').one()['sealed']),
  );
  const opened = await vault.value.open(tokenContext('', name), sealed);
  return v.parse(v.object({ refreshToken: v.string() }), opened.ok && opened.value).refreshToken;
}

describe('a refresh', () => {
  it('happens once for a hundred callers that find an expired token', async () => {
    const { name, client } = await authorized();
    await age(name, HOUR);
    await kill(name);
    const before = await grantsOf(client);
    const replies = await Promise.all(Array.from({ length: 100 }, () => ask(name)));
    expect(new Set(replies.map((reply) => (reply.ok ? reply.value.token : reply.code))).size).toBe(1);
    expect(await grantsOf(client)).toEqual({ succeeded: before.succeeded + 1, failed: 0 });
    expect(await statusOf(name)).toMatchObject({ state: 'authorized', rotations: 1, interruptedAt: null });
  });

  it('happens once for a hundred parallel steps of a chain', async () => {
    const { name, client } = await authorized();
    await age(name, HOUR);
    const before = await grantsOf(client);
    const { route } = await publish({
      steps: {
        all: {
          use: 'flow.each',
          with: {
            in: '{{ [1..100] }}',
            as: 'item',
            concurrency: 100,
            steps: { me: { use: 'http.get', connection: name, with: { url: '/me' } } },
          },
        },
      },
      output: { count: '{{ $count(steps.all) }}' },
    });
    const ran = await call(route, {});
    expect(ran.status, ran.text).toBe(200);
    expect(await grantsOf(client)).toEqual({ succeeded: before.succeeded + 1, failed: 0 });
  });

  it('happens ahead of the end of a token, which steps use meanwhile', async () => {
    const { name, client } = await authorized();
    const old = await ask(name);
    // Of 300 seconds the last 60 or so are for the renewal.
    await age(name, 280_000);
    const before = await grantsOf(client);
    const during = await Promise.all([1, 2, 3].map(() => ask(name)));
    for (const each of during) expect(each).toMatchObject({ ok: true, value: { token: old.ok && old.value.token } });
    await expect.poll(() => grantsOf(client)).toEqual({ succeeded: before.succeeded + 1, failed: 0 });
  });

  it('follows a 401 of the other side, and the step is repeated once with what it brought', async () => {
    const { name, client } = await authorized();
    const token = await tokenIn(name);
    const { route } = await publish({
      steps: { me: { use: 'http.get', connection: name, with: { url: '/me' } } },
      output: '{{ steps.me.body.sub }}',
    });
    await (await fetch(`${issuer}/_forget/${token.token}`)).text();
    const before = await grantsOf(client);
    expect(await call(route, {})).toMatchObject({ status: 200, text: '"ada"' });
    expect((await tokenIn(name)).token).not.toBe(token.token);
    expect(await grantsOf(client)).toEqual({ succeeded: before.succeeded + 1, failed: 0 });
  });

  it('is not repeated for a 401 that it did not mend', async () => {
    const { id, secret } = await register({
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    });
    const upstream = await new FakeServer().answer({}, 401);
    const oauth = { grant: 'client_credentials', clientId: id };
    const name = await connect({ oauth, secrets: { clientSecret: secret }, baseUrl: upstream.url });
    const { route } = await publish({ steps: { get: { use: 'http.get', connection: name, with: { url: '/' } } } });
    for (let turn = 0; turn < 3; turn++) expect(await call(route, {})).toMatchObject({ status: 502 });
    expect(await grantsOf(id)).toEqual({ succeeded: 2, failed: 0 });
    expect(await upstream.requests()).toBe(4);
  });

  it('whose server does not answer fails for a while without asking again, and then succeeds', async () => {
    const server = await new FakeServer().answer('sorry', 503, 'text/plain');
    const name = await connectTo(server);
    for (let turn = 0; turn < 5; turn++) expect(await codeOf(tokenOf(name))).toBe('oauth.unavailable');
    expect(await server.requests()).toBe(1);
    await server.answer({ access_token: 'good', token_type: 'Bearer' });
    await expect.poll(() => codeOf(tokenOf(name))).toBe('a token');
  });
});

describe('a crash', () => {
  it('after a refresh was written loses nothing: the new refresh token is on disk', async () => {
    const { name, client } = await authorized();
    await age(name, HOUR);
    await ask(name);
    await kill(name);
    await age(name, HOUR);
    expect(await ask(name)).toMatchObject({ ok: true });
    expect(await grantsOf(client)).toEqual({ succeeded: 3, failed: 0 });
    expect(await statusOf(name)).toMatchObject({ rotations: 2 });
  });

  it('between the answer of a lenient server and the write repeats the refresh with the old token', async () => {
    const server = new FakeServer();
    await server.answer({ access_token: 'first', refresh_token: 'refresh-1', expires_in: 300 });
    const name = await connectTo(server);
    await tokenIn(name);
    await age(name, HOUR);
    await server.answer({ access_token: 'second', refresh_token: 'refresh-2', expires_in: 300 });
    await killBeforeWrite(name);
    expect(await refreshTokenOf(name)).toBe('refresh-1');
    expect((await statusOf(name))['interruptedAt']).not.toBeNull();
    expect(await ask(name)).toMatchObject({ ok: true, value: { token: 'second' } });
    expect(await refreshTokenOf(name)).toBe('refresh-2');
    expect(await statusOf(name)).toMatchObject({ interruptedAt: null, problem: null });
  });

  it('between the answer of a strict server and the write is told as such, and asks for another authorization', async () => {
    const { name, client } = await authorized({}, { client_name: 'late' });
    const old = await refreshTokenOf(name);
    await age(name, HOUR);
    const dying = ask(name).catch(() => undefined);
    await expect.poll(() => grantsOf(client)).toMatchObject({ succeeded: 2 });
    await kill(name);
    await dying;
    expect(await refreshTokenOf(name)).toBe(old);
    expect(await codeOf(tokenOf(name))).toBe('connection.unauthorized');
    const { problem, state } = await statusOf(name);
    expect(state).toBe('refused');
    expect(problem).toContain('interrupted');
  });
});

/** Dies when the answer has come and before anything of it is on disk. */
async function killBeforeWrite(name: string): Promise<void> {
  const save = TokenStore.prototype.saveTokens;
  const spy = vi.spyOn(TokenStore.prototype, 'saveTokens').mockImplementation(function (this: TokenStore, held) {
    if (held.facts.attemptAt === null) throw new Error('dies here');
    save.call(this, held);
  });
  await ask(name).catch(() => undefined);
  spy.mockRestore();
  await kill(name);
}

describe('a refresh token', () => {
  it('that somebody else has used ends the authorization, and is not sent again', async () => {
    const { name, client, secret } = await authorized();
    await age(name, HOUR);
    await ask(name);
    const stolen = await refreshTokenOf(name);
    const theirs = { grant_type: 'refresh_token', refresh_token: stolen };
    expect((await atProvider(client, secret, '/token', theirs)).status).toBe(200);
    await age(name, HOUR);
    for (let turn = 0; turn < 3; turn++) expect(await codeOf(tokenOf(name))).toBe('connection.unauthorized');
    expect(await grantsOf(client)).toMatchObject({ failed: 1 });
    expect((await statusOf(name))['problem']).toContain('somebody else has used it');
    const { results } = await env.DB.prepare('select action from audit_log where subject = ?').bind(name).all();
    expect(results.map(({ action }) => action)).toEqual([
      'connection.save',
      'connection.authorize',
      'connection.refresh-refused',
    ]);
  });

  it('stays the same where the server sends none anew', async () => {
    const server = await new FakeServer().answer({ access_token: 'a', refresh_token: 'keep', expires_in: 300 });
    const name = await connectTo(server);
    await tokenIn(name);
    await server.answer({ access_token: 'b', expires_in: '300' });
    await age(name, HOUR);
    expect(await ask(name)).toMatchObject({ ok: true, value: { token: 'b' } });
    expect(await refreshTokenOf(name)).toBe('keep');
  });

  it('is not used for a connection whose address, server or client was changed', async () => {
    const { name, client, secret } = await authorized();
    const elsewhere = await new FakeServer().answer({});
    const oauth = { grant: 'authorization_code', clientId: client, scopes: ['openid', 'offline_access'] };
    await connect({ name, oauth, secrets: { clientSecret: secret }, baseUrl: elsewhere.url });
    expect(await codeOf(tokenOf(name))).toBe('connection.unauthorized');
    await connect({
      name,
      oauth: { ...oauth, endpoints: { token: elsewhere.url } },
      secrets: { clientSecret: secret },
    });
    expect(await codeOf(tokenOf(name))).toBe('connection.unauthorized');
    expect(await elsewhere.requests()).toBe(0);
  });

  it('is revoked at the server and forgotten here', async () => {
    const { name, client, secret } = await authorized();
    const stale = await refreshTokenOf(name);
    expect((await manage(`DELETE /connections/${name}/authorization`)).body).toEqual({ atServer: true });
    expect(await statusOf(name)).toMatchObject({ state: 'none', problem: null });
    expect(await codeOf(tokenOf(name))).toBe('connection.unauthorized');
    const reply = await atProvider(client, secret, '/token', { grant_type: 'refresh_token', refresh_token: stale });
    expect(reply.status).toBe(400);
  });
});

describe('an answer of a token endpoint', () => {
  it('is an error also where its status is 200, as of GitHub and Slack', async () => {
    const server = new FakeServer();
    const said: [string, string][] = [
      [JSON.stringify({ error: 'bad_verification_code', error_description: 'no' }), 'bad_verification_code'],
      [JSON.stringify({ ok: false, error: 'invalid_auth' }), 'invalid_auth'],
      ['error=incorrect_client_credentials&error_description=no', 'incorrect_client_credentials'],
    ];
    for (const [body, error] of said) {
      await server.answer(body);
      const result = await tokenOf(await connectTo(server));
      expect(result).toMatchObject({ ok: false, fault: { code: 'oauth.failed' } });
      expect(!result.ok && result.fault.message).toContain(error);
    }
  });

  it('may be a form', async () => {
    const server = await new FakeServer().answer('access_token=gho_1&scope=repo%2Cuser&token_type=bearer');
    const name = await connectTo(server);
    expect((await tokenIn(name)).token).toBe('gho_1');
    expect(await statusOf(name)).toMatchObject({ scopes: ['repo', 'user'], expiresAt: null });
  });

  it('is refused where it is no bearer token, no token, or what no header can hold', async () => {
    const server = new FakeServer();
    const bad: unknown[] = [
      { access_token: 'x', token_type: 'DPoP' },
      { token_type: 'Bearer' },
      { access_token: 'a\r\nb: c' },
      { access_token: '' },
      { access_token: 'x'.repeat(17_000) },
      [],
      'text',
    ];
    for (const body of bad) {
      await server.answer(JSON.stringify(body));
      expect(await codeOf(tokenOf(await connectTo(server))), JSON.stringify(body).slice(0, 80)).toBe('oauth.failed');
    }
  });
});
