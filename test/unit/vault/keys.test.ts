import { inspect } from 'node:util';
import { expect, test } from 'vitest';
import { KEY_SCOPE, scopesAllow } from '../../../src/core/route/key.ts';
import { hashKey, isWellFormedKey, looksLikeKey, makeKey } from '../../../src/vault/api-key.ts';
import { equalSecrets } from '../../../src/vault/compare.ts';
import { Secret } from '../../../src/vault/secret.ts';

test('a new key has the shape that scanners look for, and is stored as SHA-256', async () => {
  const { key, hash } = await makeKey();
  expect(key.reveal()).toMatch(/^tg_[A-Za-z0-9_-]{47}$/);
  expect(hash).toBe(await hashKey(key.reveal()));
  expect(hash).toMatch(/^[0-9a-f]{64}$/);
});

test('the hash of a key is the one that others compute', async () => {
  expect(await hashKey('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});

test('no two keys are equal', async () => {
  const keys = await Promise.all(Array.from({ length: 50 }, makeKey));
  expect(new Set(keys.map(({ key }) => key.reveal())).size).toBe(50);
});

test('a key with one character changed, cut or doubled is told from an unknown key', async () => {
  const key = (await makeKey()).key.reveal();
  expect(await isWellFormedKey(key)).toBe(true);
  for (let index = 0; index < key.length; index++) {
    const typo = key.slice(0, index) + (key[index] === 'x' ? 'y' : 'x') + key.slice(index + 1);
    expect(await isWellFormedKey(typo)).toBe(false);
  }
  for (const other of ['', 'tg_', key.slice(0, -1), `${key}x`, ` ${key}`, `${key}\n`, key.toUpperCase()]) {
    expect(await isWellFormedKey(other)).toBe(false);
  }
});

test('a scope is a word and a name, all of a word, or all', () => {
  for (const scope of ['*', 'chain:*', 'chain:orders', 'route:orders-2', 'orders:read', 'orders:v1.read']) {
    expect(scope).toMatch(KEY_SCOPE);
  }
  for (const scope of [
    '',
    'admin',
    'chain:',
    ':a',
    'chain:or*',
    '*:a',
    'chain:A',
    'chain:a\n',
    'chain:__proto__',
    'chain:a"',
  ]) {
    expect(scope).not.toMatch(KEY_SCOPE);
  }
});

test('a key calls what its scopes name only', () => {
  expect(scopesAllow(['*'], 'route:orders')).toBe(true);
  expect(scopesAllow(['chain:*'], 'chain:orders')).toBe(true);
  expect(scopesAllow(['chain:a', 'chain:orders'], 'chain:orders')).toBe(true);
  expect(scopesAllow([], 'chain:orders')).toBe(false);
  expect(scopesAllow(['chain:*'], 'route:orders')).toBe(false);
  expect(scopesAllow(['chain:orders-2'], 'chain:orders')).toBe(false);
  expect(scopesAllow(['chain:orders'], 'chain:*')).toBe(false);
});

test('a management token is no API key, and is told from one by its look', async () => {
  const token = (await makeKey('tgm')).key.reveal();
  expect(token).toMatch(/^tgm_[A-Za-z0-9_-]{47}$/);
  expect(looksLikeKey(token)).toBe(false);
  expect(looksLikeKey((await makeKey()).key.reveal())).toBe(true);
});

test('the hint of a key is its prefix and its last four characters, and nothing else of it', async () => {
  const { key, hint } = await makeKey();
  expect(hint).toBe(`tg_…${key.reveal().slice(-4)}`);
});

test.each([
  ['a', 'a', true],
  ['', '', true],
  ['a', 'b', false],
  ['a', 'aa', false],
  ['', 'a', false],
  ['ä', 'a\u0308', false],
])('equalSecrets(%j, %j) is %s', async (left, right, expected) => {
  expect(await equalSecrets(left, right)).toBe(expected);
});

test('a secret prints as [secret] in every way of printing', () => {
  const secret = new Secret({ token: 'canary' });
  const printed = [
    String(secret),
    `${secret}`,
    JSON.stringify({ secret }),
    inspect(secret),
    inspect({ deep: [secret] }, { showHidden: true, depth: 9 }),
    Object.entries(secret).join(),
    new Error(`failed with ${secret}`).message,
  ];
  expect(printed.join()).not.toContain('canary');
  expect(inspect(secret)).toBe('[secret]');
  expect(secret.reveal()).toEqual({ token: 'canary' });
});
