/** Attacks on the authorization of connections: rows 41 to 47 of the list, and what RFC 9700 adds. */

/// <reference types="@cloudflare/vitest-plugin/types" />

import { env } from 'cloudflare:workers';
import { runInDurableObject } from 'cloudflare:test';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { createConnectLinks } from '../../../src/vault/links.ts';
import { call, manage, ORIGIN } from '../../workerd/gateway/fixtures.ts';
import {
  authorized,
  Browser,
  connect,
  connectTo,
  FakeServer,
  grantsOf,
  issuer,
  linkTo,
  objectOf,
  REDIRECT_URI,
  register,
  statusOf,
  tokenIn,
  tokenOf,
} from '../../workerd/oauth/fixtures.ts';

const UNAUTHORIZED = { state: 'none' };

async function byCode(): Promise<{ readonly name: string; readonly client: string }> {
  const { id, secret } = await register();
  const scopes = ['openid', 'offline_access'];
  const oauth = { grant: 'authorization_code', clientId: id, scopes };
  return { name: await connect({ oauth, secrets: { clientSecret: secret } }), client: id };
}

/** The way back with something in it replaced; null removes it. */
function altered(url: URL, changes: Readonly<Record<string, string | null>>): string {
  const other = new URL(url);
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) other.searchParams.delete(name);
    else other.searchParams.set(name, value);
  }
  return other.href;
}

describe('a callback', () => {
  it('with the same state is refused the second time, and asks the server nothing', async () => {
    const { name, client } = await byCode();
    const browser = new Browser();
    const back = await browser.consent(await browser.start(await linkTo(name)));
    expect(await browser.gateway('GET', back.href)).toMatchObject({ status: 200 });
    expect(await browser.gateway('GET', back.href)).toMatchObject({ status: 400 });
    expect(await grantsOf(client)).toEqual({ succeeded: 1, failed: 0 });
  });

  it('in another browser than the one that began is refused, and so is a repetition in the right one', async () => {
    const { name, client } = await byCode();
    const browser = new Browser();
    const back = await browser.consent(await browser.start(await linkTo(name)));
    expect(await new Browser().gateway('GET', back.href)).toMatchObject({ status: 400 });
    expect(await browser.gateway('GET', back.href)).toMatchObject({ status: 400 });
    expect(await grantsOf(client)).toEqual({ succeeded: 0, failed: 0 });
    expect(await statusOf(name)).toMatchObject(UNAUTHORIZED);
  });

  it('with a code of another authorization is refused by PKCE', async () => {
    const { name, client } = await byCode();
    const [mine, theirs] = [new Browser(), new Browser()];
    const stolen = await theirs.consent(await theirs.start(await linkTo(name)));
    const back = await mine.consent(await mine.start(await linkTo(name)));
    const injected = altered(back, { code: stolen.searchParams.get('code') });
    expect(await mine.gateway('GET', injected)).toMatchObject({ status: 502 });
    expect(await grantsOf(client)).toEqual({ succeeded: 0, failed: 1 });
    expect(await statusOf(name)).toMatchObject(UNAUTHORIZED);
  });

  it('that names another issuer, or none where the server names itself, is refused before the code is used', async () => {
    const { name, client } = await byCode();
    for (const iss of ['https://evil.example', `${issuer}/`, '', null]) {
      const browser = new Browser();
      const back = await browser.consent(await browser.start(await linkTo(name)));
      expect(back.searchParams.get('iss')).toBe(issuer);
      expect(await browser.gateway('GET', altered(back, { iss })), String(iss)).toMatchObject({ status: 400 });
    }
    expect(await grantsOf(client)).toEqual({ succeeded: 0, failed: 0 });
  });

  it('with a state that was made up, cut, or is of another kind of link is refused', async () => {
    const { name } = await byCode();
    const browser = new Browser();
    const link = await linkTo(name);
    const back = await browser.consent(await browser.start(link));
    const state = back.searchParams.get('state') ?? '';
    const [body = '', mac = ''] = state.split('.');
    const other = btoa(JSON.stringify({ tenant: 'acme', connection: name, id: 'x' })).replace(/=+$/, '');
    const session = link.slice(link.lastIndexOf('/') + 1);
    for (const forged of ['', 'x', body, `${body}.`, `${other}.${mac}`, `${state}.x`, session]) {
      expect(await browser.gateway('GET', altered(back, { state: forged })), forged).toMatchObject({ status: 400 });
    }
    expect(await browser.gateway('GET', `${back.href}&code=another`)).toMatchObject({ status: 400 });
  });

  it('shows nothing of what an error says but plain words', async () => {
    const { name } = await byCode();
    const browser = new Browser();
    const start = await browser.start(await linkTo(name));
    const state = start.searchParams.get('state') ?? '';
    const query = new URLSearchParams({
      state,
      iss: issuer,
      error: '<script>alert(1)</script>',
      error_description: '<b>',
    });
    const reply = await browser.gateway('GET', `${REDIRECT_URI}?${query.toString()}`);
    expect(reply.status).toBe(502);
    expect(reply.text).not.toMatch(/<script|alert|<b>/);
    expect(reply.headers.get('content-security-policy')).toContain("default-src 'none'");
  });

  it('after the connection was changed is refused', async () => {
    const { id, secret } = await register();
    const oauth = { grant: 'authorization_code', clientId: id, scopes: ['openid'] };
    const name = await connect({ oauth, secrets: { clientSecret: secret } });
    const browser = new Browser();
    const back = await browser.consent(await browser.start(await linkTo(name)));
    await connect({
      name,
      oauth: { ...oauth, scopes: ['openid', 'offline_access'] },
      secrets: { clientSecret: secret },
    });
    expect(await browser.gateway('GET', back.href)).toMatchObject({ status: 400 });
    expect(await grantsOf(id)).toEqual({ succeeded: 0, failed: 0 });
  });

  it('goes to one address, whatever host or redirect the request names', async () => {
    const { name } = await byCode();
    const link = await linkTo(name);
    const headers = { 'x-forwarded-host': 'evil.example', host: 'evil.example' };
    const begun = await new Browser().gateway('POST', `${link}?redirect_uri=https://evil.example`, headers);
    expect(begun.text).toContain(encodeURIComponent(REDIRECT_URI));
    expect(begun.text).not.toContain('evil.example');
  });
});

describe('a connect page', () => {
  it('starts nothing when it is opened, one authorization when its form is sent, and no second', async () => {
    const { name } = await byCode();
    const link = await linkTo(name);
    const browser = new Browser();
    for (let turn = 0; turn < 3; turn++) expect(await browser.gateway('GET', link)).toMatchObject({ status: 200 });
    const both = await Promise.all([1, 2].map(() => new Browser().gateway('POST', link)));
    expect(new Set(both.map(({ status }) => status))).toEqual(new Set([200, 410]));
    expect(await browser.gateway('GET', link)).toMatchObject({ status: 410 });
  });

  it('is closed for a session that expired, was made up, or is of another gateway', async () => {
    const { name } = await byCode();
    const session = { tenant: '', connection: name, id: 'x', origin: ORIGIN, actor: 'test' };
    const links = createConnectLinks(env.TIDEGATE_MASTER_KEY);
    const foreign = createConnectLinks(`1:${btoa('x'.repeat(32))}`);
    if (!links.ok || !foreign.ok) throw new Error('no links');
    const expired = await links.value.sign({ ...session, expiresAt: Date.now() - 1 });
    const forged = await foreign.value.sign({ ...session, expiresAt: Date.now() + 60_000 });
    for (const [token, status] of [
      [expired, 410],
      [forged, 401],
      ['', 401],
      [`${expired.split('.')[0]}.`, 401],
    ] as const) {
      for (const method of ['GET', 'POST']) {
        expect(await new Browser().gateway(method, `${ORIGIN}/_/connect/${token}`)).toMatchObject({ status });
      }
    }
  });

  it('takes no form of another site, so nobody is made to connect an account', async () => {
    const { name } = await byCode();
    const link = await linkTo(name);
    const path = `POST ${new URL(link).pathname}`;
    const none: Record<string, string> = {};
    for (const headers of [
      none,
      { origin: 'https://evil.example' },
      { origin: 'null' },
      { 'sec-fetch-site': 'cross-site' },
    ]) {
      expect(await call(path, '', headers)).toMatchObject({ status: 403 });
    }
    expect(await call(path, '', { origin: ORIGIN })).toMatchObject({ status: 200 });
  });

  it('sends nobody to an address that is no https, and offers the others as a link only', async () => {
    const { name } = await byCode();
    for (const returnUrl of [
      'javascript:alert(1)',
      'data:text/html,x',
      'http://evil.example',
      '//evil.example',
      '/x',
    ]) {
      const made = await manage(`POST /connections/${name}/authorization`, { returnUrl });
      expect(made.status, returnUrl).toBe(400);
    }
    const returnUrl = 'https://shop.example/done?a="><script>';
    const done = await new Browser().authorize(await linkTo(name, { returnUrl }));
    expect(done).toMatchObject({ status: 200 });
    expect(done.headers.get('location')).toBeNull();
    expect(done.text).toContain('Back to shop.example');
    expect(done.text).not.toContain('<script>');
  });

  it('gives its cookie to the callback alone, out of the reach of scripts and other sites', async () => {
    const { name } = await byCode();
    const begun = await new Browser().gateway('POST', await linkTo(name));
    const [cookie = ''] = begun.headers.getSetCookie();
    expect(cookie).toMatch(/^__Secure-tidegate-connect-/);
    for (const part of ['Path=/_/oauth/callback', 'HttpOnly', 'SameSite=Lax', 'Secure']) expect(cookie).toContain(part);
    expect(begun.headers.get('content-security-policy')).toContain("frame-ancestors 'none'");
    expect(begun.headers.get('cache-control')).toBe('no-store');
  });
});

describe('the settings of a connection', () => {
  const save = (oauth: Record<string, unknown>, baseUrl = issuer) => {
    const settings = { baseUrl, oauth: { issuer, grant: 'authorization_code', clientId: 'x', ...oauth } };
    return manage('PUT /connections/hostile', { connector: 'http', settings, secrets: {} });
  };

  it('take no address that is not https', async () => {
    for (const url of [
      'http://as.example',
      'javascript:alert(1)',
      'file:///etc/passwd',
      'https://a:b@as.example',
      'as',
    ]) {
      expect(await save({ issuer: url }), url).toMatchObject({ status: 422 });
      expect(await save({ endpoints: { token: url } }), url).toMatchObject({ status: 422 });
    }
    expect(await save({}, 'http://api.example')).toMatchObject({ status: 422 });
  });

  it('cannot replace what PKCE and state rest on', async () => {
    for (const name of [
      'code_challenge',
      'code_challenge_method',
      'state',
      'redirect_uri',
      'response_type',
      'client_id',
    ]) {
      expect(await save({ parameters: { authorization: { [name]: 'x' } } }), name).toMatchObject({ status: 422 });
    }
    expect(await save({ parameters: { token: { grant_type: 'password' } } })).toMatchObject({ status: 422 });
  });
});

describe('the metadata of a server', () => {
  const [unruly = ''] = inject('servers').unruly;
  beforeAll(async () => {
    // There is none at the place of RFC 8414, so that of OpenID is asked, which a test can fill.
    const body = JSON.stringify({ kind: 'answer', status: 404 });
    await fetch(`${unruly}/_behaviour/.well-known`, { method: 'PUT', body });
  });

  const program = (server: FakeServer) =>
    connect({
      oauth: { issuer: server.url, grant: 'client_credentials', clientId: 'x' },
      secrets: { clientSecret: 'canary-secret' },
    });

  async function refusal(server: FakeServer, name: string): Promise<string> {
    const result = await tokenOf(name);
    if (result.ok) throw new Error('there is a token');
    expect(JSON.stringify(result.fault)).not.toContain('canary');
    // It was asked for its metadata, and got no secret.
    expect(await server.requests()).toBe(1);
    return result.fault.code;
  }

  it('leads to no private address, no other scheme and no plain http', async () => {
    const targets = ['javascript:alert(1)', 'http://as.example/token', 'file:///etc/passwd'];
    for (const token_endpoint of targets) {
      const server = new FakeServer();
      await server.answer({ issuer: server.url, token_endpoint });
      expect(await refusal(server, await program(server)), token_endpoint).toBe('oauth.failed');
    }
    const inside = [
      'https://169.254.169.254/latest',
      'https://10.0.0.1/',
      'https://[::ffff:127.0.0.1]/',
      'https://2130706433/x',
    ];
    for (const token_endpoint of inside.filter((url) => new URL(url).hostname !== '127.0.0.1')) {
      const server = new FakeServer();
      await server.answer({ issuer: server.url, token_endpoint });
      expect(await refusal(server, await program(server)), token_endpoint).toBe('egress.refused');
    }
  });

  it('of another issuer, behind a redirect, or that is none is not used', async () => {
    const server = new FakeServer();
    await server.answer({ issuer: 'https://honest.example', token_endpoint: server.url });
    expect(await refusal(server, await program(server))).toBe('oauth.failed');
    const redirecting = await new FakeServer().redirect('http://169.254.169.254/latest');
    expect(await refusal(redirecting, await program(redirecting))).toBe('oauth.failed');
    const html = await new FakeServer().answer('<html>', 200, 'text/html');
    expect(await refusal(html, await program(html))).toBe('oauth.failed');
  });

  it('of an issuer in a private network is not even read', async () => {
    for (const host of ['169.254.169.254', '10.0.0.1', '[::1]', 'metadata.google.internal', '0x7f.1']) {
      const oauth = { issuer: `https://${host}`, grant: 'client_credentials', clientId: 'x' };
      const result = await tokenOf(await connect({ oauth, secrets: { clientSecret: 's' } }));
      if (new URL(`https://${host}`).hostname === '127.0.0.1') continue;
      expect(result, host).toMatchObject({ ok: false, fault: { code: 'egress.refused' } });
    }
  });

  it('that offers PKCE without S256 is refused rather than obeyed', async () => {
    const server = new FakeServer();
    const endpoints = { authorization_endpoint: server.url, token_endpoint: server.url };
    await server.answer({ issuer: server.url, ...endpoints, code_challenge_methods_supported: ['plain'] });
    const oauth = { issuer: server.url, grant: 'authorization_code', clientId: 'x' };
    const name = await connect({ oauth });
    const begun = await new Browser().gateway('POST', await linkTo(name));
    expect(begun).toMatchObject({ status: 502 });
    expect(begun.text).toContain('S256');
  });
});

describe('a secret', () => {
  it('of OAuth is in no reply, no status, no fault, no row and no disk of the object in the clear', async () => {
    const server = new FakeServer();
    const echo = { error: 'invalid_grant', error_description: 'canary-access canary-refresh secret-of-the-program' };
    await server.answer({ access_token: 'canary-access', refresh_token: 'canary-refresh', expires_in: 300 });
    const name = await connectTo(server);
    await tokenIn(name);
    const { token } = await tokenIn(name);
    expect(token).toBe('canary-access');
    const disk = await runInDurableObject(objectOf(name), (_object, { storage: { sql } }) =>
      JSON.stringify(['tokens', 'pending', 'sessions'].map((table) => sql.exec(`SELECT * FROM ${table}`).toArray())),
    );
    await server.answer(echo, 400);
    await manage(`DELETE /connections/${name}/authorization`);
    const refused = await tokenOf(name);
    const rows = await Promise.all(
      ['connections', 'audit_log'].map(async (table) =>
        JSON.stringify((await env.DB.prepare(`select * from ${table}`).all()).results),
      ),
    );
    const said = [disk, ...rows, JSON.stringify(refused), (await manage(`GET /connections/${name}`)).text];
    said.push(JSON.stringify(await statusOf(name)));
    for (const text of said) expect(text).not.toMatch(/canary-(?:access|refresh)|secret-of-the-program/);
  });

  it('that was taken back is not used by any isolate any more', async () => {
    const { name } = await authorized();
    await tokenIn(name);
    await manage(`DELETE /connections/${name}/authorization`);
    expect(await tokenOf(name)).toMatchObject({ ok: false, fault: { code: 'connection.unauthorized' } });
  });
});
