/** The vendors' own vectors and every mutation of them, and Wycheproof's for the HMAC under them. */

import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import type { Sample } from './samples.ts';
import { bytes, check, expectAccepted, expectRefused, headerMutations, mutationsOf, NOW } from './support.ts';
import type { SignatureScheme } from '../../../src/core/webhook/scheme.ts';
import { prepareScheme, prepareSource, type PreparedSource } from '../../../src/core/webhook/source.ts';
import { readShared, sharedMissing } from '../../support/shared.ts';

const texts = v.record(v.string(), v.string());

const vectorFile = v.object({
  cases: v.array(
    v.object({
      kind: v.optional(v.string(), 'webhook'),
      version: v.optional(v.string()),
      name: v.string(),
      secret: v.optional(v.string()),
      publicKey: v.optional(v.string()),
      headers: v.optional(texts, {}),
      method: v.optional(v.string(), 'POST'),
      url: v.optional(v.string(), 'https://gate.example.com/hooks/shop'),
      query: v.optional(texts),
      params: v.optional(v.record(v.string(), v.union([v.string(), v.array(v.string())]))),
      body: v.optional(v.string()),
      now: v.optional(v.number()),
      expect: v.string(),
    }),
  ),
});

type Vector = v.InferOutput<typeof vectorFile>['cases'][number];

const read = <T>(schema: v.GenericSchema<unknown, T>, path: string): T =>
  v.parse(schema, JSON.parse(readShared(path) ?? ''));

const FILES = [
  'standard',
  'stripe',
  'github',
  'slack',
  'shopify',
  'pagerduty',
  'airtable',
  'hubspot',
  'twilio',
  'sendgrid',
];

function formOf(params: NonNullable<Vector['params']>): string {
  const form = new URLSearchParams();
  for (const [name, values] of Object.entries(params)) for (const value of [values].flat()) form.append(name, value);
  return form.toString();
}

/** The query parameter `timestamp` of an OAuth callback is the time at which it came. */
function sampleOf(vector: Vector): Sample & { readonly at: number } {
  const { headers, method, query, params, now } = vector;
  const seconds = now ?? (query?.['timestamp'] === undefined ? NOW / 1000 : Number(query['timestamp']));
  return {
    method: query === undefined ? method : 'GET',
    url: query === undefined ? vector.url : `${vector.url}?${new URLSearchParams(query).toString()}`,
    headers,
    body: vector.body ?? (params === undefined ? '' : formOf(params)),
    proves: 'bytes',
    at: seconds * 1000,
  };
}

async function sourceOf(file: string, { kind, version, secret, publicKey }: Vector) {
  const scheme = kind === 'oauthCallback' ? 'shopify-oauth' : file;
  const settings = version === undefined ? undefined : { version };
  return prepareSource({ name: 'shop', scheme, secrets: [secret ?? publicKey ?? ''], settings });
}

describe.skipIf(sharedMissing).each(FILES)('the vectors of %s', (file) => {
  const cases = sharedMissing ? [] : read(vectorFile, `vectors/webhook-${file}.json`).cases;

  test.for(cases)('$name: $expect', async (vector) => {
    const prepared = await sourceOf(file, vector);
    const sample = sampleOf(vector);
    const accepted = prepared.ok && (await check(prepared.value, sample, { nowMilliseconds: sample.at })).ok;
    expect(accepted).toBe(vector.expect.startsWith('valid'));
  });

  test.for(cases.filter(({ expect: expected }) => expected.startsWith('valid')))(
    'every mutation of: $name',
    async (vector) => {
      const prepared = await sourceOf(file, vector);
      if (!prepared.ok) throw new Error(prepared.fault.message);
      const sample = sampleOf(vector);
      for (const changes of [...bodyMutations(sample), ...urlMutations(vector, sample)]) {
        const result = await check(prepared.value, sample, { ...changes, nowMilliseconds: sample.at });
        expect(result.ok, JSON.stringify(changes)).toBe(false);
      }
      for (const [name, value] of Object.entries(sample.headers)) {
        const needed = await neededEntries(prepared.value, sample, name);
        for (const mutated of headerMutations(value)) {
          // Of several signatures one has to be right, so another may be anything.
          if (needed.length > 0 && needed.every((entry) => entriesOf(name, mutated).includes(entry))) continue;
          const headers = { ...sample.headers, [name]: mutated };
          const result = await check(prepared.value, sample, { headers, nowMilliseconds: sample.at });
          expect(result.ok, `${name}: ${mutated}`).toBe(false);
        }
      }
    },
  );
});

const separatorOf = (name: string): string => (/^(?:webhook|svix)-/.test(name) ? ' ' : ',');
const entriesOf = (name: string, value: string): readonly string[] => value.split(separatorOf(name));

/** Those without which the header is refused; none where it holds a single one. */
async function neededEntries(
  prepared: PreparedSource,
  sample: Sample & { readonly at: number },
  name: string,
): Promise<readonly string[]> {
  const value = sample.headers[name] ?? '';
  const entries = entriesOf(name, value);
  if (entries.length < 2) return [];
  const needed: string[] = [];
  for (const entry of entries) {
    const without = entries.filter((other) => other !== entry).join(separatorOf(name));
    const headers = { ...sample.headers, [name]: without };
    if (!(await check(prepared, sample, { headers, nowMilliseconds: sample.at })).ok) needed.push(entry);
  }
  // Two that are right: either is enough, which is what a rotation is.
  return needed;
}

function* bodyMutations({ body, method }: Sample): Generator<{ body: Uint8Array }> {
  if (method === 'GET' && body === '') return;
  for (const mutated of mutationsOf(bytes(body))) yield { body: mutated };
}

/** Where the fields of a query are signed, each value of it. */
function* urlMutations({ query }: Vector, { url = '' }: Sample): Generator<{ url: string }> {
  const [base = ''] = url.split('?');
  for (const [name, value] of Object.entries(query ?? {})) {
    for (const mutated of mutationsOf(bytes(value))) {
      const changed = { ...query, [name]: Buffer.from(mutated).toString('latin1') };
      yield { url: `${base}?${new URLSearchParams(changed).toString()}` };
    }
  }
}

const wycheproof = v.object({
  testGroups: v.array(
    v.object({
      tagSize: v.number(),
      tests: v.array(
        v.object({
          tcId: v.number(),
          key: v.string(),
          msg: v.string(),
          tag: v.string(),
          result: v.picklist(['valid', 'invalid']),
        }),
      ),
    }),
  ),
});

describe.skipIf(sharedMissing).each([
  ['sha1', 'hmac-sha1', 160],
  ['sha256', 'hmac-sha256', 256],
] as const)('Wycheproof HMAC %s', (name, algorithm, fullBits) => {
  const scheme: SignatureScheme = {
    title: 'Wycheproof',
    secretIs: 'the key',
    proof: 'signature',
    signature: { headers: ['Signature'] },
    keys: [{ algorithm, prefix: '', encoding: 'hex', secret: { encoding: 'hex' } }],
    content: '{body}',
    deliveryId: { from: 'content' },
  };
  const groups = sharedMissing ? [] : read(wycheproof, `suites/wycheproof-hmac-${name}.json`).testGroups;
  const cases = groups.flatMap(({ tagSize, tests }) => tests.map((one) => ({ ...one, tagSize })));

  test('full tags are accepted and refused as listed, truncated ones are always refused', async () => {
    expect(cases.length).toBeGreaterThan(100);
    for (const { key, msg, tag, result, tagSize, tcId } of cases) {
      const prepared = await prepareScheme('wycheproof', scheme, [key]);
      if (!prepared.ok) throw new Error(`case ${tcId}: ${prepared.fault.message}`);
      const sample: Sample = { headers: { Signature: tag }, body: '', proves: 'bytes' };
      const checked = check(prepared.value, sample, { body: Uint8Array.from(Buffer.from(msg, 'hex')) });
      if (result === 'valid' && tagSize === fullBits) await expectAccepted(checked);
      else await expectRefused(checked, /does not match/);
    }
  });
});
