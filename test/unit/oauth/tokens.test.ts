import fc from 'fast-check';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { isSafeEndpoint, missingSecret, oauthSettings } from '../../../src/core/oauth/settings.ts';
import { errorFault, errorOf, fieldsOf, NEVER, readGrant, timesOf } from '../../../src/core/oauth/tokens.ts';
import { isFrom } from '../../../src/drivers/oauth/authorize.ts';

describe('the times of a token', () => {
  it('lie between its start and its end, the renewal first, whatever its life', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1_000, max: 10 ** 11 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (life, random) => {
          const { refreshAt, expiresAt } = timesOf(1_000, life, random);
          expect(refreshAt).toBeGreaterThan(1_000);
          expect(refreshAt).toBeLessThanOrEqual(expiresAt);
          expect(expiresAt).toBeLessThan(1_000 + life);
        },
      ),
    );
  });

  it('differ between connections of one age', () => {
    expect(timesOf(0, 3_600_000, 0).refreshAt - timesOf(0, 3_600_000, 1).refreshAt).toBe(150_000);
  });

  it('never come where the server names no lifetime', () => {
    expect(timesOf(0, undefined, 0.5)).toEqual({ refreshAt: NEVER, expiresAt: NEVER });
  });
});

describe('an answer', () => {
  it('is an error wherever one stands in it, and not elsewhere', () => {
    expect(errorOf({ error: 'invalid_grant' })).toBe('invalid_grant');
    expect(errorOf({ ok: false })).toBe('server_error');
    expect(errorOf({ error: { message: 'x' } })).toBe('server_error');
    expect(errorOf({ access_token: 'x', error: '' })).toBeUndefined();
    expect(errorOf({ ok: true, access_token: 'x' })).toBeUndefined();
  });

  it('is not taken for a form where it is a page', () => {
    expect(fieldsOf('<html>a=b</html>')).toBeUndefined();
    expect(fieldsOf('access_token=a%20b&scope=')).toEqual({ access_token: 'a b', scope: '' });
  });

  it('is quoted by no fault', () => {
    const secret = 'canary\n';
    for (const fields of [
      { access_token: secret },
      { access_token: 'x', token_type: secret },
      { access_token: [secret] },
    ]) {
      const read = readGrant('as.example', fields);
      expect(read.ok).toBe(false);
      expect(JSON.stringify(read)).not.toContain('canary');
    }
    expect(JSON.stringify(errorFault('as.example', 'canary secret', 400))).not.toContain('canary');
  });

  it('of a lifetime of nothing, or in words, is understood', () => {
    const lifetime = (expires_in: unknown) => {
      const read = readGrant('as.example', { access_token: 'x', expires_in });
      return read.ok ? read.value.lifetimeMilliseconds : read.fault.code;
    };
    expect([lifetime(60), lifetime('60'), lifetime(0), lifetime(null)]).toEqual([60_000, 60_000, undefined, undefined]);
    expect([lifetime(-1), lifetime('soon')]).toEqual(['oauth.failed', 'oauth.failed']);
  });
});

describe('the issuer of an answer', () => {
  it('must be the one that was asked, and must be there where the server says so', () => {
    const issuer = 'https://as.example';
    expect(isFrom({ issuer, namesItself: true }, issuer)).toBe(true);
    expect(isFrom({ issuer, namesItself: false }, undefined)).toBe(true);
    expect(isFrom({ issuer, namesItself: true }, undefined)).toBe(false);
    expect(isFrom({ issuer, namesItself: false }, 'https://evil.example')).toBe(false);
    expect(isFrom({ issuer, namesItself: false }, `${issuer}/`)).toBe(false);
  });
});

describe('the settings', () => {
  const settings = { grant: 'client_credentials', clientId: 'x', endpoints: { token: 'https://as.example/token?v=2' } };

  it('need a server, and secrets that fit the grant', () => {
    expect(v.is(oauthSettings, settings)).toBe(true);
    expect(v.is(oauthSettings, { ...settings, endpoints: {} })).toBe(false);
    expect(v.is(oauthSettings, { ...settings, scopes: ['two words'] })).toBe(false);
    const parsed = v.parse(oauthSettings, { ...settings, authentication: 'client_secret_post' });
    expect(missingSecret({ settings: parsed, secrets: {} })).toContain('clientSecret');
    expect(missingSecret({ settings: { ...parsed, grant: 'token_exchange' }, secrets: {} })).toContain('subjectToken');
    expect(missingSecret({ settings: { ...parsed, grant: 'jwt_bearer' }, secrets: {} })).toContain('privateKey');
  });

  it('know plain http only on this very machine', () => {
    expect(['https://a.example/?x=1', 'http://127.0.0.1:1/x', 'http://[::1]/'].every(isSafeEndpoint)).toBe(true);
    for (const url of [
      'http://a.example',
      'https://a@b.example',
      'https://a.example/#x',
      'http://127.0.0.1.evil.example',
      'ftp://x',
      '',
    ]) {
      expect(isSafeEndpoint(url), url).toBe(false);
    }
  });
});
