/** Databases in objects, as chains use them: whose they are is decided by who calls. */

import { beforeAll, describe, expect, it } from 'vitest';
import { call, codeOf, manage, publish } from './fixtures.ts';

const keys = new Map<string, string>();
const as = (tenant: string) => ({ 'x-api-key': keys.get(tenant) ?? '' });

beforeAll(async () => {
  for (const tenant of ['acme', 'umbra', 'none']) {
    const made = await manage('POST /keys', { name: 'sqlite', ...(tenant !== 'none' && { tenant }) });
    keys.set(tenant, String(made.body['key']));
  }
});

/** Adds a row to a database and gives back all rows of it. */
const adding = (tenant: string, mode: string) => {
  const at = { database: `notes-${mode}`, tenant };
  return publish(
    {
      mode,
      steps: {
        make: { use: 'sqlite.execute', with: { ...at, sql: 'create table if not exists notes (text)' } },
        add: {
          use: 'sqlite.insert',
          after: ['make'],
          with: { ...at, table: 'notes', rows: [{ text: '{{ input.text }}' }] },
        },
        all: { use: 'sqlite.query', after: ['add'], with: { ...at, sql: 'select text from notes' } },
      },
      output: '{{ [steps.all.rows.text] }}',
    },
    { auth: 'key', respond: 'result' },
  );
};

describe.each(['inline', 'durable'])('a database of the caller, %s', (mode) => {
  it('holds what that caller put there, whatever others put into theirs', async () => {
    const { route } = await adding('{{ trigger.tenant }}', mode);
    const forged = { text: 'from umbra', tenant: 'acme', identity: { tenant: 'acme' } };
    expect(await call(route, { text: 'from acme' }, as('acme'))).toMatchObject({ text: '["from acme"]' });
    expect(await call(`${route}?tenant=acme`, forged, as('umbra'))).toMatchObject({ text: '["from umbra"]' });
  });

  it('is not there for a caller without a tenant', async () => {
    const { route } = await adding('{{ trigger.tenant }}', mode);
    expect((await call(route, { text: 'a' }, as('none'))).status).toBeGreaterThanOrEqual(400);
  });

  it('is not chosen by what the caller sends', async () => {
    const { route } = await adding('{{ input.tenant }}', mode);
    expect(codeOf(await call(route, { text: 'a', tenant: 'acme' }, as('umbra')))).toEqual([500, 'step.params']);
  });
});
