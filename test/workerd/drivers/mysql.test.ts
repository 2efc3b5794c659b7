import { beforeAll, describe, expect, it } from 'vitest';
import { mysql } from '../../../src/connectors/mysql/index.ts';
import { actionsOf, output, servers, type Credentials } from './fixtures.ts';

const { host, port, user, password, database, endpoint, token } = servers.mysql;
const tcp: Credentials = { settings: { host, port, database, tls: 'disable' }, secrets: { user, password } };
const http: Credentials = { settings: { endpoint }, secrets: { user: 'any', password: token } };

describe.each([['TCP', tcp], ['HTTP', http]])('over %s', (_, credentials) => {
  const call = actionsOf(mysql, credentials);
  const rows = (sql: string, ...params: unknown[]) => output(call('query', { sql, params }));
  it('works', async () => {
    expect(await rows('select ? as a, ? as b limit ?', 1, 'x', 5)).toEqual({ rows: [{ a: 1, b: 'x' }], rowCount: 1, insertId: null });
  });
});
