/** The vendors' own vectors, and Wycheproof's for the HMAC under them. */

import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { check, expectAccepted, expectRefused, NOW } from './support.ts';
import type { Scheme } from '../../../src/core/webhook/scheme.ts';
import { prepareScheme, prepareSource } from '../../../src/core/webhook/source.ts';
import { readShared, sharedMissing } from '../../support/shared.ts';

const vectorFile = v.object({
  cases: v.array(
    v.object({
      kind: v.optional(v.string(), 'webhook'),
      name: v.string(),
      secret: v.string(),
      headers: v.optional(v.record(v.string(), v.string()), {}),
      body: v.optional(v.string(), ''),
      now: v.optional(v.number()),
      expect: v.string(),
    }),
  ),
});

const read = <T>(schema: v.GenericSchema<unknown, T>, path: string): T =>
  v.parse(schema, JSON.parse(readShared(path) ?? ''));

describe.skipIf(sharedMissing).each(['standard', 'stripe', 'github', 'slack', 'shopify', 'pagerduty', 'airtable'])(
  'the vectors of %s',
  (scheme) => {
    const cases = sharedMissing ? [] : read(vectorFile, `vectors/webhook-${scheme}.json`).cases;
    const webhooks = cases.filter(({ kind }) => kind === 'webhook');

    test.for(webhooks)('$name: $expect', async ({ secret, headers, body, now, expect: expected }) => {
      const prepared = await prepareSource({ name: 'shop', scheme, secrets: [secret] });
      const accepted =
        prepared.ok && (await check(prepared.value, headers, body, now === undefined ? NOW : now * 1000)).ok;
      expect(accepted).toBe(expected.startsWith('valid'));
    });
  },
);

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
  const scheme: Scheme = {
    title: 'Wycheproof',
    signatureHeaders: ['Signature'],
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
      const checked = check(prepared.value, { Signature: tag }, Uint8Array.from(Buffer.from(msg, 'hex')));
      if (result === 'valid' && tagSize === fullBits) await expectAccepted(checked);
      else await expectRefused(checked, /does not match/);
    }
  });
});
