import { expect, test } from 'vitest';
import { contentOf } from '../../../src/core/seal.ts';
import { connectionContext, createVault, sourceContext, type Vault } from '../../../src/vault/vault.ts';

const key = (byte: number): string => Buffer.alloc(32, byte).toString('base64');
const KEYS = `1:${key(1)},2:${key(2)}`;

function vault(keys = KEYS): Vault {
  const made = createVault(keys);
  if (!made.ok) throw new Error(made.fault.message);
  return made.value;
}

const place = connectionContext('acme', 'postgres', 'shop-db');
const plain = { password: 'canary-Ünicode', nested: { list: [1, null, true] } };
const unreadable = { ok: false, fault: { code: 'vault.unreadable' } };

test('what was sealed opens again in its own place', async () => {
  const sealed = await vault().seal(place, plain);
  expect(await vault().open(place, sealed)).toEqual({ ok: true, value: plain });
});

test('a sealed record shows nothing of its content, and sealing twice gives different texts', async () => {
  const [one, two] = await Promise.all([vault().seal(place, plain), vault().seal(place, plain)]);
  expect(one).not.toContain('canary');
  expect(Buffer.from(one, 'base64url').toString()).not.toContain('canary');
  expect(one).not.toBe(two);
});

test.each([
  ['tenant', connectionContext('evil', 'postgres', 'shop-db')],
  ['connector', connectionContext('acme', 'http', 'shop-db')],
  ['name', connectionContext('acme', 'postgres', 'shop-db2')],
  ['kind', { ...place, kind: 'source' as const }],
  ['border between parts', connectionContext('acme","postgres', '', 'shop-db')],
])('a record copied to another %s cannot be opened', async (_what, elsewhere) => {
  const sealed = await vault().seal(place, plain);
  expect(await vault().open(elsewhere, sealed)).toMatchObject(unreadable);
});

test('the secrets of a source do not open as those of a connection', async () => {
  const sealed = await vault().seal(sourceContext('stripe', 'pay'), ['s']);
  expect(await vault().open(connectionContext('', 'stripe', 'pay'), sealed)).toMatchObject(unreadable);
});

test('a record changed in any one character cannot be opened', async () => {
  const sealed = await vault().seal(place, 'x');
  for (let index = 0; index < sealed.length; index++) {
    const other = sealed[index] === 'A' ? 'B' : 'A';
    const changed = sealed.slice(0, index) + other + sealed.slice(index + 1);
    // The last character of base64url may have bits that mean nothing; those decode to the same bytes.
    const result = await vault().open(place, changed);
    expect(result.ok ? result.value : 'refused').toBe(isPadding(sealed, index) && result.ok ? 'x' : 'refused');
  }
});

const isPadding = (sealed: string, index: number): boolean => index === sealed.length - 1 || sealed[index + 1] === '.';

test.each(['', '.', '1.2', '1.2.AAAA.', '1.2.!!!!.AAAA', '1.2.AAAA.AAAA.AAAA', '9.2.AAAA.AAAA', '1.__proto__.A.A'])(
  'the text %j is refused, not thrown at',
  async (sealed) => {
    expect(await vault().open(place, sealed)).toMatchObject(unreadable);
  },
);

test('the two halves of two records do not combine', async () => {
  const [one, two] = await Promise.all([vault().seal(place, 'one'), vault().seal(place, 'two')]);
  const mixed = [...one.split('.').slice(0, 3), two.split('.')[3]].join('.');
  expect(await vault().open(place, mixed)).toMatchObject(unreadable);
});

test('the highest version encrypts, whatever the order, and older ones still decrypt', async () => {
  const old = await vault(`1:${key(1)}`).seal(place, 'old');
  const rotated = vault(`10:${key(3)},2:${key(2)},1:${key(1)}`);
  expect(await rotated.open(place, old)).toEqual({ ok: true, value: 'old' });
  expect((await rotated.seal(place, 'new')).split('.')[1]).toBe('10');
});

test('a record of a version that is gone tells which one to put back', async () => {
  const sealed = await vault().seal(place, 'x');
  const result = await vault(`1:${key(1)}`).open(place, sealed);
  expect(result).toMatchObject(unreadable);
  expect(result.ok ? '' : result.fault.message).toContain('version 2');
});

test('another master key under the same version opens nothing', async () => {
  const sealed = await vault(`1:${key(1)}`).seal(place, 'x');
  expect(await vault(`1:${key(9)}`).open(place, sealed)).toMatchObject(unreadable);
});

test.each([
  ['none', undefined],
  ['an empty text', ''],
  ['no version', key(1)],
  ['version 0', `0:${key(1)}`],
  ['too few bytes', `1:${Buffer.alloc(16, 1).toString('base64')}`],
  ['too many bytes', `1:${Buffer.alloc(33, 1).toString('base64')}`],
  ['no base64', `1:${'!'.repeat(44)}`],
  ['a version twice', `1:${key(1)},1:${key(2)}`],
  ['an empty entry', `1:${key(1)},`],
])('with %s for a master key there is no vault, and the reason quotes no key', (_what, keys) => {
  const made = createVault(keys);
  expect(made).toMatchObject({ ok: false, fault: { code: 'vault.closed' } });
  const message = made.ok ? '' : made.fault.message;
  expect(message).toContain('TIDEGATE_MASTER_KEY');
  for (const part of (keys ?? '').split(/[:,]/)) if (part.length > 8) expect(message).not.toContain(part);
});

test('a record wrapped anew has the same content under the newest key, and the old key is not needed any more', async () => {
  const old = await vault(`1:${key(1)}`).seal(place, plain);
  const wrapped = await vault().rewrap(place, old);
  if (!wrapped.ok) throw new Error(wrapped.fault.message);
  expect(wrapped.value).toMatch(/^1\.2\./);
  expect(contentOf(wrapped.value)).toBe(contentOf(old));
  expect(await vault(`2:${key(2)}`).open(place, wrapped.value)).toEqual({ ok: true, value: plain });
  expect(await vault(`1:${key(1)}`).open(place, wrapped.value)).toMatchObject(unreadable);
});

test('a record of another place or an unknown key is not wrapped anew', async () => {
  const old = await vault(`1:${key(1)}`).seal(place, plain);
  expect(await vault().rewrap(connectionContext('evil', 'postgres', 'shop-db'), old)).toMatchObject(unreadable);
  expect(await vault(`2:${key(2)}`).rewrap(place, old)).toMatchObject(unreadable);
  expect(await vault().rewrap(place, '')).toMatchObject(unreadable);
});

test('each opening is told, with who asked and whether it worked, and wrapping anew is none', async () => {
  const told: unknown[] = [];
  const made = createVault(KEYS, (...each) => told.push(each));
  if (!made.ok) throw new Error(made.fault.message);
  const sealed = await made.value.seal(place, plain);
  await made.value.rewrap(place, sealed);
  expect(told).toEqual([]);
  const reader = { kind: 'step', chain: 'c', run: 'r', step: 's' } as const;
  await made.value.open(place, sealed, reader);
  await made.value.open(place, 'nonsense');
  expect(told).toEqual([
    [place, reader, true],
    [place, { kind: 'gateway', actor: 'gateway' }, false],
  ]);
  expect(JSON.stringify(told)).not.toContain('canary');
});
