/** The probe of a connection, through the management API, against a server of the test run. */

import { describe, expect, it } from 'vitest';
import { manage } from '../gateway/fixtures.ts';

export interface ProbeCase {
  readonly connector: string;
  readonly settings: Record<string, unknown>;
  readonly secrets: Record<string, unknown>;
  /** In place of those of `secrets`, each a canary. */
  readonly wrong: Record<string, unknown>;
  /** In place of those of `settings` or `secrets`. */
  readonly dead: { readonly settings?: Record<string, unknown>; readonly secrets?: Record<string, unknown> };
}

export async function probe(connection: Pick<ProbeCase, 'connector' | 'settings' | 'secrets'>) {
  const name = `probed-${crypto.randomUUID()}`;
  const { connector, settings, secrets } = connection;
  const made = await manage(`PUT /connections/${name}`, { connector, settings, secrets });
  expect(made.status, made.text).toBe(201);
  return manage(`POST /connections/${name}/probe`);
}

export const probesWork = (cases: Readonly<Record<string, ProbeCase>>): void =>
  describe.each(Object.entries(cases))('the probe of %s', (_, { wrong, dead, ...connection }) => {
    it('tells that all is well', async () => {
      expect((await probe(connection)).body).toMatchObject({ status: 'well', error: null });
    });

    it('tells that the credentials are not taken, without a word of them', async () => {
      const probed = await probe({ ...connection, secrets: { ...connection.secrets, ...wrong } });
      expect(probed.body).toMatchObject({ status: 'failing', error: { code: 'upstream.unauthorized' } });
      expect(probed.text).not.toContain('canary');
    });

    it('tells that nobody is there', async () => {
      const probed = await probe({
        ...connection,
        settings: { ...connection.settings, ...dead.settings },
        secrets: { ...connection.secrets, ...dead.secrets },
      });
      expect(probed.body).toMatchObject({ status: 'failing', error: { code: 'upstream.unreachable' } });
    });
  });
