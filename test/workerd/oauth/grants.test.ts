/// <reference types="@cloudflare/vitest-plugin/types" />

import { runDurableObjectAlarm } from 'cloudflare:test';
import { exportJWK, exportPKCS8, generateKeyPair } from 'jose';
import { describe, expect, it } from 'vitest';
import { call, manage, publish } from '../gateway/fixtures.ts';
import { Browser, connect, grantsOf, issuer, objectOf, register, statusOf, tokenIn, tokenOf } from './fixtures.ts';

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code';

const program = { redirect_uris: [], response_types: [] };

async function keyPair() {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const jwks = { keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256', use: 'sig' }] };
  return { pem: await exportPKCS8(privateKey), jwks };
}

describe('client credentials', () => {
  for (const authentication of ['client_secret_basic', 'client_secret_post'] as const) {
    it(`are sent by ${authentication}`, async () => {
      const { id, secret } = await register({
        ...program,
        grant_types: ['client_credentials'],
        token_endpoint_auth_method: authentication,
      });
      const oauth = { grant: 'client_credentials', clientId: id, authentication, scopes: ['orders:read'] };
      const name = await connect({ oauth, secrets: { clientSecret: secret } });
      await tokenIn(name);
      expect(await statusOf(name)).toMatchObject({ state: 'authorized', scopes: ['orders:read'], refreshable: false });
    });
  }

  it('may be a signed assertion instead of a secret', async () => {
    const { pem, jwks } = await keyPair();
    const { id } = await register({
      ...program,
      grant_types: ['client_credentials'],
      token_endpoint_auth_method: 'private_key_jwt',
      jwks,
    });
    const oauth = { grant: 'client_credentials', clientId: id, key: { algorithm: 'ES256' } };
    await tokenIn(await connect({ oauth, secrets: { privateKey: pem } }));
    const other = await keyPair();
    const forged = await tokenOf(await connect({ oauth, secrets: { privateKey: other.pem } }));
    expect(forged).toMatchObject({ ok: false, fault: { code: 'oauth.failed' } });
    expect(await grantsOf(id)).toMatchObject({ succeeded: 1 });
  });

  it('that are wrong fail the step, and their secret is in no answer', async () => {
    const { id } = await register({ ...program, grant_types: ['client_credentials'] });
    const secret = 'canary-wrong-secret';
    const oauth = { grant: 'client_credentials', clientId: id };
    const name = await connect({ oauth, secrets: { clientSecret: secret } });
    const { route } = await publish({ steps: { me: { use: 'http.get', connection: name, with: { url: '/me' } } } });
    const ran = await call(route, {});
    expect(ran.body).toMatchObject({ status: 502, code: 'oauth.failed' });
    expect(ran.text).toContain('invalid_client');
    expect(ran.text).not.toContain(secret);
  });

  it('get a token for the resource that the connection names', async () => {
    const { id, secret } = await register({ ...program, grant_types: ['client_credentials'] });
    const resource = 'https://orders.example/';
    const oauth = { grant: 'client_credentials', clientId: id, scopes: ['orders:read'], resource: [resource] };
    const { token } = await tokenIn(await connect({ oauth, secrets: { clientSecret: secret } }));
    const [, payload = ''] = token.split('.');
    expect(JSON.parse(atob(payload))).toMatchObject({ aud: resource, scope: 'orders:read', client_id: id });
  });
});

describe('an assertion (RFC 7523)', () => {
  it('is signed by the key of the connection and exchanged for a token', async () => {
    const { pem, jwks } = await keyPair();
    const { id } = await register({
      ...program,
      grant_types: [JWT_BEARER],
      token_endpoint_auth_method: 'none',
      jwks,
    });
    const oauth = { grant: 'jwt_bearer', clientId: id, key: { algorithm: 'ES256' } };
    await tokenIn(await connect({ oauth, secrets: { privateKey: pem } }));
    const other = await keyPair();
    const forged = await tokenOf(await connect({ oauth, secrets: { privateKey: other.pem } }));
    expect(!forged.ok && forged.fault.message).toContain('invalid_grant');
  });

  it('cannot be saved without a key, nor with one of another kind', async () => {
    const settings = { baseUrl: issuer, oauth: { issuer, grant: 'jwt_bearer', clientId: 'x' } };
    const body = { connector: 'http', settings, secrets: {} };
    expect(await manage('PUT /connections/no-key', body)).toMatchObject({ status: 422 });
    const { pem } = await keyPair();
    const oauth = { grant: 'jwt_bearer', clientId: 'x', key: { algorithm: 'RS256' } };
    const result = await tokenOf(await connect({ oauth, secrets: { privateKey: pem } }));
    expect(result).toMatchObject({ ok: false, fault: { code: 'connection.invalid' } });
    expect(JSON.stringify(result)).not.toContain(pem.split('\n')[1]);
  });
});

describe('a token exchange (RFC 8693)', () => {
  it('gives a token for the subject token, and an error for one that is none', async () => {
    const grant_types = ['client_credentials', EXCHANGE];
    const { id, secret } = await register({ ...program, grant_types });
    const own = await connect({
      oauth: { grant: 'client_credentials', clientId: id },
      secrets: { clientSecret: secret },
    });
    const subject = await tokenIn(own);
    const oauth = { grant: 'token_exchange', clientId: id };
    const secrets = { clientSecret: secret, subjectToken: subject.token };
    expect((await tokenIn(await connect({ oauth, secrets }))).token).not.toBe(subject.token);
    const wrong = await tokenOf(await connect({ oauth, secrets: { ...secrets, subjectToken: 'canary-subject' } }));
    expect(!wrong.ok && wrong.fault.message).toContain('invalid_grant');
    expect(JSON.stringify(wrong)).not.toContain('canary-subject');
  });
});

describe('a device (RFC 8628)', () => {
  const connectDevice = async (): Promise<string> => {
    const { id, secret } = await register({
      grant_types: [DEVICE, 'refresh_token'],
      response_types: [],
      redirect_uris: [],
    });
    const oauth = { grant: 'device_code', clientId: id, scopes: ['openid', 'offline_access'] };
    return connect({ oauth, secrets: { clientSecret: secret } });
  };

  it('is waited for until somebody has entered the code', async () => {
    const name = await connectDevice();
    const begun = await manage(`POST /connections/${name}/authorization/device`);
    expect(begun.status, begun.text).toBe(201);
    expect(await statusOf(name)).toMatchObject({ state: 'pending' });
    await runDurableObjectAlarm(objectOf(name));
    expect(await statusOf(name)).toMatchObject({ state: 'pending' });
    await enterCode(String(begun.body['verificationUriComplete']), String(begun.body['userCode']));
    await expect
      .poll(async () => {
        await runDurableObjectAlarm(objectOf(name));
        return (await statusOf(name))['state'];
      })
      .toBe('authorized');
    expect((await tokenIn(name)).token).not.toBe('');
  });

  it('that was not asked for leaves the connection unauthorized', async () => {
    const name = await connectDevice();
    expect(await tokenOf(name)).toMatchObject({ ok: false, fault: { code: 'connection.unauthorized' } });
    expect(await manage(`POST /connections/${name}/authorization`)).toMatchObject({ status: 422 });
  });
});

/** What a person does on the pages of the provider. */
async function enterCode(verificationUri: string, userCode: string): Promise<void> {
  const browser = new Browser();
  const visit = async (url: string, form?: Record<string, string>): Promise<{ url: string; text: string }> => {
    const body = form && new URLSearchParams(form);
    const response = await fetch(url, {
      redirect: 'manual',
      headers: { cookie: browser.cookies(url) },
      ...(body && { method: 'POST', body }),
    });
    browser.keep(url, response.headers.getSetCookie());
    const location = response.headers.get('location');
    const text = await response.text();
    return location === null ? { url, text } : visit(new URL(location, url).href);
  };
  let page = await visit(verificationUri);
  const [, xsrf = ''] = /name="xsrf" value="([^"]+)"/.exec(page.text) ?? [];
  page = await visit(`${issuer}/device`, { xsrf, user_code: userCode, confirm: 'yes' });
  expect(page.text).toContain('Sign-in Success');
}
