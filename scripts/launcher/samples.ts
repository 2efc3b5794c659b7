/** The sample chains: what they need on this machine, and how to call each. */

import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { call, type Api } from './api.ts';
import { ROOT } from './build.ts';

const RATES = { USD: 1.08, GBP: 0.85, JPY: 163.2 };

/** The upstream of the sample `price`: exchange rates, `GET /rates/EUR`. On loopback only. */
export async function startRates(): Promise<{ readonly host: string; close(): void }> {
  const server: Server = createServer((request, response) => {
    const known = request.url === '/rates/EUR';
    response.writeHead(known ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(known ? RATES : { error: 'only /rates/EUR is known' }));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { host: `127.0.0.1:${port}`, close: () => server.close() };
}

/** Publishes every chain of `templates/` that is not there yet, with the source and connection they start with. */
export async function publishSamples(api: Api, ratesHost: string, stripeSecret: string): Promise<void> {
  const settings = { baseUrl: `http://${ratesHost}` };
  await call(api, 'PUT', '/connections/rates', { connector: 'http', settings, secrets: {} });
  await call(api, 'PUT', '/sources/stripe', { scheme: 'stripe', secret: stripeSecret });
  const { items } = await call<{ items: { name: string }[] }>(api, 'GET', '/chains');
  const published = new Set(items.map((chain) => chain.name));
  const directory = join(ROOT, 'templates');
  for (const file of readdirSync(directory).filter((name) => name.endsWith('.json'))) {
    const name = basename(file, '.json');
    if (published.has(name)) continue;
    await call(api, 'PUT', `/chains/${name}`, JSON.parse(readFileSync(join(directory, file), 'utf8')));
  }
}

export interface SampleFiles {
  readonly adminKeyPath: string;
  readonly stripeSecretPath: string;
}

/** A line to paste for each sample. Secrets are read from their files by the shell, never printed. */
export function sampleLines(url: string, { adminKeyPath, stripeSecretPath }: SampleFiles): readonly string[] {
  const body = JSON.stringify(checkoutEvent('evt_sample_1'));
  const sign = `printf '%s.%s' "$t" "$body" | openssl dgst -sha256 -hmac "$(cat ${stripeSecretPath})" | sed 's/^.* //'`;
  return [
    'price           HTTP endpoint: D1 and one upstream call',
    `  curl ${url}/prices/tea`,
    'order-paid      Stripe-signed webhook to Postgres and Redis (first: npm run services)',
    `  body='${body}'; t=$(date +%s); curl ${url}/hooks/stripe -H "stripe-signature: t=$t,v1=$(${sign})" -d "$body"`,
    'nightly-export  schedule, 03:00 Europe/Berlin, Postgres to S3 (first: npm run services); now, by hand:',
    `  curl ${url}/_/api/v1/chains/nightly-export/runs -H "authorization: Bearer $(cat ${adminKeyPath})" -H 'content-type: application/json' -d '{}'`,
  ];
}

/** A `checkout.session.completed` as Stripe sends it, with the fields that the sample reads. */
export const checkoutEvent = (id: string): unknown => ({
  id,
  object: 'event',
  type: 'checkout.session.completed',
  data: {
    object: {
      id: `cs_${id}`,
      object: 'checkout.session',
      amount_total: 4200,
      currency: 'eur',
      customer_details: { email: 'ada@example.com' },
      payment_status: 'paid',
    },
  },
});
