import { describe, expect, test } from 'vitest';
import {
  compileConnection,
  connectionPath,
  knownConnection,
  resolveConnection,
} from '../../../src/core/chain/connection.ts';
import { IssueList } from '../../../src/core/chain/issues.ts';
import { SCOPES } from '../../../src/core/chain/scopes.ts';
import type { RunIdentity } from '../../../src/core/engine/state.ts';

const allowed = { roots: SCOPES.all, steps: ['pick'] };
const acme: RunIdentity = { kind: 'key', id: 'key:1', tenant: 'acme', scopes: [] };

function compile(written: string) {
  const issues = new IssueList();
  const plan = compileConnection(written, 'steps.a.connection', allowed, issues);
  return { plan, messages: issues.all.map(({ message }) => message) };
}

async function resolve(written: string, scope: Record<string, unknown>, identity?: RunIdentity): Promise<unknown> {
  const { plan, messages } = compile(written);
  if (plan === undefined) throw new Error(messages.join());
  const resolved = await resolveConnection(plan, scope, identity);
  return resolved.ok ? connectionPath(resolved.value) : resolved.fault.code;
}

describe('the connection of a step', () => {
  test.each([
    ['shop-db', { tenant: '', name: 'shop-db' }],
    ['acme/crm', { tenant: 'acme', name: 'crm' }],
  ])('%s is known before any run', (written, constant) => {
    expect(compile(written).plan).toMatchObject({ constant });
  });

  test.each([
    '{{ trigger.body.connection }}',
    '{{ input.tenant }}/crm',
    '{{ trigger.body.tenant }}/crm',
    '{{ trigger.headers.tenant }}/crm',
    '{{ steps.pick.tenant }}/crm',
    '{{ trigger.tenant & "x" }}/crm',
    '{{ input.tenant ?? trigger.tenant }}/crm',
    'x{{ trigger.tenant }}/crm',
    '{{ trigger.tenant }}{{ input.rest }}/crm',
    '{{ trigger.identity.claims.org }}/crm',
    '{{ trigger.tenant }}',
    '/crm',
    '/{{ input.name }}',
  ])('%s is refused at publish: its tenant is neither constant nor that of the caller', (written) => {
    const { plan, messages } = compile(written);
    expect(plan).toBeUndefined();
    expect(messages).toEqual([expect.stringContaining('trigger.tenant')]);
  });

  test.each(['acme/CRM', '{{ trigger.tenant }}/a/b', '{{ trigger.tenant }}/', `acme/${'a'.repeat(65)}`])(
    '%s is refused at publish: no connection can be named so',
    (written) => expect(compile(written).messages).toEqual([expect.stringContaining('no name of a connection')]),
  );

  test('the tenant of the caller is that of the identity, whatever the trigger or the scope say', async () => {
    const scope = { trigger: { tenant: 'evil', identity: { tenant: 'evil' }, body: { tenant: 'evil' } } };
    for (const written of ['{{ trigger.tenant }}/crm', '{{trigger.identity.tenant}}/crm']) {
      expect(await resolve(written, scope, acme)).toBe('acme/crm');
    }
  });

  test('without a tenant there is no connection, and never one of the owner', async () => {
    const written = '{{ trigger.tenant }}/crm';
    expect(await resolve(written, { trigger: { tenant: 'evil' } })).toBe('connection.tenant');
    expect(await resolve(written, {}, { ...acme, tenant: undefined })).toBe('connection.tenant');
    expect(await resolve(written, {}, { ...acme, tenant: '' })).toBe('connection.tenant');
  });

  test('an expression behind the slash chooses a name within the tenant', async () => {
    const written = '{{ trigger.tenant }}/{{ input.system }}-db';
    expect(await resolve(written, { input: { system: 'shop' } }, acme)).toBe('acme/shop-db');
    expect(await resolve('acme/{{ input.system }}', { input: { system: 'shop' } })).toBe('acme/shop');
  });

  test.each(['../evil/crm', 'evil/crm', '', 'Shop', 'a b', 7, null, ['shop'], { name: 'shop' }])(
    'a name of %j leads nowhere',
    async (system) => {
      const result = await resolve('{{ trigger.tenant }}/{{ input.system }}', { input: { system } }, acme);
      expect(result).toBe('connection.invalid');
    },
  );

  test('a tenant with a slash in its name reaches no connection of another', async () => {
    expect(await resolve('{{ trigger.tenant }}/crm', {}, { ...acme, tenant: 'acme/crm' })).toBe('acme/crm/crm');
  });

  test('a step that names its connection by the output of another comes after it', () => {
    const { plan } = compile('{{ trigger.tenant }}/{{ steps.pick.name }}');
    expect(typeof plan?.name === 'object' && plan.name.steps).toEqual(['pick']);
  });

  test('the breaker of a connection that cannot be told yet is nobody’s', () => {
    const { plan } = compile('{{ trigger.tenant }}/{{ steps.pick.name }}');
    if (plan === undefined) throw new Error('not compiled');
    expect(knownConnection(plan, { steps: {} }, acme)).toBeUndefined();
    expect(knownConnection(plan, { steps: { pick: { name: 'crm' } } }, acme)).toBe('acme/crm');
  });
});
