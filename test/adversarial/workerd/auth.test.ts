/** Attacks on tokens, and what issuers of tokens may do to us. */

import {
  exportJWK,
  exportSPKI,
  generateKeyPair,
  SignJWT,
  UnsecuredJWT,
  type CryptoKey,
  type JWK,
  type JWTPayload,
} from 'jose';
import { beforeEach, describe, expect, inject, it, onTestFinished, test, vi } from 'vitest';
import { LIMITS } from '../../../src/core/limits.ts';
import { ask, bearer, makeKey, planOf, told } from '../../workerd/gateway/asking.ts';
import { manage } from '../../workerd/gateway/fixtures.ts';

const AUDIENCE = 'https://api.example';
const ATTACKER = 'https://evil.example';
const LONG_AGO = '2001-09-09T01:46:40Z';

interface Pair {
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}

let count = 0;

const make = (alg: string): Promise<Pair> => generateKeyPair(alg, { extractable: true });
const [rsa, ec, theirs] = await Promise.all([make('RS256'), make('ES256'), make('RS256')]);

/** An issuer of its own for each test: what an isolate remembers of one is not of another. */
class Issuer {
  readonly issuer = `https://login-${++count}.example`;
  readonly jwksUrl = `${this.issuer}/jwks`;
  readonly asked: string[] = [];
  status = 200;
  keys: JWK[] = [];

  readonly env = {
    EGRESS: {
      fetch: (input: RequestInfo | URL) => {
        const url = input instanceof Request ? input.url : String(input);
        this.asked.push(url);
        if (url !== this.jwksUrl) return Promise.resolve(new Response('{}', { status: 404 }));
        return Promise.resolve(Response.json({ keys: this.keys }, { status: this.status }));
      },
    } as unknown as Fetcher,
  };

  get rule() {
    return { type: 'jwt', issuer: this.issuer, audience: AUDIENCE, jwksUrl: this.jwksUrl };
  }

  async publish(pair: Pair, alg: string, kid = 'one'): Promise<void> {
    this.keys.push({ ...(await exportJWK(pair.publicKey)), alg, kid, use: 'sig' });
  }

  readonly claims = (more: Record<string, unknown> = {}): JWTPayload => ({
    iss: this.issuer,
    aud: AUDIENCE,
    sub: 'ada',
    exp: seconds() + 300,
    ...more,
  });

  sign(pair: Pair, claims: JWTPayload = this.claims(), header: Record<string, unknown> = {}): Promise<string> {
    return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'one', ...header }).sign(pair.privateKey);
  }
}

const seconds = () => Math.floor(Date.now() / 1000);
const segment = (value: unknown) =>
  btoa(JSON.stringify(value)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');

let issuer: Issuer;

beforeEach(async () => {
  issuer = new Issuer();
  await issuer.publish(rsa, 'RS256');
});

const present = async (token: string, rule: object = issuer.rule) =>
  told(await ask({ auth: rule, headers: bearer(token), env: issuer.env }));

test('a token of the issuer for this audience is let in, and says who calls', async () => {
  const token = await issuer.sign(rsa, issuer.claims({ scope: 'orders:read', org_id: 'acme' }));
  const auth = { ...issuer.rule, tenantClaim: 'org_id', scopes: ['orders:read'] };
  expect(await ask({ auth, headers: bearer(token), env: issuer.env })).toMatchObject({
    ok: true,
    value: {
      kind: 'jwt',
      id: `jwt:${issuer.issuer}|ada`,
      tenant: 'acme',
      scopes: ['orders:read'],
      claims: { sub: 'ada' },
    },
  });
});

describe('a token is refused', () => {
  it.each(['none', 'None', 'NONE', 'nOnE', ''])('that says its algorithm is %j', async (alg) => {
    const body = segment(issuer.claims());
    for (const signature of ['', 'AAAA']) {
      expect(await present(`${segment({ alg, kid: 'one' })}.${body}.${signature}`)).toBe('auth.invalid');
    }
    expect(await present(new UnsecuredJWT(issuer.claims()).encode())).toBe('auth.invalid');
  });

  it('that takes the public key for a shared secret', async () => {
    const spki = await exportSPKI(rsa.publicKey);
    const jwk = await exportJWK(rsa.publicKey);
    for (const secret of [spki, spki.trim(), JSON.stringify(jwk), JSON.stringify(issuer.keys[0]), jwk.n ?? '']) {
      const key = new TextEncoder().encode(secret);
      const token = await new SignJWT(issuer.claims()).setProtectedHeader({ alg: 'HS256', kid: 'one' }).sign(key);
      expect(await present(token)).toBe('auth.invalid');
    }
  });

  it('that is signed by a secret which the issuer has put among its public keys', async () => {
    const secret = new Uint8Array(32).fill(7);
    issuer.keys.push({ kty: 'oct', k: btoa(String.fromCharCode(...secret)).replace(/=*$/, ''), kid: 'secret' });
    const token = await new SignJWT(issuer.claims()).setProtectedHeader({ alg: 'HS256', kid: 'secret' }).sign(secret);
    expect(await present(token)).toBe('auth.invalid');
  });

  it('whose algorithm is another than the rule names, though its key is there', async () => {
    await issuer.publish(ec, 'ES256', 'two');
    const token = await issuer.sign(ec, issuer.claims(), { alg: 'ES256', kid: 'two' });
    expect(await present(token, { ...issuer.rule, algorithms: ['RS256'] })).toBe('auth.invalid');
    expect(await present(token)).toBe('let in');
  });

  it.each<[string, Record<string, unknown>]>([
    ['is for another audience', { aud: 'https://other.example' }],
    ['is for an audience that begins alike', { aud: `${AUDIENCE}.evil.example` }],
    ['is for nobody', { aud: [] }],
    ['is of another issuer', { iss: ATTACKER }],
    ['is of an issuer with another spelling', { iss: 'HTTPS://LOGIN.EXAMPLE' }],
    ['has expired', { exp: 1_000_000_000 }],
    ['does not expire', { exp: undefined }],
    ['expires at a text', { exp: '9999999999' }],
    ['is not good yet', { nbf: 9_999_999_999 }],
    ['names nobody', { sub: undefined }],
    ['names the empty text', { sub: '' }],
  ])('that %s', async (_what, more) => {
    expect(await present(await issuer.sign(rsa, issuer.claims(more)))).toBe('auth.invalid');
  });

  it.each(['/dev/null', '../../one', "' or 1=1 --", 'one\u0000', '__proto__', 'constructor', 'ONE'])(
    'whose kid is %j',
    async (kid) => {
      expect(await present(await issuer.sign(theirs, issuer.claims(), { kid }))).toBe('auth.invalid');
    },
  );

  it('that brings its own key, and nobody goes where it points', async () => {
    const jwk = { ...(await exportJWK(theirs.publicKey)), kid: 'one', alg: 'RS256' };
    for (const header of [
      { jwk },
      { jku: `${ATTACKER}/jwks` },
      { x5u: `${ATTACKER}/chain.pem` },
      { x5c: ['MIIB'] },
      { jwk, jku: `${ATTACKER}/jwks`, kid: `${ATTACKER}/jwks` },
    ]) {
      expect(await present(await issuer.sign(theirs, issuer.claims(), header))).toBe('auth.invalid');
    }
    expect(issuer.asked.filter((url) => url !== issuer.jwksUrl)).toEqual([]);
  });

  it('that demands an extension, or a payload that is not encoded', async () => {
    const parts = (await issuer.sign(rsa)).split('.');
    for (const header of [
      { alg: 'RS256', kid: 'one', crit: ['exp'], exp: 1 },
      { alg: 'RS256', kid: 'one', crit: ['b64'], b64: false },
      { alg: 'RS256', kid: 'one', crit: [] },
    ]) {
      expect(await present([segment(header), parts[1], parts[2]].join('.'))).toBe('auth.invalid');
    }
  });

  it('of which any part was changed', async () => {
    const token = await issuer.sign(rsa);
    const places = Array.from({ length: 40 }, (_, index) => Math.floor((index * (token.length - 2)) / 40));
    for (const place of places) {
      const changed = token.slice(0, place) + (token[place] === 'A' ? 'Q' : 'A') + token.slice(place + 1);
      if (changed !== token) expect(await present(changed), String(place)).not.toBe('let in');
    }
    for (const cut of [
      token.slice(0, -10),
      `${token}AAAA`,
      `${token}.`,
      token.replace(/\.[^.]*$/, '.'),
      `${token}.${token}`,
    ]) {
      expect(await present(cut)).not.toBe('let in');
    }
  });

  it('that is as long as a book, before anything of it is read', async () => {
    const token = await issuer.sign(rsa, issuer.claims({ filler: 'x'.repeat(LIMITS.tokenCharacters) }));
    expect(await present(token)).toBe('auth.invalid');
    expect(issuer.asked).toEqual([]);
  });

  it('that lacks a scope, a claim or the tenant that the rule demands, with 403', async () => {
    const token = await issuer.sign(rsa, issuer.claims({ scope: 'orders:read', email_verified: false, plan: 'free' }));
    for (const rule of [
      { scopes: ['orders:write'] },
      { scopes: ['orders'] },
      { requiredClaims: { email_verified: true } },
      { requiredClaims: { plan: ['pro', 'team'] } },
      { requiredClaims: { toString: '*' } },
      { tenantClaim: 'org_id' },
      { tenantClaim: 'constructor' },
    ]) {
      expect(await present(token, { ...issuer.rule, ...rule }), JSON.stringify(rule)).toBe('auth.forbidden');
    }
    expect(await present(token, { ...issuer.rule, requiredClaims: { plan: ['pro', 'free'] } })).toBe('let in');
  });

  it('with a challenge that says so, and never with a part of it', async () => {
    const token = await issuer.sign(rsa, issuer.claims({ exp: Date.parse(LONG_AGO) / 1000, secret: 'canary' }));
    const result = await ask({ auth: issuer.rule, headers: bearer(token), env: issuer.env });
    expect(result).toMatchObject({ fault: { challenge: 'Bearer realm="tidegate", error="invalid_token"' } });
    expect(JSON.stringify(result)).not.toContain(token.split('.')[1]);
  });
});

describe('a token that was let in', () => {
  it('costs no second signature check, and no look at the issuer', async () => {
    const plan = planOf(issuer.rule);
    const headers = bearer(await issuer.sign(rsa));
    expect(told(await ask({ plan, headers, env: issuer.env }))).toBe('let in');
    const verify = vi.spyOn(crypto.subtle, 'verify');
    onTestFinished(() => verify.mockRestore());
    for (let again = 0; again < 5; again++) expect(told(await ask({ plan, headers, env: issuer.env }))).toBe('let in');
    expect(verify).not.toHaveBeenCalled();
    expect(issuer.asked).toHaveLength(1);
  });

  it('is refused once it has expired', async () => {
    const plan = planOf({ ...issuer.rule, clockTolerance: '0s' });
    const headers = bearer(await issuer.sign(rsa, issuer.claims({ exp: seconds() + 2 })));
    expect(told(await ask({ plan, headers, env: issuer.env }))).toBe('let in');
    at(Date.now() + 2_001);
    expect(told(await ask({ plan, headers, env: issuer.env }))).toBe('auth.invalid');
  });

  it('is refused at once under a rule that names another issuer', async () => {
    const token = await issuer.sign(rsa);
    expect(await present(token)).toBe('let in');
    expect(await present(token, { ...issuer.rule, issuer: 'https://next.example' })).toBe('auth.invalid');
  });

  it('is refused some minutes after its key was withdrawn', async () => {
    const plan = planOf(issuer.rule);
    const headers = bearer(await issuer.sign(rsa, issuer.claims({ exp: seconds() + 7_200 })));
    expect(told(await ask({ plan, headers, env: issuer.env }))).toBe('let in');
    issuer.keys = [];
    at(Date.now() + LIMITS.jwksFreshMilliseconds + 1);
    // This one finds the keys old, and makes somebody look.
    await ask({ plan, headers, env: issuer.env });
    expect(told(await ask({ plan, headers, env: issuer.env }))).toBe('let in');
    at(Date.now() + LIMITS.tokenMemoryMilliseconds + 1);
    expect(told(await ask({ plan, headers, env: issuer.env }))).toBe('auth.invalid');
  });
});

/** Sets the clock of this isolate. */
function at(time: number): void {
  const clock = vi.spyOn(Date, 'now').mockReturnValue(time);
  onTestFinished(() => clock.mockRestore());
}

describe('an issuer', () => {
  const quietly = () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    onTestFinished(() => log.mockRestore());
  };

  it('is asked once, however many unknown keys are named', async () => {
    expect(await present(await issuer.sign(rsa))).toBe('let in');
    for (let kid = 0; kid < 10; kid++) {
      expect(await present(await issuer.sign(theirs, issuer.claims(), { kid: `kid-${kid}` }))).toBe('auth.invalid');
    }
    expect(issuer.asked).toHaveLength(1);
  });

  it('that begins to sign with a new key is asked for it', async () => {
    expect(await present(await issuer.sign(rsa))).toBe('let in');
    await issuer.publish(theirs, 'RS256', 'new');
    at(Date.now() + LIMITS.jwksCooldownMilliseconds + 1);
    expect(await present(await issuer.sign(theirs, issuer.claims(), { kid: 'new' }))).toBe('let in');
    expect(issuer.asked).toHaveLength(2);
  });

  it('that is down does not stop those whose keys are known, until they are too old', async () => {
    quietly();
    expect(await present(await issuer.sign(rsa))).toBe('let in');
    issuer.status = 500;
    at(Date.now() + LIMITS.jwksStaleLongestMilliseconds - 60_000);
    expect(await present(await issuer.sign(rsa))).toBe('let in');
    at(Date.now() + 120_000);
    expect(await present(await issuer.sign(rsa))).toBe('auth.unavailable');
  });

  it('that was never reached gives a fault that may pass, and is left in peace for a while', async () => {
    quietly();
    issuer.status = 500;
    const token = await issuer.sign(rsa);
    const result = await ask({ auth: issuer.rule, headers: bearer(token), env: issuer.env });
    expect(result).toMatchObject({ fault: { code: 'auth.unavailable', retryable: true } });
    await present(token);
    expect(issuer.asked).toHaveLength(1);
    issuer.status = 200;
    at(Date.now() + LIMITS.jwksCooldownMilliseconds + 1);
    expect(await present(await issuer.sign(rsa))).toBe('let in');
  });

  it('is asked once by many who come at the same moment', async () => {
    const token = await issuer.sign(rsa);
    const plan = planOf(issuer.rule);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => ask({ plan, headers: bearer(token), env: issuer.env })),
    );
    expect(answers.every((answer) => answer.ok)).toBe(true);
    expect(issuer.asked).toHaveLength(1);
  });

  it('on a private address is not asked', async () => {
    quietly();
    const rule = { ...issuer.rule, jwksUrl: 'https://169.254.169.254/jwks' };
    expect(await present(await issuer.sign(rsa), rule)).toBe('auth.unavailable');
    expect(issuer.asked).toEqual([]);
  });
});

describe('a shared secret', () => {
  it('signs tokens by HS256, and its key takes them along when it is revoked', async () => {
    const { id, signingSecret } = await makeKey({ signing: { algorithm: 'hmac-sha256' } });
    const rule = { type: 'jwt', issuer: issuer.issuer, audience: AUDIENCE, algorithms: ['HS256'], sharedKey: id };
    const secret = new TextEncoder().encode(signingSecret);
    const sign = (key: Uint8Array) => new SignJWT(issuer.claims()).setProtectedHeader({ alg: 'HS256' }).sign(key);
    const token = await sign(secret);
    expect(await present(token, rule)).toBe('let in');
    expect(await present(await sign(new TextEncoder().encode(id.padEnd(32, '0'))), rule)).toBe('auth.invalid');
    expect(await present(await issuer.sign(rsa), rule)).toBe('auth.invalid');
    await manage(`DELETE /keys/${id}`);
    expect(await present(token, rule)).toBe('auth.invalid');
  });
});

describe('Cloudflare Access', () => {
  it('is believed by the signature of the team only, for the application only', async () => {
    const team = `team-${count}`;
    const host = `https://${team}.cloudflareaccess.com`;
    const certs = `${host}/cdn-cgi/access/certs`;
    const env = {
      EGRESS: {
        fetch: (url: string) => Promise.resolve(url === certs ? Response.json({ keys: issuer.keys }) : new Response()),
      } as unknown as Fetcher,
    };
    const auth = { type: 'access', team, audience: 'tag' };
    const assertion = async (pair: Pair, more: JWTPayload = {}) => ({
      'cf-access-jwt-assertion': await issuer.sign(pair, issuer.claims({ iss: host, aud: ['tag'], ...more })),
    });
    expect(await ask({ auth, headers: await assertion(rsa), env })).toMatchObject({
      value: { kind: 'access', id: `access:${host}|ada` },
    });
    const service = await assertion(rsa, { sub: '', common_name: 'robot.access' });
    expect(await ask({ auth, headers: service, env })).toMatchObject({ value: { id: `access:${host}|robot.access` } });
    for (const headers of [
      await assertion(theirs),
      await assertion(rsa, { aud: ['other'] }),
      await assertion(rsa, { iss: issuer.issuer }),
    ]) {
      expect(told(await ask({ auth, headers, env }))).toBe('auth.invalid');
    }
    const faked = { 'cf-access-authenticated-user-email': 'ada@example.com' };
    expect(told(await ask({ auth, headers: faked, env }))).toBe('auth.missing');
  });
});

describe('a real OpenID provider', () => {
  const { issuer: url, client, secret } = inject('servers').oidc;

  async function tokenFor(resource: string, scope: string): Promise<string> {
    const reply = await fetch(`${url}/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa(`${client}:${secret}`)}` },
      body: new URLSearchParams({ grant_type: 'client_credentials', resource, scope }),
    });
    const { access_token: token } = await reply.json<{ access_token: string }>();
    return token;
  }

  it('is found by discovery, and its tokens are held to audience and scopes', async () => {
    const auth = { type: 'jwt', issuer: url, audience: AUDIENCE, scopes: ['orders:read'] };
    const token = await tokenFor(AUDIENCE, 'orders:read');
    expect(await ask({ auth, headers: bearer(token) })).toMatchObject({
      ok: true,
      value: { id: `jwt:${url}|${client}`, scopes: ['orders:read'] },
    });
    const other = await tokenFor('https://other.example', 'orders:read');
    expect(told(await ask({ auth, headers: bearer(other) }))).toBe('auth.invalid');
    const writing = await tokenFor(AUDIENCE, 'orders:write');
    expect(told(await ask({ auth, headers: bearer(writing) }))).toBe('auth.forbidden');
  });

  it('that names another issuer in its configuration is not believed', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => undefined);
    onTestFinished(() => log.mockRestore());
    const auth = { type: 'jwt', issuer: `${url}/`, audience: AUDIENCE };
    const token = await tokenFor(AUDIENCE, 'orders:read');
    expect(told(await ask({ auth, headers: bearer(token) }))).toBe('auth.unavailable');
    expect(log.mock.calls.flat().join(' ')).toContain('names another issuer');
  });
});
