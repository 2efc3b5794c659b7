/** Every route of the management API by every role, from the table of its endpoints. */

import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { beforeEach, describe, expect, it, test } from 'vitest';
import { endpoints } from '../../../src/control/index.ts';
import type { SignIn } from '../../../src/control/principal.ts';
import { accessRule, oidcRule } from '../../../src/core/route/auth.ts';
import { mayAs, ROLES, type Role } from '../../../src/core/roles.ts';
import {
  ADMIN_KEY,
  codeOf,
  db,
  emptyDatabase,
  NOW,
  ORIGIN,
  testControl,
  type Called,
} from '../../workerd/control/fixtures.ts';

const issuer = 'https://login.example';
const team = 'https://team.cloudflareaccess.com';
const { publicKey, privateKey } = await generateKeyPair('RS256', { extractable: true });
const keys = [{ ...(await exportJWK(publicKey)), kid: 'one', alg: 'RS256' }];

const signIn: SignIn = {
  oidc: { ...oidcRule(issuer, ['console']), jwksUrl: `${issuer}/jwks` },
  access: accessRule('team', ['tag']),
  keys: { fetch: () => Promise.resolve(Response.json({ keys })), now: () => NOW, waitUntil: () => undefined },
};
// Anew for each test: wrong credentials are counted, and the clock stands still.
let control = testControl({ signIn });
const call: typeof control.call = (...given) => control.call(...given);

const tokenOf = (claims: Record<string, unknown>, iss = issuer, aud = 'console') =>
  new SignJWT({ iss, aud, exp: NOW / 1000 + 300, ...claims })
    .setProtectedHeader({ alg: 'RS256', kid: 'one' })
    .sign(privateKey);

beforeEach(async () => {
  control = testControl({ signIn });
  await emptyDatabase();
});

async function managementToken(role: Role, more: Record<string, unknown> = {}): Promise<{ id: string; token: string }> {
  const { status, body } = await call('POST', '/tokens', { name: role, role, ...more });
  expect(status).toBe(201);
  return { id: String(body['id']), token: String(body['token']) };
}

const as = (token: string) => ({ authorization: `Bearer ${token}` });

/** As a client would send it, to things that are not there. */
function attempt(method: string, path: string, headers: Record<string, string>, to = control): Promise<Called> {
  const address =
    ORIGIN +
    path
      .replace('{name}', 'nothing')
      .replace('{id}', 'nothing')
      .replaceAll(/\{\w+\}/g, '1');
  const hasBody = method !== 'GET' && method !== 'DELETE';
  return to.send(
    new Request(address, {
      method,
      headers: { ...headers, ...(hasBody ? { 'content-type': 'application/json' } : {}) },
      ...(hasBody ? { body: '{}' } : {}),
    }),
  );
}

const guarded = endpoints.filter((item) => item.access !== 'public');
const matrix = guarded.flatMap((item) => ROLES.map((role) => [item.method, item.path, role, item.role] as const));

test('every endpoint names the role that it needs, and each role may do something of its own', () => {
  expect(guarded.filter((item) => item.role === undefined).map((item) => item.id)).toEqual([]);
  expect(new Set(guarded.map((item) => item.role))).toEqual(new Set(ROLES));
  // Whoever only reads changes nothing.
  expect(guarded.filter((item) => item.role === 'viewer' && item.method !== 'GET')).toEqual([]);
});

test.each(matrix)('%s %s as %s', async (method, path, role, needed = 'owner') => {
  const { token } = await managementToken(role);
  const answer = await attempt(method, path, as(token));
  if (mayAs(role, needed)) expect([401, 403, 405]).not.toContain(answer.status);
  else expect([answer.status, codeOf(answer)]).toEqual([403, 'auth.forbidden']);
});

test.each(guarded.map((item) => [item.method, item.path] as const))(
  '%s %s by nobody, by an API key, by a token that was revoked, has expired or is of another issuer',
  async (method, path) => {
    const { id, token } = await managementToken('owner');
    await call('DELETE', `/tokens/${id}`);
    const { body } = await call('POST', '/keys', { name: 'all', scopes: ['*'] });
    // Who was wrong too often gets 429 instead, so each address is asked on its own.
    const fresh = testControl({ signIn });
    expect((await attempt(method, path, {}, fresh)).status).toBe(401);
    for (const presented of [
      token,
      String(body['key']),
      await tokenOf({ sub: 'ada' }, 'https://evil.example'),
      await tokenOf({ sub: 'ada' }, issuer, 'other'),
      await tokenOf({ sub: 'ada', exp: NOW / 1000 - 60 }),
    ]) {
      expect((await attempt(method, path, as(presented), fresh)).status).toBe(401);
    }
  },
);

test.each([
  ['nothing', 'GET', '/_/api/v1/nothing', 404],
  ['another method', 'PUT', '/_/api/v1/keys', 405],
])('%s is told to those who have a role, and to nobody else', async (_what, method, path, status) => {
  const { token } = await managementToken('viewer');
  expect((await attempt(method, path, as(token))).status).toBe(status);
  expect((await attempt(method, path, {})).status).toBe(401);
});

test('a method that overrides, a doubled slash or a dot segment opens nothing', async () => {
  const { token } = await managementToken('viewer');
  const headers = { ...as(token), 'x-http-method-override': 'DELETE', 'x-original-url': '/_/api/v1/tokens' };
  expect((await attempt('GET', '/_/api/v1/me', headers)).body).toMatchObject({ role: 'viewer' });
  for (const path of ['/_/api/v1//tokens', '/_/api/v1/me/../tokens', '/_/api/v1/%74okens', '/_/api/v1/tokens/']) {
    expect([403, 404, 405]).toContain((await attempt('GET', path, headers)).status);
  }
});

describe('a management token', () => {
  it('is shown once, kept as its hash, and named in the audit log', async () => {
    const { id, token } = await managementToken('admin');
    expect(token).toMatch(/^tgm_[A-Za-z0-9_-]{47}$/);
    expect((await call('GET', '/tokens')).text).not.toContain(token.slice(4, -4));
    expect(JSON.stringify(await db.prepare('select * from management_tokens').all())).not.toContain(token);
    await control.call('POST', '/keys', { name: 'x' }, as(token));
    const line = await db.prepare("select actor from audit_log where action = 'key.add'").first();
    expect(line).toEqual({ actor: `token:${id}` });
  });

  it('counts until it expires', async () => {
    const { token } = await managementToken('viewer', { expiresAt: new Date(NOW + 1_000).toISOString() });
    const at = (now: number) => testControl({ signIn, now: () => now }).call('GET', '/me', undefined, as(token));
    expect((await at(NOW + 999)).status).toBe(200);
    expect(codeOf(await at(NOW + 1_000))).toBe('auth.invalid');
  });

  it('cannot make another with more rights, nor raise its own', async () => {
    for (const role of ['viewer', 'developer', 'admin'] as const) {
      const { id, token } = await managementToken(role);
      const made = await call('POST', '/tokens', { name: 'x', role: 'owner' }, as(token));
      const raised = await call('PATCH', `/tokens/${id}`, { role: 'owner' }, as(token));
      const person = await call('POST', '/people', { email: 'eve@evil.example', role: 'owner' }, as(token));
      expect([made.status, raised.status, person.status]).toEqual([403, expect.any(Number), 403]);
      expect([404, 405]).toContain(raised.status);
    }
  });

  it.each([{ role: 'root' }, { role: 'Owner' }, { role: ['owner'] }, {}, { role: 'viewer', actor: 'admin' }])(
    'with %j is refused',
    async (body) => {
      expect((await call('POST', '/tokens', { name: 'x', ...body })).status).toBe(400);
    },
  );
});

describe('a person', () => {
  const me = (token: string) => control.call('GET', '/me', undefined, as(token));

  it('who signed in, and whom nobody gave a role, may do nothing', async () => {
    const refused = await me(await tokenOf({ sub: 'ada' }));
    expect([refused.status, codeOf(refused)]).toEqual([403, 'auth.forbidden']);
    expect(refused.body['detail']).toContain('oidc|ada');
  });

  it('acts by subject or proved address, under that name in the audit log, from the next request on', async () => {
    await call('POST', '/people', { subject: 'oidc|ada', role: 'admin' });
    const made = await call('POST', '/people', { email: 'Grace@Example.com', role: 'viewer' });
    expect((await me(await tokenOf({ sub: 'ada' }))).body).toEqual({ actor: 'person:oidc|ada', role: 'admin' });
    const grace = await tokenOf({ sub: 'g', email: 'grace@example.com', email_verified: true });
    expect((await me(grace)).body).toEqual({ actor: 'person:grace@example.com', role: 'viewer' });
    expect((await control.call('POST', '/keys', { name: 'x' }, as(grace))).status).toBe(403);
    await call('PATCH', `/people/${String(made.body['id'])}`, { role: 'admin' });
    expect((await control.call('POST', '/keys', { name: 'x' }, as(grace))).status).toBe(201);
    expect(await db.prepare("select actor from audit_log where action = 'key.add'").first()).toEqual({
      actor: 'person:grace@example.com',
    });
    await call('DELETE', `/people/${String(made.body['id'])}`);
    expect((await me(grace)).status).toBe(403);
  });

  it.each([{}, { email_verified: false }, { email_verified: 'true' }, { email_verified: 1 }])(
    'is not believed an address with %j',
    async (claims) => {
      await call('POST', '/people', { email: 'ada@example.com', role: 'owner' });
      expect((await me(await tokenOf({ sub: 'eve', email: 'ada@example.com', ...claims }))).status).toBe(403);
    },
  );

  it('of one provider is not the one of another with the same subject', async () => {
    await call('POST', '/people', { subject: 'oidc|ada', role: 'owner' });
    const assertion = await tokenOf({ sub: 'ada' }, team, 'tag');
    const request = (headers: Record<string, string>) =>
      control.send(new Request(`${ORIGIN}/_/api/v1/me`, { headers }));
    expect((await request({ 'cf-access-jwt-assertion': assertion })).status).toBe(403);
    await call('POST', '/people', { subject: 'access|ada', role: 'viewer' });
    expect((await request({ 'cf-access-jwt-assertion': assertion })).body).toMatchObject({ role: 'viewer' });
    // An assertion is not a bearer, nor a bearer an assertion.
    expect((await request(as(assertion))).status).toBe(401);
    expect((await request({ 'cf-access-jwt-assertion': await tokenOf({ sub: 'ada' }) })).status).toBe(401);
  });

  it('whose browser is sent by a page of another site does nothing', async () => {
    await call('POST', '/people', { subject: 'access|ada', role: 'owner' });
    const headers = {
      'cf-access-jwt-assertion': await tokenOf({ sub: 'ada' }, team, 'tag'),
      'sec-fetch-site': 'cross-site',
    };
    expect((await attempt('POST', '/_/api/v1/keys', headers)).status).toBe(403);
  });

  it('has one role', async () => {
    await call('POST', '/people', { email: 'ada@example.com', role: 'viewer' });
    const twice = await call('POST', '/people', { email: 'ADA@example.com', role: 'owner' });
    expect([twice.status, codeOf(twice)]).toEqual([409, 'person.taken']);
  });
});

test('the admin key is an owner, also where people sign in', async () => {
  expect((await call('GET', '/me', undefined, as(ADMIN_KEY))).body).toEqual({ actor: 'admin', role: 'owner' });
});

test.each([undefined, ''])(
  'without an admin key (%j) people still sign in, and nothing else opens',
  async (adminKey) => {
    await call('POST', '/people', { subject: 'oidc|ada', role: 'viewer' });
    const bare = testControl({ signIn, adminKey });
    expect((await bare.call('GET', '/me', undefined, as(await tokenOf({ sub: 'ada' })))).status).toBe(200);
    for (const authorization of ['Bearer ', 'Bearer undefined', `Bearer ${ADMIN_KEY}`]) {
      expect((await bare.call('GET', '/me', undefined, { authorization })).status).toBe(401);
    }
  },
);
