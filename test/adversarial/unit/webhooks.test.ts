/** What a forger or a replayer of webhooks may try. */

import { constants, generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { jwt, rsa, sampleOf, sns, type Sample } from '../../unit/webhook/samples.ts';
import {
  bytes,
  check,
  expectAccepted,
  expectRefused,
  NOW,
  requestOf,
  SECONDS,
  signatureScheme,
  SOME_BODY,
  source,
} from '../../unit/webhook/support.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { formContent } from '../../../src/core/webhook/form.ts';
import { handshake, prepareSource, schemeNames, sign, verify } from '../../../src/core/webhook/index.ts';

/** Those whose signature stands in a header by itself, behind the prefix of its kind. */
const IN_HEADERS = schemeNames
  .filter((name) => sampleOf(name).inBody === undefined && name !== 'mailchimp')
  .filter((name) => !name.startsWith('shopify-'));

const withSecret = schemeNames.filter((name) => sampleOf(name).secret !== undefined);

const CHAT_KEYS = 'https://www.googleapis.com/service_accounts/v1/jwk/chat@system.gserviceaccount.com';

/** By its sender's own secret, unless another is given. */
async function signed(
  scheme: string,
  body: string,
  more: { now?: number; id?: string; secret?: string } = {},
): Promise<Sample> {
  const sample = sampleOf(scheme);
  const message = { body: bytes(body), nowMilliseconds: more.now ?? NOW, id: more.id ?? 'msg_1' };
  const headers = await sign(scheme, more.secret ?? sample.secret ?? '', message, sample.settings);
  return { ...sample, headers, body };
}

describe('attack 15: a source without a usable secret is closed', () => {
  test.for([
    ['an empty one', ['']],
    ['one of spaces', ['  \t']],
    ['a good one and an empty one', ['good', '']],
    ['one with a line break at its end', ['good\n']],
  ] as const)('%s', async ([, secrets]) => {
    for (const scheme of schemeNames) {
      const { settings } = sampleOf(scheme);
      expect(await prepareSource({ name: 'shop', scheme, secrets, settings }), scheme).toMatchObject({
        ok: false,
        fault: { code: 'source.invalid', message: expect.stringMatching(/^secret: /) },
      });
    }
  });

  test('none, unless the vendor brings it, and then nothing is accepted until it did', async () => {
    for (const scheme of withSecret) {
      const sample = sampleOf(scheme);
      const prepared = await prepareSource({ name: 'shop', scheme, secrets: [], settings: sample.settings });
      if (!prepared.ok) expect(prepared.fault.code, scheme).toBe('source.invalid');
      else expect(await verify(prepared.value, requestOf(sample)), scheme).toMatchObject({ ok: false });
    }
  });

  test.for([
    ['standard', 'whsec_not base64'],
    ['standard', 'whsec_'],
    ['standard', 'whpk_AAAA'],
    ['standard', 'whsk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='],
    ['standard', 'A'],
    ['airtable', '***'],
    ['adyen', 'no hex'],
    ['discord', 'abcd'],
    ['sendgrid', 'AAAA'],
    ['teams', '***'],
  ])('%s refuses the malformed secret %s without repeating it', async ([scheme = '', secret = '']) => {
    const prepared = await prepareSource({ name: 'shop', scheme, secrets: [secret] });
    expect(prepared).toMatchObject({ ok: false, fault: { code: 'source.invalid' } });
    if (!prepared.ok && secret.length > 8) expect(prepared.fault.message).not.toContain(secret);
  });

  test('a signature of SNS for the topic of somebody else', async () => {
    const sample = sns();
    const others = { topicArns: ['arn:aws:sns:eu-central-1:210987654321:orders'] };
    await expectRefused(check(await source('sns', undefined, others), sample), /TopicArn of the body must be/);
  });
});

describe('attack 16: only the bytes as received are verified', () => {
  const body = '{"amount": 1.0, "name": "Gr\\u00fc\\u00dfe", "id": "evt_1"}';
  const variants: Record<string, Uint8Array> = {
    're-serialised': bytes(JSON.stringify(JSON.parse(body))),
    'with a byte order mark': Uint8Array.from([0xef, 0xbb, 0xbf, ...bytes(body)]),
    'with a line break behind it': bytes(`${body}\n`),
    'with its escapes resolved': bytes(body.replace('\\u00fc\\u00df', 'üß')),
    'packed by gzip': Uint8Array.from([0x1f, 0x8b, 8, ...bytes(body)]),
    empty: new Uint8Array(0),
  };
  const overBytes = ['standard', 'stripe', 'github', 'slack', 'shopify', 'klaviyo', 'zendesk', 'box', 'xero', 'hmac'];
  test.for(Object.keys(variants))('a body %s is refused', async (name) => {
    for (const scheme of overBytes) {
      const sample = await signedWhole(scheme, body);
      await expectAccepted(check(await source(scheme), sample));
      await expectRefused(check(await source(scheme), sample, { body: variants[name] ?? '' }), /does not match/);
    }
  });

  /** Box wants two headers more, which are not signed. */
  async function signedWhole(scheme: string, text: string): Promise<Sample> {
    const sample = await signed(scheme, text);
    return { ...sample, headers: { ...sampleOf(scheme).headers, ...sample.headers } };
  }

  test('a body that was signed with a byte order mark is accepted as it is', async () => {
    const marked = await signed('stripe', `\u{feff}${SOME_BODY}`);
    expect((await expectAccepted(check(await source('stripe'), marked))).deliveryId).toBe('evt_1');
  });

  test('a form whose fields are signed has one spelling', async () => {
    const sample = sampleOf('twilio');
    const prepared = await source('twilio');
    for (const [from, to] of [
      ['%2B', '%2b'],
      ['CallSid', '%43allSid&x'],
      ['&Body', '&&Body'],
      ['CA1', 'CA1&'],
      ['Gr%C3%BC', 'Gr%FC'],
      ['CallSid=', '?CallSid='],
    ] as const) {
      await expectRefused(check(prepared, sample, { body: sample.body.replace(from, to) }), /does not match/);
    }
  });
});

test('attack 16: names of fields have one spelling, too', () => {
  expect(formContent(bytes('a%5Bb%5D=1'))).toBe('a[b]1');
  expect(formContent(bytes('a%5bb%5d=1'))).toBeUndefined();
});

describe('attack 17: a time outside the tolerance is refused', () => {
  const timed = ['standard', 'stripe', 'slack', 'calendly', 'paddle', 'zoom', 'chatwoot', 'webflow', 'hmac'];
  test.for([-301, 301, -86_400, 86_400])('%d s off', async (offset) => {
    for (const scheme of timed) {
      const sample = await signed(scheme, SOME_BODY, { now: NOW - offset * 1000 });
      await expectRefused(check(await source(scheme), sample), /outside the tolerance of 300 s/);
    }
  });

  test.for([-300, 300])('%d s off is still accepted', async (offset) => {
    for (const scheme of timed) {
      const sample = await signed(scheme, SOME_BODY, { now: NOW - offset * 1000 });
      await expectAccepted(check(await source(scheme), sample));
    }
  });

  test.for([
    ['linear', 60],
    ['shopify-oauth', 90],
    ['shopify-proxy', 90],
    ['box', 600],
    ['hubspot', 300],
    ['plaid', 300],
  ] as const)('%s: %d s by its own rule', async ([scheme, seconds]) => {
    for (const sign of [1, -1]) {
      const at = (offset: number) => ({ nowMilliseconds: NOW + sign * offset * 1000 });
      await expectAccepted(check(await source(scheme), sampleOf(scheme), at(seconds)));
      await expectRefused(check(await source(scheme), sampleOf(scheme), at(seconds + 1)), /tolerance/);
    }
  });

  test('a token that has expired, or is not valid yet', async () => {
    for (const scheme of ['google-pubsub', 'google-chat', 'google-chat-project', 'jira-connect', 'jwt']) {
      const later = { nowMilliseconds: NOW + 3_600_000 };
      await expectRefused(check(await source(scheme), sampleOf(scheme), later), /not valid/);
    }
  });

  const odd = ['NaN', 'Infinity', `-${SECONDS}`, `+${SECONDS}`, `${SECONDS}.0`, '1.8e9', '0x6b49d200', '9'.repeat(400)];
  test.for(odd)('the time %s is malformed', async (time) => {
    for (const [scheme, header] of [
      ['standard', 'webhook-timestamp'],
      ['slack', 'X-Slack-Request-Timestamp'],
      ['discord', 'X-Signature-Timestamp'],
      ['klaviyo', 'Klaviyo-Timestamp'],
      ['zendesk', 'X-Zendesk-Webhook-Signature-Timestamp'],
    ] as const) {
      const sample = sampleOf(scheme);
      const headers = { ...sample.headers, [header]: time };
      await expectRefused(check(await source(scheme), sample, { headers }), /malformed/);
    }
  });

  test('a time that stands twice in the header is malformed', async () => {
    const sample = sampleOf('stripe');
    const headers = { 'Stripe-Signature': `t=${SECONDS},${sample.headers['Stripe-Signature']}` };
    await expectRefused(check(await source('stripe'), sample, { headers }), /more than once/);
  });

  test('a clock that does not work refuses', async () => {
    const broken = { nowMilliseconds: Number.NaN };
    await expectRefused(check(await source('slack'), sampleOf('slack'), broken), /tolerance/);
    for (const scheme of ['plaid', 'jwt']) {
      expect((await check(await source(scheme), sampleOf(scheme), broken)).ok, scheme).toBe(false);
    }
  });
});

describe('attack 18: a replay keeps its delivery id, whatever headers are changed', () => {
  /** Dropbox and Graph send the same bytes for different events, so each arrival is one. */
  const everyArrival = ['dropbox', 'microsoft-graph'];
  test.for(schemeNames.filter((name) => !everyArrival.includes(name)))('%s', async (scheme) => {
    const sample = sampleOf(scheme);
    const prepared = await source(scheme);
    const first = await expectAccepted(check(prepared, sample));
    const headers = {
      ...sample.headers,
      'X-GitHub-Delivery': 'another',
      'X-GitHub-Event': 'another',
      'X-Shopify-Webhook-Id': 'another',
      'X-Slack-Retry-Num': '1',
      'X-Event': 'another',
      'Idempotency-Key': 'another',
      'I-Twilio-Idempotency-Token': 'another',
      'X-Zendesk-Webhook-Invocation-Id': 'another',
    };
    const second = await expectAccepted(check(prepared, sample, { headers, nowMilliseconds: NOW + 30_000 }));
    expect(second.deliveryId).toBe(first.deliveryId);
    expect(first.deliveryId).not.toBe('');
    expect(first.deliveryId.length).toBeLessThanOrEqual(256);
  });

  test('an id that is in the signed content cannot be changed', async () => {
    for (const [scheme, name] of [
      ['standard', 'webhook-id'],
      ['paypal', 'PAYPAL-TRANSMISSION-ID'],
    ] as const) {
      const sample = sampleOf(scheme);
      const headers = { ...sample.headers, [name]: 'other' };
      await expectRefused(check(await source(scheme), sample, { headers }), /does not match/);
    }
  });

  test('an id cannot trade characters with the timestamp', async () => {
    const sample = await signed('standard', `${SECONDS}.{}`);
    const traded = { headers: { ...sample.headers, 'webhook-id': `msg_1.${SECONDS}` }, body: '{}' };
    await expectRefused(check(await source('standard'), sample, traded), /webhook-id is malformed/);
  });

  test('another body with the same checksum is a duplicate of what PayPal signed', async () => {
    const sample = sampleOf('paypal');
    const prepared = await source('paypal');
    const forged = withSameChecksum('{"id":"forged"}    ', sample.body);
    const first = await expectAccepted(check(prepared, sample));
    const second = await expectAccepted(check(prepared, sample, { body: forged }));
    expect(second.deliveryId).toBe(first.deliveryId);
  });

  test('fields that move between URL and form of Twilio are a duplicate', async () => {
    const sample = sampleOf('twilio');
    const first = await expectAccepted(check(await source('twilio'), sample));
    const url = 'https://gate.example.com/hooks/shop?a=1BodyGr%C3%BC%C3%9Fe%20!CallSidCA1From+1415';
    const moved = await check(await source('twilio'), sample, { url, body: '' });
    if (moved.ok) expect(moved.value.deliveryId).toBe(first.deliveryId);
  });
});

describe('attack 19: floods and downgrades are refused', () => {
  test('a header of 1,000 signatures, even with the right one among them', async () => {
    const sample = sampleOf('standard');
    const flood = Array.from({ length: 1_000 }, () => 'v1,AAAA').join(' ');
    const headers = { ...sample.headers, 'webhook-signature': `${sample.headers['webhook-signature']} ${flood}` };
    await expectRefused(check(await source('standard'), sample, { headers }), /more than 16 entries/);
    const stripe = { 'Stripe-Signature': `t=${SECONDS},${'v1=00,'.repeat(1_000)}` };
    await expectRefused(check(await source('stripe'), sampleOf('stripe'), { headers: stripe }), /more than 16 entries/);
  });

  test('as many signatures as allowed are all looked at', async () => {
    const sample = sampleOf('standard');
    const others = 'v1,AAAA '.repeat(LIMITS.webhookSignatures - 1);
    const headers = { ...sample.headers, 'webhook-signature': others + sample.headers['webhook-signature'] };
    await expectAccepted(check(await source('standard'), sample, { headers }));
  });

  test('the right digest under another version or algorithm', async () => {
    const relabelled: [scheme: string, header: string, from: string, to: string][] = [
      ['stripe', 'Stripe-Signature', 'v1=', 'v0='],
      ['github', 'X-Hub-Signature-256', 'sha256=', 'sha1='],
      ['github', 'X-Hub-Signature-256', 'sha256=', ''],
      ['standard', 'webhook-signature', 'v1,', 'v2,'],
      ['slack', 'X-Slack-Signature', 'v0=', 'v1='],
      ['paddle', 'Paddle-Signature', 'h1=', 'h0='],
      ['jira', 'X-Hub-Signature', 'sha256=', 'sha1='],
    ];
    for (const [scheme, header, from, to] of relabelled) {
      const sample = sampleOf(scheme);
      const headers = { ...sample.headers, [header]: (sample.headers[header] ?? '').replace(from, to) };
      await expectRefused(check(await source(scheme), sample, { headers }), /must hold|malformed/);
    }
  });

  test('the right digest of a version that does not count, beside a wrong one of the version that does', async () => {
    const sample = sampleOf('stripe');
    const header = sample.headers['Stripe-Signature'] ?? '';
    const headers = { 'Stripe-Signature': `${header.replace('v1=', 'v0=')},v1=${'0'.repeat(64)}` };
    await expectRefused(check(await source('stripe'), sample, { headers }), /does not match/);
  });

  test('a right SHA-1 signature where SHA-256 is due', async () => {
    const sample = sampleOf('github');
    const settings = { header: 'X-Hub-Signature', algorithm: 'sha1', encoding: 'hex', prefix: 'sha1=' };
    const message = { body: bytes(sample.body), nowMilliseconds: NOW, id: '' };
    const headers = await sign('hmac', sample.secret ?? '', message, settings);
    await expectAccepted(check(await source('hmac', [sample.secret ?? ''], settings), sample, { headers }));
    for (const scheme of ['github', 'meta']) {
      await expectRefused(check(await source(scheme), sample, { headers }), /X-Hub-Signature-256 is missing/);
    }
    await expectRefused(check(await source('jira'), sample, { headers }), /must hold "sha256=…"/);
  });

  test('a signature of SNS by SHA-1, unless the settings take it', async () => {
    const old = sns({}, '1');
    await expectAccepted(check(await source('sns', undefined, old.settings), old));
    await expectRefused(check(await source('sns'), old), /SignatureVersion of the body must be 2/);
    const relabelled = old.body.replace('"SignatureVersion":"1"', '"SignatureVersion":"2"');
    await expectRefused(check(await source('sns'), old, { body: relabelled }), /does not match/);
  });

  test('a version of HubSpot that is not the one of the settings', async () => {
    const prepared = await source('hubspot', ['x'], { version: 'v2' });
    const headers = { 'X-HubSpot-Signature-Version': 'v1', 'X-HubSpot-Signature': '0'.repeat(64) };
    await expectRefused(check(prepared, sampleOf('hubspot'), { headers }), /Version must be v2/);
  });

  test('a public key used as the secret of an HMAC', async () => {
    const { publicKey } = ed25519Pair();
    const forged = await signed('standard', SOME_BODY, { secret: `whsec_${publicKey}` });
    const header = (forged.headers['webhook-signature'] ?? '').replace('v1,', 'v1a,');
    const prepared = await source('standard', [`whpk_${publicKey}`]);
    await expectRefused(check(prepared, forged), /does not match/);
    const relabelled = { ...forged.headers, 'webhook-signature': header };
    await expectRefused(check(prepared, forged, { headers: relabelled }), /does not match/);
  });

  test('a token by `none`, or by HMAC with the public key of the sender', async () => {
    const sample = sampleOf('google-chat-project');
    const claims = { iss: 'chat@system.gserviceaccount.com', aud: '1234567890', exp: NOW / 1000 + 600 };
    const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' }).toString();
    const forgeries = [
      jwt({ alg: 'HS256', kid: 'g1' }, claims, pem),
      jwt({ alg: 'none', kid: 'g1' }, claims, 'x'),
      jwt({ alg: 'none' }, claims, 'x').replace(/[^.]*$/, ''),
      jwt({ alg: 'RS256', kid: 'g1' }, claims, generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey),
      jwt({ alg: 'RS256', kid: 'g1', crit: ['x'], x: 1 }, claims, rsa.privateKey),
      jwt({ alg: 'RS256', kid: 'g1' }, { ...claims, aud: 'other' }, rsa.privateKey),
      jwt({ alg: 'RS256', kid: 'g1' }, { ...claims, iss: 'other' }, rsa.privateKey),
      jwt({ alg: 'RS256', kid: 'g1' }, { ...claims, exp: undefined }, rsa.privateKey),
    ];
    const send = async (token: string) =>
      check(await source('google-chat-project'), sample, { headers: { Authorization: `Bearer ${token}` } });
    await expectAccepted(send(jwt({ alg: 'RS256', kid: 'g1' }, claims, rsa.privateKey)));
    for (const token of forgeries) await expectRefused(send(token), /not valid|malformed/);
  });

  test('a token by another algorithm of the same key', async () => {
    const sample = sampleOf('google-chat-project');
    const claims = { iss: 'chat@system.gserviceaccount.com', aud: '1234567890', exp: NOW / 1000 + 600 };
    const [input = ''] = jwt({ alg: 'PS256', kid: 'g1' }, claims, rsa.privateKey).split(/\.[^.]*$/);
    const pss = { key: rsa.privateKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    const token = `${input}.${signBytes('sha256', Buffer.from(input), pss).toString('base64url')}`;
    const headers = { Authorization: `Bearer ${token}` };
    await expectRefused(check(await source('google-chat-project'), sample, { headers }), /not valid/);
    const settings = {
      ...sampleOf('jwt').settings,
      issuer: claims.iss,
      audience: claims.aud,
      bodyHashClaim: undefined,
    };
    const { fetch } = sample;
    const served = { headers, ...(fetch && { fetch: () => fetch(CHAT_KEYS) }) };
    const generic = (algorithm: string) => source('jwt', undefined, { ...settings, algorithms: [algorithm] });
    await expectAccepted(check(await generic('PS256'), sample, served));
    await expectRefused(check(await generic('RS256'), sample, served), /not valid/);
  });

  test('a token of Google for another account', async () => {
    const sample = sampleOf('google-pubsub');
    const other = { ...sample.settings, email: 'other@project.iam.gserviceaccount.com' };
    await expectRefused(check(await source('google-pubsub', undefined, other), sample), /claim email/);
  });
});

describe('attack 20: a signature that is no signature is false, never an exception', () => {
  const odd = [
    '',
    '0',
    '00',
    'zz',
    'abc',
    '='.repeat(44),
    '💥',
    ' ',
    '\0',
    'A'.repeat(10_000),
    '[object Object]',
    'a.b.c',
  ];
  const PREFIX = /^(?:t=\d+,v1=|ts=\d+;h1=|v\d[=,]|sha\d+=|hmac-sha256=|sig:|HMAC |Bearer |JWT |Key )/;
  test.for(odd)('%$: in a header', async (text) => {
    for (const scheme of IN_HEADERS) {
      const sample = sampleOf(scheme);
      const prepared = await source(scheme);
      for (const [name, value] of Object.entries(sample.headers)) {
        if (/^x-goog-(?!channel-token)|^x-amz/i.test(name)) continue;
        const cut = (PREFIX.exec(value)?.[0] ?? '') + text;
        // A Headers object refuses some of these texts itself; the check must not rely on that.
        const get = (header: string) => (header === name ? cut : (sample.headers[header] ?? null));
        const request = { ...requestOf(sample), headers: Object.assign(new Headers(), { get }) };
        const result = await verify(prepared, request);
        expect(result.ok, `${scheme} ${name}: ${cut.slice(0, 80)}`).toBe(false);
      }
    }
  });

  test.for(odd)('%$: in the body', async (text) => {
    for (const scheme of schemeNames) {
      const { inBody, ...sample } = sampleOf(scheme);
      if (inBody === undefined) continue;
      const body = sample.body.replace(inBody, () => JSON.stringify(text).slice(1, -1));
      await expectRefused(check(await source(scheme), { ...sample, body }), /./);
    }
  });

  test.for([
    'null',
    '[]',
    '7',
    '"x"',
    '{"value":[]}',
    '{"value":{}}',
    '{"value":[null]}',
    '{"notificationItems":[7]}',
    '['.repeat(5_000),
  ])('a body that is not of the form: %$', async (body) => {
    for (const scheme of ['adyen', 'microsoft-graph', 'sns', 'figma', 'token', 'linear']) {
      expect((await check(await source(scheme), sampleOf(scheme), { body })).ok && scheme !== 'token', scheme).toBe(
        false,
      );
      expect((await handshake(await source(scheme), requestOf(sampleOf(scheme), { body }))).ok).toBe(true);
    }
  });

  test('one item of a list that is not proven refuses all of them', async () => {
    for (const [scheme, list] of [
      ['microsoft-graph', 'value'],
      ['adyen', 'notificationItems'],
    ] as const) {
      const sample = sampleOf(scheme);
      const [item] = (JSON.parse(sample.body) as Record<string, unknown[]>)[list] ?? [];
      await expectAccepted(check(await source(scheme), sample, { body: JSON.stringify({ [list]: [item, item] }) }));
      for (const other of [{}, null, { clientState: 'other' }, { NotificationRequestItem: {} }]) {
        const body = JSON.stringify({ [list]: [item, other] });
        await expectRefused(check(await source(scheme), sample, { body }), /missing|not the secret|match/);
      }
    }
  });

  test('a right signature with anything behind it', async () => {
    for (const scheme of IN_HEADERS) {
      const sample = sampleOf(scheme);
      const prepared = await source(scheme);
      if (prepared.scheme.proof !== 'signature') continue;
      const { signature } = signatureScheme(prepared);
      const name = 'headers' in signature ? signature.headers.find((header) => header in sample.headers) : undefined;
      if (name === undefined) continue;
      for (const more of ['0', '00', '=', 'A'.repeat(64)]) {
        const headers = { ...sample.headers, [name]: `${sample.headers[name]}${more}` };
        await expectRefused(check(prepared, sample, { headers }), /does not match/);
      }
    }
  });

  test('a right Ed25519 signature in another spelling of base64 or hex', async () => {
    const { publicKey, seed } = ed25519Pair();
    const sample = await signed('standard', SOME_BODY, { secret: `whsk_${seed}` });
    const right = sample.headers['webhook-signature'] ?? '';
    const prepared = await source('standard', [`whpk_${publicKey}`]);
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
    const spare = alphabet[alphabet.indexOf(right.at(-3) ?? '') + 1] ?? '';
    for (const other of [`${right.slice(0, -3)}${spare}==`, right.slice(0, -2), `${right}=`]) {
      const headers = { ...sample.headers, 'webhook-signature': other };
      await expectRefused(check(prepared, sample, { headers }), /does not match/);
    }
    const discord = sampleOf('discord');
    const upper = (discord.headers['X-Signature-Ed25519'] ?? '').toUpperCase();
    const headers = { ...discord.headers, 'X-Signature-Ed25519': upper };
    await expectRefused(check(await source('discord'), discord, { headers }), /does not match/);
  });
});

describe('attack 21: a challenge with a script in it stays text', () => {
  const script = '<script>alert(document.domain)</script>';
  const base = 'https://gate.example.com/hooks/shop';

  test.for([
    ['microsoft-graph', 'POST', `${base}?validationToken=${encodeURIComponent(script)}`],
    ['dropbox', 'GET', `${base}?challenge=${encodeURIComponent(script)}`],
    ['meta', 'GET', `${base}?hub.mode=subscribe&hub.verify_token=chosen&hub.challenge=${encodeURIComponent(script)}`],
  ] as const)('%s', async ([scheme, method, url]) => {
    const settings = scheme === 'meta' ? { verifyToken: 'chosen' } : undefined;
    const prepared = await source(scheme, undefined, settings);
    const request = requestOf(sampleOf(scheme), { method, url, body: '', headers: {} });
    expect(await handshake(prepared, request)).toMatchObject({
      value: {
        status: 200,
        body: script,
        headers: { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' },
      },
    });
  });

  test('nobody without the verify token is echoed', async () => {
    for (const [settings, token] of [
      [{ verifyToken: 'chosen' }, 'other'],
      [{}, 'undefined'],
      [{}, ''],
    ] as const) {
      const url = `${base}?hub.mode=subscribe&hub.verify_token=${token}&hub.challenge=${encodeURIComponent(script)}`;
      const request = requestOf(sampleOf('meta'), { method: 'GET', url, body: '', headers: {} });
      const result = await handshake(await source('meta', undefined, settings), request);
      expect(result).toMatchObject({ ok: false, fault: { code: 'webhook.unverified' } });
      expect(JSON.stringify(result)).not.toContain('<script>');
    }
  });
});

describe('attack 22: secrets rotate with an overlap', () => {
  /** Of the form that the scheme gives out, and signed by `sign`. */
  const next: Readonly<Record<string, string>> = {
    standard: 'bmV3LXNlY3JldC1vZi0yNC1ieXRlcy4u',
    airtable: 'bmV3LXNlY3JldC1vZi0yNC1ieXRlcy4u',
    'adyen-platform': '00112233445566778899aabbccddeeff',
  };
  const rotating = [
    ...'standard stripe github slack shopify pagerduty airtable meta xero calendly zoom hmac'.split(' '),
    'adyen-platform',
  ];
  test.for(rotating)('%s accepts old and new while both are listed, then only the new', async (scheme) => {
    const old = sampleOf(scheme).secret ?? '';
    const fresh = next[scheme] ?? 'a new secret';
    const byOld = await signed(scheme, SOME_BODY, { secret: old });
    const byNext = await signed(scheme, SOME_BODY, { secret: fresh });
    for (const sample of [byOld, byNext]) {
      await expectAccepted(check(await source(scheme, [fresh, old]), sample));
      await expectAccepted(check(await source(scheme, [old, fresh]), sample));
    }
    await expectAccepted(check(await source(scheme, [fresh]), byNext));
    await expectRefused(check(await source(scheme, [fresh]), byOld), /does not match/);
  });

  test.for(['gitlab', 'telegram', 'figma', 'microsoft-graph', 'mailchimp', 'token', 'jira-connect'])(
    '%s, too, which signs nothing',
    async (scheme) => {
      const sample = sampleOf(scheme);
      const old = sample.secret ?? '';
      await expectAccepted(check(await source(scheme, ['a new secret', old]), sample));
      await expectAccepted(check(await source(scheme, [old, 'a new secret']), sample));
      await expectRefused(check(await source(scheme, ['a new secret']), sample), /not the secret|not valid/);
    },
  );

  test('from a shared secret to an Ed25519 key', async () => {
    const pair = ed25519Pair();
    const shared = sampleOf('standard');
    const prepared = await source('standard', [shared.secret ?? '', `whpk_${pair.publicKey}`]);
    await expectAccepted(check(prepared, shared));
    for (const privateKey of [pair.seed, pair.seedAndPublicKey]) {
      const sample = await signed('standard', SOME_BODY, { secret: `whsk_${privateKey}` });
      expect(sample.headers['webhook-signature']).toMatch(/^v1a,/);
      await expectAccepted(check(prepared, sample));
      await expectRefused(check(prepared, sample, { body: `${SOME_BODY} ` }), /does not match/);
      await expectRefused(check(await source('standard'), sample), /does not match/);
    }
  });
});

function ed25519Pair(): { publicKey: string; seed: string; seedAndPublicKey: string } {
  const pair = generateKeyPairSync('ed25519');
  const publicKey = pair.publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
  const seed = pair.privateKey.export({ type: 'pkcs8', format: 'der' }).subarray(16);
  expect(signBytes(null, seed, pair.privateKey)).toHaveLength(64);
  const base64 = (buffer: Buffer): string => buffer.toString('base64');
  return {
    publicKey: base64(publicKey),
    seed: base64(seed),
    seedAndPublicKey: base64(Buffer.concat([seed, publicKey])),
  };
}

/** The last four bytes are chosen so that both texts have one CRC-32, which is linear. */
function withSameChecksum(text: string, like: string): Uint8Array {
  const forged = bytes(text);
  const wanted = crcOf(bytes(like));
  const end = forged.length - 4;
  forged.fill(0, end);
  const base = crcOf(forged);
  const columns = Array.from({ length: 32 }, (_, bit) => {
    const one = forged.slice();
    one[end + (bit >> 3)] = 1 << (bit & 7);
    return { value: (crcOf(one) ^ base) >>> 0, bits: 2 ** bit };
  });
  let missing = (wanted ^ base) >>> 0;
  let bits = 0;
  for (let row = 31; row >= 0; row--) {
    const pivot = columns.find(({ value }) => 31 - Math.clz32(value) === row);
    if (pivot === undefined) continue;
    const rest = columns.filter((column) => column !== pivot);
    for (const column of rest) {
      if ((column.value >>> row) & 1) {
        column.value = (column.value ^ pivot.value) >>> 0;
        column.bits = (column.bits ^ pivot.bits) >>> 0;
      }
    }
    if ((missing >>> row) & 1) {
      missing = (missing ^ pivot.value) >>> 0;
      bits = (bits ^ pivot.bits) >>> 0;
    }
    pivot.value = 0;
  }
  for (let index = 0; index < 4; index++) forged[end + index] = (bits >>> (index * 8)) & 0xff;
  expect(crcOf(forged)).toBe(wanted);
  return forged;
}

function crcOf(data: Uint8Array): number {
  let value = 0xff_ff_ff_ff;
  for (const byte of data) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xed_b8_83_20 : value >>> 1;
  }
  return (value ^ 0xff_ff_ff_ff) >>> 0;
}
