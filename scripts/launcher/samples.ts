/**
 * The sample chains: each `templates/<name>.json` is published once, unless a chain of that name is there.
 * Beside it, `<name>.sample.json` may say how to try it: `{ "title", "curl", "setup": [{ "path", "json" }] }`.
 * `setup` is what it needs, put through the management API before; in all texts `{url}` stands for the
 * gateway's address, `{adminKeyFile}` for the file with the admin key, and so on for what the launcher gives.
 */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';

const sampleSchema = v.strictObject({
  title: v.string(),
  curl: v.string(),
  setup: v.optional(v.array(v.strictObject({ path: v.string(), json: v.unknown() })), []),
});

export interface Sample {
  readonly title: string;
  readonly curl: string;
}

interface Gateway {
  readonly url: string;
  readonly adminKey: string;
  readonly adminKeyPlace: string;
}

const SUFFIX = '.sample.json';

/** Never throws: a sample that cannot be published is logged, and the gateway runs without it. */
export async function publishSamples(
  directory: string,
  gateway: Gateway,
  log: (line: string) => void,
  places: Readonly<Record<string, string>> = {},
): Promise<readonly Sample[]> {
  const files = existsSync(directory) ? readdirSync(directory) : [];
  const names = files
    .filter((file) => file.endsWith('.json') && !file.endsWith(SUFFIX))
    .map((file) => file.slice(0, -5));
  const samples: Sample[] = [];
  for (const name of names.sort()) {
    try {
      const sample = await publishSample(directory, name, gateway, places);
      if (sample !== undefined) samples.push(sample);
    } catch (error) {
      log(`The sample ${name} was not published: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return samples;
}

async function publishSample(
  directory: string,
  name: string,
  gateway: Gateway,
  places: Readonly<Record<string, string>>,
): Promise<Sample | undefined> {
  const samplePath = join(directory, `${name}${SUFFIX}`);
  const known: Readonly<Record<string, string>> = { url: gateway.url, adminKeyFile: gateway.adminKeyPlace, ...places };
  const filled = (path: string): string =>
    readFileSync(path, 'utf8').replaceAll(/\{(\w+)\}/g, (whole, place: string) => known[place] ?? whole);
  const sample = existsSync(samplePath) ? v.parse(sampleSchema, JSON.parse(filled(samplePath))) : undefined;
  for (const { path, json } of sample?.setup ?? []) await put(gateway, path, JSON.stringify(json));
  const published = await call(gateway, 'GET', `chains/${name}`);
  if (published.status === 404) {
    await put(gateway, `chains/${name}`, readFileSync(join(directory, `${name}.json`), 'utf8'));
  }
  return sample;
}

async function put(gateway: Gateway, path: string, body: string): Promise<void> {
  const response = await call(gateway, 'PUT', path, body);
  const text = await response.text();
  if (!response.ok) throw new Error(`PUT ${path} answered ${response.status} ${text}`);
}

function call(gateway: Gateway, method: string, path: string, body?: string): Promise<Response> {
  return fetch(`${gateway.url}/_/api/v1/${path}`, {
    method,
    headers: { authorization: `Bearer ${gateway.adminKey}`, 'content-type': 'application/json' },
    ...(body === undefined ? {} : { body }),
  });
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
