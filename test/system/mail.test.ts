/** Mail from a gateway as `npm start` runs it, which trusts the certificate of the servers. */

import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LOGIN, start, type Received, type SmtpServers } from '../../scripts/servers/smtp.ts';
import { startGateway, type StartedGateway } from '../adversarial/system/support.ts';

const file = (name: string): string => resolve(import.meta.dirname, '../support', name);
const TRUST = 'NODE_EXTRA_CA_CERTS';
const before = process.env[TRUST];

let servers: SmtpServers;
let gateway: StartedGateway;

beforeAll(async () => {
  const certificate = file('untrusted-certificate.pem');
  servers = await start({
    cert: readFileSync(certificate, 'utf8'),
    key: readFileSync(file('untrusted-key.pem'), 'utf8'),
  });
  process.env[TRUST] = certificate;
  gateway = await startGateway();
});

afterAll(async () => {
  if (before === undefined) delete process.env[TRUST];
  else process.env[TRUST] = before;
  await gateway.stop();
  await servers.stop();
  gateway.remove();
});

async function make(name: string, settings: Record<string, unknown>, quota?: { perDay: number }): Promise<void> {
  await gateway.manage('PUT', `/connections/${name}`, {
    connector: 'smtp',
    settings: { username: LOGIN.username, from: 'Shop <shop@example.com>', ...settings },
    secrets: { password: LOGIN.password },
    ...(quota && { quota }),
  });
  await gateway.manage('PUT', `/chains/${name}`, {
    triggers: { api: { type: 'http', method: 'POST', path: `/${name}`, auth: 'public' } },
    steps: {
      mail: {
        use: 'smtp.send',
        connection: name,
        with: { to: '{{ trigger.body.to }}', subject: 'Grüße', text: 'Hi' },
      },
    },
    output: '{{ steps.mail }}',
  });
}

const send = async (chain: string, to: string): Promise<{ status: number; body: unknown }> => {
  const response = await fetch(`${gateway.url}/${chain}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ to }),
  });
  return { status: response.status, body: await response.json() };
};

const received = async (to: string): Promise<Received[]> =>
  (await (await fetch(`${servers.inbox}/messages?to=${to}`)).json()) as Received[];

test.each(['implicit', 'starttls'] as const)(
  'a mail leaves through TLS (%s), and the probe finds it well',
  async (tls) => {
    await make(tls, { host: 'localhost', port: servers.ports[tls], tls });
    expect(await gateway.manage('POST', `/connections/${tls}/probe`)).toMatchObject({ status: 'well' });
    const sent = await send(tls, `${tls}@example.com`);
    expect(sent).toMatchObject({ status: 200, body: { accepted: [`${tls}@example.com`] } });
    expect(await received(`${tls}@example.com`)).toMatchObject([{ secure: true, user: LOGIN.username }]);
  },
);

test('a connection that has used its quota of a day sends no more, and shows it', async () => {
  await make('scarce', { host: 'localhost', port: servers.ports.implicit }, { perDay: 2 });
  for (const expected of [200, 200, 429]) expect((await send('scarce', 'scarce@example.com')).status).toBe(expected);
  expect(await received('scarce@example.com')).toHaveLength(2);
  expect(await gateway.manage('GET', '/connections/scarce/usage')).toMatchObject({
    items: [{ per: 'day', limit: 2, used: 2 }],
  });
});
