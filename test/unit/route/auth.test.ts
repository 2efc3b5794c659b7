import { expect, test } from 'vitest';
import { IssueList } from '../../../src/core/chain/issues.ts';
import { parseDocument } from '../../../src/core/chain/parse.ts';
import { authSchema, compileAuth, type AuthPlan } from '../../../src/core/route/auth.ts';
import * as v from 'valibot';

const schema = v.strictObject({ auth: v.optional(authSchema, 'key') });

/** The plan, or the paths and texts of what is wrong. */
function compile(auth: unknown): { readonly plan: AuthPlan | undefined; readonly issues: readonly string[] } {
  const issues = new IssueList();
  const document = parseDocument(schema, auth === undefined ? {} : { auth }, issues);
  const plan = document && compileAuth(document.auth, 'auth', issues);
  return { plan, issues: issues.all.map(({ path, message }) => `${path}: ${message}`) };
}

const jwt = { type: 'jwt', issuer: 'https://login.example', audience: 'https://api.example' };

test('"key", nothing, and a rule of type key are the same', () => {
  const { plan } = compile('key');
  expect(plan).toMatchObject({ mode: 'any', rules: [{ type: 'key', scopes: [] }] });
  expect(compile(undefined).plan).toEqual(plan);
  expect(compile({ type: 'key' }).plan).toEqual(plan);
  expect(compile('public').plan).toMatchObject({ mode: 'public', rules: [] });
});

test('a token may by default be signed with a public key only', () => {
  const rule = compile(jwt).plan?.rules[0];
  const algorithms = rule?.type === 'jwt' ? rule.token.algorithms : [];
  expect(algorithms).toContain('RS256');
  for (const name of ['none', 'HS256', 'HS384', 'HS512']) expect(algorithms).not.toContain(name);
});

test.each([
  ['a secret algorithm without a secret', { ...jwt, algorithms: ['HS256'] }, 'auth.algorithms'],
  ['both kinds of algorithm', { ...jwt, algorithms: ['RS256', 'HS256'], sharedKey: 'k' }, 'auth.algorithms'],
  ['a secret for a public algorithm', { ...jwt, algorithms: ['RS256'], sharedKey: 'k' }, 'auth.sharedKey'],
  ['a secret where none was chosen', { ...jwt, sharedKey: 'k' }, 'auth.sharedKey'],
  ['the algorithm none', { ...jwt, algorithms: ['none'] }, 'auth.algorithms'],
  ['no algorithm', { ...jwt, algorithms: [] }, 'auth.algorithms'],
  ['keys over plain HTTP', { ...jwt, jwksUrl: 'http://login.example/jwks' }, 'auth.jwksUrl'],
  ['an issuer over plain HTTP', { ...jwt, issuer: 'http://login.example' }, 'auth.issuer'],
  ['a loopback look-alike', { ...jwt, issuer: 'http://127.0.0.1.evil.example' }, 'auth.issuer'],
  ['credentials in an address', { ...jwt, jwksUrl: 'https://a:b@login.example/jwks' }, 'auth.jwksUrl'],
  ['no audience', { type: 'jwt', issuer: 'https://login.example' }, 'auth'],
  ['a clock off by an hour', { ...jwt, clockTolerance: '1h' }, 'auth.clockTolerance'],
  ['a scope that would end a header', { ...jwt, scopes: ['a"b'] }, 'auth.scopes'],
  ['a scope that no key can have', { type: 'key', scopes: ['Admin'] }, 'auth.scopes'],
  ['a signature good for a day', { type: 'hmac', window: '1d' }, 'auth.window'],
  ['a signature good for no time', { type: 'hmac', window: '0s' }, 'auth.window'],
  ['any certificate', { type: 'mtls' }, 'auth'],
  ['a fingerprint that is none', { type: 'mtls', fingerprints: ['abc'] }, 'auth.fingerprints'],
  ['a team that is a host', { type: 'access', team: 'evil.example/', audience: 'a' }, 'auth.team'],
  ['public among others', { any: ['key', 'public'] }, 'auth'],
  ['no rule of several', { any: [] }, 'auth.any'],
  ['rules in rules', { any: [{ all: ['key'] }] }, 'auth'],
  ['both any and all', { any: ['key'], all: ['key'] }, 'auth'],
  ['too many rules', { any: Array.from({ length: 9 }, () => 'key') }, 'auth.any'],
  ['a type that is not there', { type: 'none' }, 'auth'],
])('%s is refused with its place', (_what, auth, path) => {
  const { issues } = compile(auth);
  expect(issues).not.toEqual([]);
  expect(issues[0]?.startsWith(path)).toBe(true);
});

test('keys may come over plain HTTP from the machine itself', () => {
  expect(compile({ ...jwt, issuer: 'http://127.0.0.1:9000' }).issues).toEqual([]);
});

test('the place of a mistake in one of several rules is told', () => {
  const { issues } = compile({ all: ['key', { ...jwt, jwksUrl: 'http://x.example' }] });
  expect(issues[0]).toMatch(/^auth\.all\.1\.jwksUrl: /);
});

test('a plan knows its challenge, and which headers must not be passed on', () => {
  const { plan } = compile({ any: ['key', { type: 'basic' }, jwt] });
  expect(plan?.challenge).toBe('Bearer realm="tidegate", Basic realm="tidegate", charset="UTF-8"');
  expect(plan?.credentialHeaders).toEqual(['authorization', 'x-api-key']);
  expect(compile({ type: 'hmac' }).plan?.credentialHeaders).toContain('signature');
});

test('fingerprints are compared in one spelling', () => {
  const print = Array.from({ length: 32 }, () => 'AB').join(':');
  const rule = compile({ type: 'mtls', fingerprints: [print] }).plan?.rules[0];
  expect(rule?.type === 'mtls' ? [...rule.fingerprints] : []).toEqual(['ab'.repeat(32)]);
});
