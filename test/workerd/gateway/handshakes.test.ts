import { createHmac } from 'node:crypto';
import { env } from 'cloudflare:workers';
import { describe, expect, it } from 'vitest';
import { answerOf, call, codeOf, manage, ORIGIN, publish, runsOf } from './fixtures.ts';
import { runsOfEvent } from './hook-fixtures.ts';
import { prepareSource, sign, verify, type WebhookRequest } from '../../../src/core/webhook/index.ts';
import { adoptSecret, loadSource } from '../../../src/store/sources.ts';
import { certificateOf } from '../../unit/webhook/certificate.ts';

const SECRET = 'a secret of the vendor';
const mac = (content: string, secret = SECRET): string => createHmac('sha256', secret).update(content).digest('hex');

const chainOn = (source: string, output = '{{ $string(trigger) }}') =>
  publish({ triggers: { sent: { type: 'webhook', source } }, output });

describe('a source that awaits the secret of its vendor', () => {
  it('takes the first that comes, keeps it, and then what is signed with it', async () => {
    expect((await manage('PUT /sources/asana', { scheme: 'asana' })).status).toBe(201);
    const { name } = await chainOn('asana');
    const events = '{"events":[{"action":"changed"}]}';
    const deliver = (secret: string) => call('POST /hooks/asana', events, { 'X-Hook-Signature': mac(events, secret) });
    expect(codeOf(await deliver(''))).toEqual([401, 'webhook.unverified']);

    const shaken = await call('POST /hooks/asana', '{}', { 'X-Hook-Secret': 'b537207f20cbfa02' });
    expect([shaken.status, shaken.headers.get('x-hook-secret')]).toEqual([200, 'b537207f20cbfa02']);
    expect((await deliver('b537207f20cbfa02')).status).toBe(200);
    expect(await runsOf(name)).toBe(1);
  });

  it('takes no second one, and tells nobody the first', async () => {
    const second = await call('POST /hooks/asana', '{}', { 'X-Hook-Secret': 'ffffffffffffffff' });
    expect(codeOf(second)).toEqual([401, 'webhook.unverified']);
    expect(second.headers.get('x-hook-secret')).toBeNull();
    const shown = await manage('GET /sources/asana');
    expect(shown.text).not.toContain('b537207f20cbfa02');
  });

  it('shows the token of Notion to the owner, who has to confirm it, and to nobody else', async () => {
    await manage('PUT /sources/pages', { scheme: 'notion' });
    expect(codeOf(await manage('GET /sources/pages/verification-token'))).toEqual([404, 'source.not-found']);
    const brought = { verification_token: 'secret_tMrlL1qK5vuQAh1b6cZG' };
    expect((await call('POST /hooks/pages', brought)).status).toBe(200);
    expect((await manage('GET /sources/pages/verification-token')).body).toEqual({ token: brought.verification_token });
    expect((await call('GET /_/api/v1/sources/pages/verification-token')).status).toBe(401);
    expect(codeOf(await manage('GET /sources/asana/verification-token'))).toEqual([404, 'source.not-found']);
    await env.DB.prepare('update sources set updated_at = updated_at - 3600000 where name = ?').bind('pages').run();
    expect(codeOf(await manage('GET /sources/pages/verification-token'))).toEqual([404, 'source.not-found']);
  });

  it('keeps one of two that come at the same moment', async () => {
    await manage('PUT /sources/notion', { scheme: 'notion' });
    const row = await loadSource(env.DB, 'notion');
    if (row === undefined) throw new Error('no source');
    const kept = await Promise.all([adoptSecret(env.DB, row, 'first', 1), adoptSecret(env.DB, row, 'second', 1)]);
    expect(kept.filter(Boolean)).toHaveLength(1);
  });

  it('is the only kind that may be saved without one', async () => {
    expect(codeOf(await manage('PUT /sources/closed', { scheme: 'github' }))).toEqual([422, 'source.invalid']);
  });
});

describe('a handshake', () => {
  it('by GET is answered with text that no browser runs', async () => {
    await manage('PUT /sources/meta', { scheme: 'meta', secret: SECRET, settings: { verifyToken: 'chosen' } });
    const ask = (token: string) =>
      call(`GET /hooks/meta?hub.mode=subscribe&hub.verify_token=${token}&hub.challenge=%3Cscript%3E`);
    const answered = await ask('chosen');
    expect([answered.status, answered.text]).toEqual([200, '<script>']);
    expect(answered.headers.get('content-type')).toBe('text/plain; charset=utf-8');
    expect(answered.headers.get('x-content-type-options')).toBe('nosniff');
    expect(codeOf(await ask('other'))).toEqual([401, 'webhook.unverified']);
    expect(codeOf(await call('GET /hooks/meta'))).toEqual([405, 'request.method']);
  });

  it('starts no run, and its chain runs only for deliveries', async () => {
    await manage('PUT /sources/slack', { scheme: 'slack', secret: SECRET });
    const { name } = await chainOn('slack');
    const send = async (body: string) =>
      call(
        'POST /hooks/slack',
        body,
        await sign('slack', SECRET, { body: new TextEncoder().encode(body), nowMilliseconds: Date.now(), id: '' }),
      );
    expect((await send('{"type":"url_verification","challenge":"3eZbrw1a"}')).text).toBe('3eZbrw1a');
    expect(await runsOf(name)).toBe(0);
    const delivered = await send('{"type":"event_callback","event_id":"Ev1"}');
    expect([delivered.status, delivered.text]).toEqual([200, '']);
    expect(await runsOf(name)).toBe(1);
  });

  it('by HEAD is 200 where the vendor probes, and 405 elsewhere', async () => {
    await manage('PUT /sources/trello', { scheme: 'trello', secret: SECRET });
    await manage('PUT /sources/github', { scheme: 'github', secret: SECRET });
    expect((await call('HEAD /hooks/trello')).status).toBe(200);
    const refused = await call('HEAD /hooks/github');
    expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'POST']);
    expect((await call('GET /hooks/trello')).headers.get('allow')).toBe('POST, HEAD');
  });
});

describe('a delivery', () => {
  it('whose URL is signed is verified by the public one', async () => {
    await manage('PUT /sources/square', { scheme: 'square', secret: SECRET });
    const body = '{"event_id":"e1","type":"payment.created"}';
    const at = async (url: string) =>
      call(
        'POST /hooks/square?a=1',
        body,
        await sign('square', SECRET, { body: new TextEncoder().encode(body), nowMilliseconds: 0, id: '', url }),
      );
    expect((await at(`${ORIGIN}/hooks/square?a=1`)).status).toBe(200);
    expect(codeOf(await at(`${ORIGIN}/hooks/square?a=2`))).toEqual([401, 'webhook.unverified']);
  });

  it('never shows its token to a chain', async () => {
    await manage('PUT /sources/chimp', { scheme: 'mailchimp', secret: 'hush-hush' });
    await manage('PUT /sources/lab', { scheme: 'gitlab', secret: 'hush-hush' });
    await chainOn('chimp');
    await chainOn('lab');
    const form = { 'content-type': 'application/x-www-form-urlencoded' };
    const sent = {
      chimp: await call('POST /hooks/chimp?secret=hush-hush&list=7', 'type=subscribe', form),
      lab: await call('POST /hooks/lab?list=7', '{}', { 'X-Gitlab-Token': 'hush-hush' }),
    };
    for (const [source, { status, body }] of Object.entries(sent)) {
      expect(status).toBe(200);
      const [run] = await runsOfEvent(body, source);
      const answer = await answerOf(run ?? '');
      expect(JSON.stringify(answer)).toContain('list');
      expect(JSON.stringify(answer)).not.toContain('hush-hush');
    }
  });
});

describe('public keys in this runtime', () => {
  const base64 = (bytes: ArrayBuffer): string => Buffer.from(bytes).toString('base64');
  const body = new TextEncoder().encode('{"id":"1"}');
  const nowMilliseconds = 1_800_000_000_000;
  const requestOf = (headers: HeadersInit, more: Partial<WebhookRequest> = {}): WebhookRequest => ({
    method: 'POST',
    url: 'https://gateway.test/hooks/x',
    headers: new Headers(headers),
    body,
    nowMilliseconds,
    fetch: () => Promise.reject(new Error('nothing is served')),
    ...more,
  });

  async function expectOnly(scheme: string, secret: string | undefined, settings: unknown, request: WebhookRequest) {
    const secrets = secret === undefined ? [] : [secret];
    const prepared = await prepareSource({ name: 'x', scheme, secrets, settings });
    if (!prepared.ok) throw new Error(prepared.fault.message);
    expect(await verify(prepared.value, request)).toMatchObject({ ok: true });
    const text = new TextDecoder().decode(request.body);
    const changed = new TextEncoder().encode(text.replace('1', '2'));
    expect(await verify(prepared.value, { ...request, body: changed })).toMatchObject({ ok: false });
  }

  it('verify Ed25519 of Discord and ECDSA of SendGrid', async () => {
    const content = new TextEncoder().encode('1800000000{"id":"1"}');
    const ed = (await crypto.subtle.generateKey('Ed25519', true, ['sign', 'verify'])) as CryptoKeyPair;
    const publicKey = Buffer.from((await crypto.subtle.exportKey('raw', ed.publicKey)) as ArrayBuffer).toString('hex');
    const signature = Buffer.from(await crypto.subtle.sign('Ed25519', ed.privateKey, content)).toString('hex');
    const headers = { 'X-Signature-Ed25519': signature, 'X-Signature-Timestamp': '1800000000' };
    await expectOnly('discord', publicKey, undefined, requestOf(headers));

    const ecdsa = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
    const ec = (await crypto.subtle.generateKey(ecdsa, true, ['sign', 'verify'])) as CryptoKeyPair;
    const spki = base64((await crypto.subtle.exportKey('spki', ec.publicKey)) as ArrayBuffer);
    const plain = new Uint8Array(await crypto.subtle.sign(ecdsa, ec.privateKey, content));
    const sent = {
      'X-Twilio-Email-Event-Webhook-Signature': Buffer.from(derOf(plain)).toString('base64'),
      'X-Twilio-Email-Event-Webhook-Timestamp': '1800000000',
    };
    await expectOnly('sendgrid', spki, undefined, requestOf(sent));
  });

  it.each(['1', '2'])('verify RSA of SNS by its certificate, version %s', async (version) => {
    const hash = version === '1' ? 'SHA-1' : 'SHA-256';
    const rsa = {
      name: 'RSASSA-PKCS1-v1_5',
      modulusLength: 2048,
      publicExponent: Uint8Array.from([1, 0, 1]),
      hash,
    };
    const pair = (await crypto.subtle.generateKey(rsa, true, ['sign', 'verify'])) as CryptoKeyPair;
    const pem = certificateOf(Buffer.from((await crypto.subtle.exportKey('spki', pair.publicKey)) as ArrayBuffer));
    const topic = 'arn:aws:sns:eu-central-1:123456789012:orders';
    const signed = { Message: '1', MessageId: 'm1', Timestamp: 't', TopicArn: topic, Type: 'Notification' };
    const lines = Object.entries(signed).map(([name, value]) => `${name}\n${value}\n`);
    const signature = await crypto.subtle.sign(rsa.name, pair.privateKey, new TextEncoder().encode(lines.join('')));
    const message = {
      ...signed,
      SignatureVersion: version,
      Signature: base64(signature),
      SigningCertURL: 'https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123abcd.pem',
    };
    const request = requestOf(
      {},
      { body: new TextEncoder().encode(JSON.stringify(message)), fetch: () => Promise.resolve(new Response(pem)) },
    );
    await expectOnly('sns', undefined, { topicArns: [topic], signatureVersion: version }, request);
  });
});

/** r and s behind each other as `SEQUENCE { r, s }`. */
function derOf(plain: Uint8Array): Uint8Array {
  const integer = (digits: Uint8Array): number[] => {
    const start = digits.findIndex((digit) => digit !== 0);
    const bytes = [...digits.subarray(start)];
    if ((bytes[0] ?? 0) >= 0x80) bytes.unshift(0);
    return [2, bytes.length, ...bytes];
  };
  const both = [...integer(plain.subarray(0, 32)), ...integer(plain.subarray(32))];
  return Uint8Array.from([0x30, both.length, ...both]);
}
