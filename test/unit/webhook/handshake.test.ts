import { createHmac, sign as signBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { ed25519, sampleOf, SECONDS, sns } from './samples.ts';
import { requestOf, source, type Changes } from './support.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import {
  acceptedReply,
  credentialsOf,
  deliversBy,
  handshake,
  methodsOf,
  prepareSource,
  schemeNames,
  verify,
} from '../../../src/core/webhook/index.ts';

const SECRET = 'a secret of the vendor';
const BASE = 'https://gate.example.com/hooks/shop';
const mac = (content: string, encoding: 'hex' | 'base64' = 'hex'): string =>
  createHmac('sha256', SECRET).update(content).digest(encoding);

const shake = async (scheme: string, changes: Changes, settings?: unknown) =>
  handshake(
    await source(scheme, undefined, settings),
    requestOf(sampleOf(scheme), { headers: {}, body: '', ...changes }),
  );

async function expectReply(result: ReturnType<typeof shake>, status: number, body: string | null) {
  const settled = await result;
  if (!settled.ok) throw new Error(settled.fault.message);
  expect(settled.value).toMatchObject({ status, body });
  expect(settled.value?.headers['x-content-type-options']).toBe('nosniff');
  return settled.value;
}

async function expectNone(result: ReturnType<typeof shake>) {
  expect(await result).toEqual({ ok: true, value: undefined });
}

async function expectRefused(result: ReturnType<typeof shake>, message: RegExp) {
  expect(await result).toMatchObject({
    ok: false,
    fault: { code: 'webhook.unverified', message: expect.stringMatching(message) },
  });
}

describe('a challenge that is sent back', () => {
  const slack = (body: string, signature = `v0=${mac(`v0:${SECONDS}:${body}`)}`): Changes => ({
    body,
    headers: { 'X-Slack-Signature': signature, 'X-Slack-Request-Timestamp': SECONDS },
  });
  const asked = '{"type":"url_verification","challenge":"3eZbrw1a"}';

  test('Slack: signed', async () => {
    await expectReply(shake('slack', slack(asked)), 200, '3eZbrw1a');
    await expectRefused(shake('slack', slack(asked, `v0=${'0'.repeat(64)}`)), /does not match/);
    await expectRefused(shake('slack', { body: asked }), /X-Slack-Signature is missing/);
    await expectNone(shake('slack', slack('{"type":"event_callback"}')));
  });

  const meta = (query: string): Changes => ({ method: 'GET', url: `${BASE}?${query}` });
  const settings = { verifyToken: 'chosen' };
  test('Meta: with the verify token of the settings', async () => {
    const right = 'hub.mode=subscribe&hub.verify_token=chosen&hub.challenge=1158201444';
    await expectReply(shake('meta', meta(right), settings), 200, '1158201444');
    for (const wrong of ['chosen2', 'chose', '', 'CHOSEN']) {
      await expectRefused(shake('meta', meta(right.replace('chosen', wrong)), settings), /hub.verify_token/);
    }
    await expectRefused(shake('meta', meta(right), {}), /settings do not say/);
    await expectRefused(shake('meta', meta(right.replace(/&hub.challenge.*/, '')), settings), /challenge is missing/);
    await expectNone(shake('meta', meta(right.replace('subscribe', 'other')), settings));
    await expectNone(shake('meta', { ...meta(right), method: 'POST' }, settings));
  });

  test('Microsoft Graph: decoded, as plain text', async () => {
    const changes = { method: 'POST', url: `${BASE}?validationToken=Validation%3A+Testing%20%C3%BC` };
    const reply = await expectReply(shake('microsoft-graph', changes), 200, 'Validation: Testing ü');
    expect(reply?.headers['content-type']).toBe('text/plain; charset=utf-8');
    await expectNone(shake('microsoft-graph', { ...changes, method: 'GET' }));
  });

  test('Dropbox: by GET', async () => {
    await expectReply(shake('dropbox', { method: 'GET', url: `${BASE}?challenge=abc` }), 200, 'abc');
    await expectNone(shake('dropbox', { method: 'POST', url: `${BASE}?challenge=abc` }));
    await expectNone(shake('dropbox', { method: 'GET', url: BASE }));
  });

  test('one that is too long is refused', async () => {
    const most = LIMITS.webhookChallengeCharacters;
    const url = (length: number) => ({ url: `${BASE}?validationToken=${'x'.repeat(length)}` });
    await expectReply(shake('microsoft-graph', url(most)), 200, 'x'.repeat(most));
    await expectRefused(shake('microsoft-graph', url(most + 1)), /more than 1024 characters/);
  });
});

describe('a secret that the vendor brings', () => {
  const awaiting = async (scheme: 'asana' | 'notion') => {
    const prepared = await prepareSource({ name: 'shop', scheme, secrets: [] });
    if (!prepared.ok) throw new Error(prepared.fault.message);
    expect(prepared.value.awaitsSecret).toBe(true);
    return prepared.value;
  };
  const asana = { headers: { 'X-Hook-Secret': 'b537207f20cbfa02' }, body: '{}' };
  const notion = { headers: {}, body: '{"verification_token":"secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}' };

  test('Asana: kept, and sent back in the header', async () => {
    const result = await handshake(await awaiting('asana'), requestOf(sampleOf('asana'), asana));
    expect(result).toMatchObject({
      value: { status: 200, headers: { 'X-Hook-Secret': 'b537207f20cbfa02' }, store: 'b537207f20cbfa02' },
    });
  });

  test('Notion: kept, and not sent back', async () => {
    const result = await handshake(await awaiting('notion'), requestOf(sampleOf('notion'), notion));
    expect(result).toMatchObject({ value: { status: 200, body: null } });
    expect(result.ok && result.value?.store).toMatch(/^secret_tMrl/);
    if (result.ok) expect(JSON.stringify(result.value?.headers)).not.toContain('secret_');
  });

  test.each(['asana', 'notion'] as const)(
    '%s takes no second one, and a source that awaits takes nothing else',
    async (scheme) => {
      const request = requestOf(sampleOf(scheme), scheme === 'asana' ? asana : notion);
      expect(await handshake(await source(scheme), request)).toEqual({ ok: true, value: undefined });
      expect(await verify(await source(scheme), request)).toMatchObject({ ok: false });
      const delivery = requestOf(sampleOf(scheme));
      expect(await handshake(await awaiting(scheme), delivery)).toEqual({ ok: true, value: undefined });
      expect(await verify(await awaiting(scheme), delivery)).toMatchObject({
        ok: false,
        fault: { code: 'webhook.unverified', message: expect.stringContaining('no secret yet') },
      });
    },
  );

  test.each(['short', 'x'.repeat(513), 'with a space in it'])('%s is no secret', async (secret) => {
    const request = requestOf(sampleOf('asana'), { headers: { 'X-Hook-Secret': secret } });
    expect(await handshake(await awaiting('asana'), request)).toMatchObject({
      fault: { code: 'webhook.unverified', message: expect.stringContaining('malformed') },
    });
  });

  test('no other scheme goes without its secret', async () => {
    for (const scheme of schemeNames) {
      const { settings, secret } = sampleOf(scheme);
      if (secret === undefined || scheme === 'asana' || scheme === 'notion') continue;
      const prepared = await prepareSource({ name: 'shop', scheme, secrets: [], settings });
      expect(prepared, scheme).toMatchObject({ ok: false, fault: { message: expect.stringContaining('Is missing') } });
    }
  });
});

describe('a signed question', () => {
  test.each([
    [1, 200, '{"type":1}'],
    [0, 204, null],
  ] as const)('Discord: PING %i', async (type, status, body) => {
    const asked = JSON.stringify({ type, id: '1' });
    const signature = signBytes(null, Buffer.from(SECONDS + asked), ed25519.privateKey).toString('hex');
    const headers = { 'X-Signature-Ed25519': signature, 'X-Signature-Timestamp': SECONDS };
    await expectReply(shake('discord', { headers, body: asked }), status, body);
    // Discord itself asks with wrong signatures, too.
    await expectRefused(
      shake('discord', { headers: { ...headers, 'X-Signature-Ed25519': '00'.repeat(64) }, body: asked }),
      /does not match/,
    );
  });

  test('Discord: an event of type 1 is none', async () => {
    await expectNone(shake('discord', { body: '{"type":1,"event":{"type":"APPLICATION_AUTHORIZED"}}' }));
  });

  const zoom = (plainToken: string): Changes => {
    const body = JSON.stringify({ event: 'endpoint.url_validation', payload: { plainToken } });
    return {
      body,
      headers: { 'x-zm-signature': `v0=${mac(`v0:${SECONDS}:${body}`)}`, 'x-zm-request-timestamp': SECONDS },
    };
  };

  test('Zoom: answered with its token, signed', async () => {
    const expected = JSON.stringify({
      plainToken: 'qgg8vlvZRS6UYooatFL8Aw',
      encryptedToken: mac('qgg8vlvZRS6UYooatFL8Aw'),
    });
    await expectReply(shake('zoom', zoom('qgg8vlvZRS6UYooatFL8Aw')), 200, expected);
  });

  test('Zoom: nobody gets the content of a delivery signed', async () => {
    const { body } = zoom('qgg8vlvZRS6UYooatFL8Aw');
    await expectRefused(shake('zoom', { body: body ?? '' }), /missing/);
    for (const token of [`v0:${SECONDS}:{}`, 'a b', '', '{}']) {
      await expectRefused(shake('zoom', zoom(token)), /malformed|missing/);
    }
  });

  const quiet = '{"events":[]}';
  test.each([
    ['xero', 'x-xero-signature', mac(quiet, 'base64')],
    ['line', 'x-line-signature', mac(quiet, 'base64')],
    ['asana', 'X-Hook-Signature', mac(quiet)],
  ] as const)('%s: no events, 200 for a right signature and 401 for a wrong one', async (scheme, name, signature) => {
    await expectReply(shake(scheme, { body: quiet, headers: { [name]: signature } }), 200, null);
    await expectRefused(shake(scheme, { body: quiet, headers: { [name]: `${signature}0` } }), /does not match/);
    await expectNone(shake(scheme, { body: '{"events":[{}]}', headers: { [name]: signature } }));
  });

  test('Google: the first message of a channel, with its token', async () => {
    const headers = { ...sampleOf('google-channel').headers, 'X-Goog-Resource-State': 'sync' };
    await expectReply(shake('google-channel', { headers }), 200, null);
    await expectRefused(
      shake('google-channel', { headers: { ...headers, 'X-Goog-Channel-Token': 'other' } }),
      /not the secret/,
    );
  });
});

describe('a probe', () => {
  test.each(['trello', 'mandrill', 'intercom'])('%s: HEAD is 200, GET is none', async (scheme) => {
    await expectReply(shake(scheme, { method: 'HEAD' }), 200, null);
    await expectNone(shake(scheme, { method: 'GET' }));
    expect(methodsOf((await source(scheme)).scheme)).toEqual(['POST', 'HEAD']);
    expect(deliversBy((await source(scheme)).scheme, 'HEAD')).toBe(false);
  });

  test('Mailchimp: GET is 200 for who knows the secret of the URL', async () => {
    const url = `${BASE}?secret=${encodeURIComponent(SECRET)}`;
    await expectReply(shake('mailchimp', { method: 'GET', url }), 200, null);
    await expectRefused(shake('mailchimp', { method: 'GET', url: `${url}1` }), /not the secret/);
  });

  test('WooCommerce: the form without a signature is 200 and no delivery', async () => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const body = 'webhook_id=7';
    await expectReply(shake('woocommerce', { headers, body }), 200, null);
    await expectNone(shake('woocommerce', { headers: { ...headers, 'X-WC-Webhook-Signature': 'x' }, body }));
    await expectNone(shake('woocommerce', { headers: { 'content-type': 'application/json' }, body }));
  });

  test('all others take what deliveries come by only', async () => {
    for (const scheme of ['standard', 'stripe', 'github', 'hmac', 'sns']) {
      expect(methodsOf((await source(scheme)).scheme)).toEqual(['POST']);
    }
  });
});

describe('Amazon SNS: a confirmation', () => {
  const confirmation = (SubscribeURL: string) =>
    sns({ Type: 'SubscriptionConfirmation', Token: '2336412f37', SubscribeURL });
  const right = 'https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37';

  async function confirm(url: string, answer: () => Response = () => new Response('<Confirm/>'), body?: string) {
    const sample = confirmation(url);
    const fetched: string[] = [];
    const result = await handshake(
      await source('sns'),
      requestOf(sample, {
        ...(body !== undefined && { body }),
        fetch: (address, init) => {
          fetched.push(address);
          if (address.endsWith('.pem')) return sample.fetch?.(address) ?? Promise.reject(new Error());
          expect(init?.redirect).toBe('manual');
          return Promise.resolve(answer());
        },
      }),
    );
    return { result, visited: fetched.filter((address) => !address.endsWith('.pem')) };
  }

  test('that is signed for a topic of the settings is visited', async () => {
    const { result, visited } = await confirm(right);
    expect(result).toMatchObject({ ok: true, value: { status: 200, body: null } });
    expect(visited).toEqual([right]);
  });

  test.each([
    'https://evil.com/?Action=ConfirmSubscription',
    'http://sns.eu-central-1.amazonaws.com/?x',
    'https://sns.eu-central-1.amazonaws.com.evil.com/',
    'https://sns.eu-central-1.amazonaws.com@evil.com/',
    'https://sns.eu-central-1.amazonaws.com:8443/',
    'https://x.sns.eu-central-1.amazonaws.com/',
    'https://sns.evil.com/#.amazonaws.com',
    'https://169.254.169.254/latest/meta-data',
    'https://sns.eu-central-1.amazonaws.com/other',
    'file:///etc/passwd',
    'no address',
  ])('with the address %s is not', async (url) => {
    const { result, visited } = await confirm(url);
    expect(result).toMatchObject({ ok: false, fault: { code: 'webhook.unverified' } });
    expect(visited).toEqual([]);
  });

  test('that was changed, or is for another topic, is not', async () => {
    for (const [from, to] of [
      ['2336412f37', '2336412f38'],
      ['orders', 'others'],
    ] as const) {
      const { result, visited } = await confirm(right, undefined, confirmation(right).body.replaceAll(from, to));
      expect(result).toMatchObject({ ok: false, fault: { code: 'webhook.unverified' } });
      expect(visited).toEqual([]);
    }
  });

  test('that Amazon does not take is refused for now', async () => {
    for (const status of [403, 500, 302]) {
      const { result } = await confirm(
        right,
        () => new Response(null, { status, headers: { location: 'https://x/' } }),
      );
      expect(result).toMatchObject({ ok: false, fault: { code: 'upstream.unavailable', retryable: true } });
    }
  });
});

describe('around them', () => {
  test('bodies over the bound are not read', async () => {
    const body = JSON.stringify({
      type: 'url_verification',
      challenge: 'x',
      more: 'x'.repeat(LIMITS.webhookHandshakeBytes),
    });
    await expectNone(shake('slack', { body }));
  });

  test('a delivery of every scheme is none', async () => {
    for (const scheme of schemeNames) {
      expect(await handshake(await source(scheme), requestOf(sampleOf(scheme))), scheme).toEqual({
        ok: true,
        value: undefined,
      });
    }
  });

  test('vendors read what they want to read', async () => {
    const replyOf = async (scheme: string) => acceptedReply((await source(scheme)).scheme);
    expect(await replyOf('adyen')).toMatchObject({ status: 200, body: '[accepted]' });
    expect(await replyOf('xero')).toMatchObject({ status: 200, body: null });
    expect(await replyOf('microsoft-graph')).toMatchObject({ status: 202 });
    expect(await replyOf('twilio')).toMatchObject({ headers: { 'content-type': 'text/xml' } });
    expect(await replyOf('github')).toBeUndefined();
  });

  test('what proves the sender is named, so that no record shows it', async () => {
    expect(credentialsOf((await source('gitlab')).scheme)).toEqual({ headers: ['x-gitlab-token'], query: [] });
    expect(credentialsOf((await source('mailchimp')).scheme)).toEqual({ headers: [], query: ['secret'] });
    expect(credentialsOf((await source('github')).scheme)).toEqual({ headers: [], query: [] });
  });
});
