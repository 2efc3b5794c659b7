/** What a forger or a replayer may try: rows 15 to 20 and 22 of the list of attacks. */

import { describe, expect, test } from 'vitest';
import { bytes, check, expectAccepted, expectRefused, NOW, SECRETS, signed, SOME_BODY, source } from './support.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { prepareSource, schemeNames, sign, verify } from '../../../src/core/webhook/index.ts';

const TIMED = ['standard', 'stripe', 'slack', 'hmac'];

describe('15: a source without a usable secret is closed', () => {
  test.for([
    ['none', []],
    ['an empty one', ['']],
    ['one of spaces', ['  \t']],
    ['a good one and an empty one', ['good', '']],
    ['one with a line break at its end', ['good\n']],
  ] as const)('%s', async ([, secrets]) => {
    for (const scheme of schemeNames) {
      const settings = scheme === 'hmac' ? { header: 'X-Signature', algorithm: 'sha256', encoding: 'hex' } : undefined;
      const prepared = await prepareSource({ name: 'shop', scheme, secrets, settings });
      const message = expect.stringMatching(
        /^secret: (?:Is missing|Must not be empty|Begins or ends|Is not of the form)/,
      );
      expect(prepared, scheme).toMatchObject({ ok: false, fault: { code: 'source.invalid', message } });
      if (secrets.length === 1 && secrets[0] === '')
        expect(prepared).toMatchObject({ fault: { message: 'secret: Must not be empty.' } });
    }
  });

  test.for([
    ['standard', 'whsec_not base64'],
    ['standard', 'whsec_'],
    ['standard', 'whpk_AAAA'],
    ['standard', 'whsk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='],
    ['standard', 'A'],
    ['airtable', '***'],
  ])('%s refuses the malformed secret %s without repeating it', async ([scheme = '', secret = '']) => {
    const prepared = await prepareSource({ name: 'shop', scheme, secrets: [secret] });
    expect(prepared).toMatchObject({ ok: false, fault: { code: 'source.invalid' } });
    if (!prepared.ok && secret.length > 8) expect(prepared.fault.message).not.toContain(secret);
  });
});

describe('16: only the bytes as received are verified', () => {
  const body = '{"amount": 1.0, "name": "Gr\\u00fc\\u00dfe", "id": "evt_1"}';
  const variants: Record<string, Uint8Array> = {
    're-serialised': bytes(JSON.stringify(JSON.parse(body))),
    'with a byte order mark': Uint8Array.from([0xef, 0xbb, 0xbf, ...bytes(body)]),
    'with a line break behind it': bytes(`${body}\n`),
    'with its escapes resolved': bytes(body.replace('\\u00fc\\u00df', 'üß')),
    'packed by gzip': Uint8Array.from([0x1f, 0x8b, 8, ...bytes(body)]),
    empty: new Uint8Array(0),
  };
  test.for(Object.keys(variants))('a body %s is refused', async (name) => {
    for (const scheme of schemeNames) {
      const headers = await signed(scheme, body);
      await expectAccepted(check(await source(scheme), headers, body));
      await expectRefused(check(await source(scheme), headers, variants[name] ?? ''), /does not match/);
    }
  });

  test('a body that was signed with a byte order mark is accepted as it is', async () => {
    const marked = `\u{feff}${SOME_BODY}`;
    const verified = await expectAccepted(check(await source('stripe'), await signed('stripe', marked), marked));
    expect(verified.deliveryId).toBe('evt_1');
  });
});

describe('17: a time outside the tolerance is refused', () => {
  test.for([-301, 301, -86_400, 86_400])('%d s off', async (offset) => {
    for (const scheme of TIMED) {
      const headers = await signed(scheme, SOME_BODY, { now: NOW - offset * 1000 });
      await expectRefused(check(await source(scheme), headers, SOME_BODY), /outside the tolerance of 300 s/);
    }
  });

  test.for([-300, 300])('%d s off is still accepted', async (offset) => {
    for (const scheme of TIMED) {
      const headers = await signed(scheme, SOME_BODY, { now: NOW - offset * 1000 });
      await expectAccepted(check(await source(scheme), headers, SOME_BODY));
    }
  });

  const seconds = NOW / 1000;
  const odd = ['NaN', 'Infinity', `-${seconds}`, `+${seconds}`, `${seconds}.0`, '1.8e9', '0x6b49d200', '9'.repeat(400)];
  test.for(odd)('the time %s is malformed even where it is signed', async (time) => {
    for (const [scheme, header] of [
      ['standard', 'webhook-timestamp'],
      ['slack', 'X-Slack-Request-Timestamp'],
    ] as const) {
      const headers = { ...(await signed(scheme, SOME_BODY)), [header]: time };
      await expectRefused(check(await source(scheme), headers, SOME_BODY), /malformed/);
    }
  });

  test('a time that stands twice in the header is malformed', async () => {
    const { 'Stripe-Signature': header = '' } = await signed('stripe', SOME_BODY);
    const twice = { 'Stripe-Signature': `t=${seconds},${header}` };
    await expectRefused(check(await source('stripe'), twice, SOME_BODY), /more than once/);
  });

  test('a clock that does not work refuses', async () => {
    const headers = await signed('slack', SOME_BODY);
    await expectRefused(check(await source('slack'), headers, SOME_BODY, Number.NaN), /tolerance/);
  });
});

describe('18: a replay keeps its delivery id, whatever headers are changed', () => {
  test('for every scheme', async () => {
    for (const scheme of schemeNames) {
      const headers = await signed(scheme, SOME_BODY);
      const prepared = await source(scheme);
      const first = await expectAccepted(check(prepared, headers, SOME_BODY));
      const replayed = {
        ...headers,
        'X-GitHub-Delivery': 'another',
        'X-GitHub-Event': 'another',
        'X-Shopify-Webhook-Id': 'another',
        'X-Slack-Retry-Num': '1',
        'X-Event': 'another',
      };
      const second = await expectAccepted(check(prepared, replayed, SOME_BODY, NOW + 60_000));
      expect(second.deliveryId, scheme).toBe(first.deliveryId);
      expect(first.deliveryId).not.toBe('');
    }
  });

  test('an id that is in the signed content cannot be changed', async () => {
    const headers = { ...(await signed('standard', SOME_BODY)), 'webhook-id': 'msg_2' };
    await expectRefused(check(await source('standard'), headers, SOME_BODY), /does not match/);
  });

  test('an id cannot trade characters with the timestamp', async () => {
    const body = `${NOW / 1000}.{}`;
    const headers = await signed('standard', body, { id: 'msg_1' });
    const traded = { ...headers, 'webhook-id': `msg_1.${NOW / 1000}` };
    await expectRefused(check(await source('standard'), traded, '{}'), /webhook-id is malformed/);
  });
});

describe('19: floods and downgrades are refused', () => {
  test('a header of 1,000 signatures, even with the right one among them', async () => {
    const flood = Array.from({ length: 1_000 }, () => 'v1,AAAA').join(' ');
    const headers = await signed('standard', SOME_BODY);
    const flooded = { ...headers, 'webhook-signature': `${headers['webhook-signature']} ${flood}` };
    await expectRefused(check(await source('standard'), flooded, SOME_BODY), /more than 16 entries/);
    const stripe = { 'Stripe-Signature': `t=${NOW / 1000},${'v1=00,'.repeat(1_000)}` };
    await expectRefused(check(await source('stripe'), stripe, SOME_BODY), /more than 16 entries/);
  });

  test('as many signatures as allowed are all looked at', async () => {
    const headers = await signed('standard', SOME_BODY);
    const others = 'v1,AAAA '.repeat(LIMITS.webhookSignatures - 1);
    await expectAccepted(
      check(
        await source('standard'),
        { ...headers, 'webhook-signature': others + headers['webhook-signature'] },
        SOME_BODY,
      ),
    );
  });

  test('the right digest under another version or algorithm', async () => {
    const stripe = await signed('stripe', SOME_BODY);
    const v0 = { 'Stripe-Signature': (stripe['Stripe-Signature'] ?? '').replace('v1=', 'v0=') };
    await expectRefused(check(await source('stripe'), v0, SOME_BODY), /must hold "v1=…"/);
    const github = await signed('github', SOME_BODY);
    const digest = github['X-Hub-Signature-256'] ?? '';
    const refusals: Record<string, string>[] = [
      { 'X-Hub-Signature-256': digest.replace('sha256=', 'sha1=') },
      { 'X-Hub-Signature-256': digest.replace('sha256=', '') },
    ];
    for (const headers of refusals) await expectRefused(check(await source('github'), headers, SOME_BODY), /malformed/);
    const standard = await signed('standard', SOME_BODY);
    const v2 = { ...standard, 'webhook-signature': (standard['webhook-signature'] ?? '').replace('v1,', 'v2,') };
    await expectRefused(check(await source('standard'), v2, SOME_BODY), /malformed/);
  });

  test('the right digest of a version that does not count, beside a wrong one of the version that does', async () => {
    const { 'Stripe-Signature': header = '' } = await signed('stripe', SOME_BODY);
    const both = { 'Stripe-Signature': `${header.replace('v1=', 'v0=')},v1=${'0'.repeat(64)}` };
    await expectRefused(check(await source('stripe'), both, SOME_BODY), /does not match/);
  });

  test('a right SHA-1 signature where SHA-256 is due', async () => {
    const settings = { header: 'X-Hub-Signature', algorithm: 'sha1', encoding: 'hex', prefix: 'sha1=' };
    const headers = await sign(
      'hmac',
      SECRETS['github'] ?? '',
      { body: bytes(SOME_BODY), nowMilliseconds: NOW, id: '' },
      settings,
    );
    await expectAccepted(check(await source('hmac', [SECRETS['github'] ?? ''], settings), headers, SOME_BODY));
    await expectRefused(check(await source('github'), headers, SOME_BODY), /X-Hub-Signature-256 is missing/);
  });

  test('a public key used as the secret of an HMAC', async () => {
    const pair = await ed25519Pair();
    const forged = await signed('standard', SOME_BODY, { secret: `whsec_${pair.publicKey}` });
    const asEd25519 = { ...forged, 'webhook-signature': (forged['webhook-signature'] ?? '').replace('v1,', 'v1a,') };
    const prepared = await source('standard', [`whpk_${pair.publicKey}`]);
    await expectRefused(check(prepared, forged, SOME_BODY), /does not match/);
    await expectRefused(check(prepared, asEd25519, SOME_BODY), /does not match/);
  });
});

describe('20: a signature that is no signature is false, never an exception', () => {
  const odd = ['', '0', '00', 'zz', 'abc', '='.repeat(44), '💥', ' ', '\0', 'A'.repeat(10_000), '[object Object]'];
  test.for(odd)('%j', async (text) => {
    for (const scheme of schemeNames) {
      const headers = await signed(scheme, SOME_BODY);
      const prepared = await source(scheme);
      const [name = ''] = prepared.scheme.signatureHeaders;
      const { prefix = '' } = prepared.scheme.keys.at(-1) ?? {};
      const value = (headers[name] ?? '').replace(new RegExp(`${prefix}.*$`), () => prefix + text);
      // A Headers object refuses some of these texts itself; the check must not rely on that.
      const get = (header: string) => (header === name ? value : (headers[header] ?? null));
      const result = await verify(prepared, {
        headers: Object.assign(new Headers(), { get }),
        body: bytes(SOME_BODY),
        nowMilliseconds: NOW,
      });
      expect(result.ok, scheme).toBe(false);
    }
  });

  test('a right signature with anything behind it', async () => {
    for (const scheme of schemeNames) {
      const headers = await signed(scheme, SOME_BODY);
      const prepared = await source(scheme);
      const [name = ''] = prepared.scheme.signatureHeaders;
      for (const more of ['0', '00', '=', 'A'.repeat(64)]) {
        const longer = { ...headers, [name]: `${headers[name]}${more}` };
        await expectRefused(check(prepared, longer, SOME_BODY), /does not match/);
      }
    }
  });

  test('a right Ed25519 signature in another spelling of base64', async () => {
    const pair = await ed25519Pair();
    const headers = await signed('standard', SOME_BODY, { secret: `whsk_${pair.seed}` });
    const right = headers['webhook-signature'] ?? '';
    const prepared = await source('standard', [`whpk_${pair.publicKey}`]);
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
    const spare = alphabet[alphabet.indexOf(right.at(-3) ?? '') + 1] ?? '';
    for (const other of [`${right.slice(0, -3)}${spare}==`, right.slice(0, -2), `${right}=`]) {
      const spelled = { ...headers, 'webhook-signature': other };
      await expectRefused(check(prepared, spelled, SOME_BODY), /does not match/);
    }
  });

  test('every byte of signature, time and body counts', async () => {
    for (const scheme of schemeNames) await everyByteCounts(scheme);
  });
});

describe('22: secrets rotate with an overlap', () => {
  test.for(schemeNames)('%s accepts old and new while both are listed, then only the new', async (scheme) => {
    const old = SECRETS[scheme] ?? '';
    const next = scheme === 'standard' || scheme === 'airtable' ? 'bmV3LXNlY3JldC1vZi0yNC1ieXRlcy4u' : 'a new secret';
    const byOld = await signed(scheme, SOME_BODY, { secret: old });
    const byNext = await signed(scheme, SOME_BODY, { secret: next });
    for (const headers of [byOld, byNext]) {
      await expectAccepted(check(await source(scheme, [next, old]), headers, SOME_BODY));
      await expectAccepted(check(await source(scheme, [old, next]), headers, SOME_BODY));
    }
    await expectAccepted(check(await source(scheme, [next]), byNext, SOME_BODY));
    await expectRefused(check(await source(scheme, [next]), byOld, SOME_BODY), /does not match/);
  });

  test('from a shared secret to an Ed25519 key', async () => {
    const pair = await ed25519Pair();
    const prepared = await source('standard', [SECRETS['standard'] ?? '', `whpk_${pair.publicKey}`]);
    await expectAccepted(check(prepared, await signed('standard', SOME_BODY), SOME_BODY));
    for (const privateKey of [pair.seed, pair.seedAndPublicKey]) {
      const headers = await signed('standard', SOME_BODY, { secret: `whsk_${privateKey}` });
      expect(headers['webhook-signature']).toMatch(/^v1a,/);
      await expectAccepted(check(prepared, headers, SOME_BODY));
      await expectRefused(check(prepared, headers, `${SOME_BODY} `), /does not match/);
      await expectRefused(check(await source('standard'), headers, SOME_BODY), /does not match/);
    }
  });
});

async function ed25519Pair(): Promise<{ publicKey: string; seed: string; seedAndPublicKey: string }> {
  const pair = await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify']);
  if (!('privateKey' in pair)) throw new Error('no pair');
  const publicKey = Buffer.from((await crypto.subtle.exportKey('raw', pair.publicKey)) as ArrayBuffer);
  const seed = Buffer.from((await crypto.subtle.exportKey('pkcs8', pair.privateKey)) as ArrayBuffer).subarray(16);
  const base64 = (buffer: Buffer): string => buffer.toString('base64');
  return {
    publicKey: base64(publicKey),
    seed: base64(seed),
    seedAndPublicKey: base64(Buffer.concat([seed, publicKey])),
  };
}

/** At least 200 positions, each with one bit flipped. */
async function everyByteCounts(scheme: string): Promise<void> {
  const body = SOME_BODY.padEnd(400, ' ');
  const headers = await signed(scheme, body);
  const prepared = await source(scheme);
  await expectAccepted(check(prepared, headers, body));
  const raw = bytes(body);
  for (let index = 0; index < raw.length; index++) {
    const flipped = raw.slice();
    flipped[index] = (flipped[index] ?? 0) ^ (1 << (index % 8));
    await expectRefused(check(prepared, headers, flipped), /does not match/);
  }
  const { scheme: facts } = prepared;
  const timestamp =
    facts.timestamp !== undefined && 'headers' in facts.timestamp.from ? facts.timestamp.from.headers : [];
  const covered = [facts.signatureHeaders[0], facts.idHeaders?.[0], timestamp[0]].filter((name) => name !== undefined);
  for (const name of covered) {
    const value = headers[name] ?? '';
    for (let index = 0; index < value.length; index++) {
      const flipped = String.fromCharCode(value.charCodeAt(index) ^ (1 << (index % 5)));
      const changed = value.slice(0, index) + flipped + value.slice(index + 1);
      // What is no header value never arrives.
      if (!/^[!-~][ -~]*[!-~]$/.test(changed)) continue;
      await expectRefused(check(prepared, { ...headers, [name]: changed }, body), /./);
    }
  }
}
