/**
 * One signed request for every scheme, made without the code under test: by `node:crypto`, from what the
 * vendors document.
 */

import { createHash, createHmac, generateKeyPairSync, sign as signBytes, type KeyObject } from 'node:crypto';
import type { Fetch } from '../../../src/core/webhook/request.ts';
import { certificateOf } from './certificate.ts';

export const NOW = 1_800_000_000_000;
export const SECONDS = String(NOW / 1000);
const ISO = new Date(NOW).toISOString();

export interface Sample {
  /** Absent where the scheme takes none. */
  readonly secret?: string;
  readonly settings?: Readonly<Record<string, unknown>>;
  readonly method?: string;
  readonly url?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** What of the body is proven: its bytes, its fields or some members, or nothing. */
  readonly proves: 'bytes' | 'parts' | 'nothing';
  /** The place of the signature, where it is no header. */
  readonly inBody?: string;
  readonly fetch?: Fetch;
}

/** With members that ids and event types of many vendors are taken from. */
export const SOME_BODY = JSON.stringify({
  id: 'evt_1',
  event_id: 'Ev1',
  type: 'order.paid',
  event: { id: '01B', event_type: 'incident.opened' },
  note: 'Grüße, 1e400, \u2028',
});

type Hash = 'sha1' | 'sha256' | 'sha512';
type Text = 'hex' | 'base64';
const mac = (key: string | Buffer, content: string, encoding: Text = 'hex', hash: Hash = 'sha256'): string =>
  createHmac(hash, key).update(content).digest(encoding);

const SECRET = 'a secret of the vendor';
export const URL_GIVEN = 'https://gate.example.com/hooks/shop?a=1';

/** A signature of the body alone. */
const overBody = (
  name: string,
  prefix = '',
  encoding: Text = 'hex',
  hash: Hash = 'sha256',
  body = SOME_BODY,
): Sample => ({
  secret: SECRET,
  headers: { [name]: prefix + mac(SECRET, body, encoding, hash) },
  body,
  proves: 'bytes',
});

/** A signature of time and body. */
const timed = (
  name: string,
  timeName: string,
  time: string,
  content: string,
  prefix = '',
  encoding: Text = 'hex',
): Sample => ({
  secret: SECRET,
  headers: { [name]: prefix + mac(SECRET, content, encoding), [timeName]: time },
  body: SOME_BODY,
  proves: 'bytes',
});

const WHSEC = 'MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const standard = (name: 'webhook' | 'svix'): Sample => ({
  secret: `whsec_${WHSEC}`,
  headers: {
    [`${name}-id`]: 'msg_1',
    [`${name}-timestamp`]: SECONDS,
    [`${name}-signature`]: `v1,${mac(Buffer.from(WHSEC, 'base64'), `msg_1.${SECONDS}.${SOME_BODY}`, 'base64')}`,
  },
  body: SOME_BODY,
  proves: 'bytes',
});

const token = (headers: Readonly<Record<string, string>>, body = SOME_BODY): Sample => ({
  secret: SECRET,
  headers,
  body,
  proves: 'nothing',
});

const base64url = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

export function jwt(header: Record<string, unknown>, claims: Record<string, unknown>, key: KeyObject | string): string {
  const input = `${base64url(header)}.${base64url(claims)}`;
  if (typeof key === 'string') return `${input}.${createHmac('sha256', key).update(input).digest('base64url')}`;
  const ieee = { key, dsaEncoding: 'ieee-p1363' as const };
  return `${input}.${signBytes('sha256', Buffer.from(input), ieee).toString('base64url')}`;
}

export const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
export const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
export const ed25519 = generateKeyPairSync('ed25519');
const spki = (key: KeyObject): Buffer => key.export({ type: 'spki', format: 'der' });
const CERTIFICATE = certificateOf(spki(rsa.publicKey));

const jwkOf = (key: KeyObject, kid: string) => ({ ...key.export({ format: 'jwk' }), kid, alg: undefined });

/** Answers these addresses only; another is a failed test. */
const serve =
  (pages: Readonly<Record<string, unknown>>): Fetch =>
  (url) =>
    Object.hasOwn(pages, url)
      ? Promise.resolve(new Response(typeof pages[url] === 'string' ? pages[url] : JSON.stringify(pages[url])))
      : Promise.reject(new Error(`not served: ${url}`));

const google = (
  settings: Readonly<Record<string, unknown>>,
  claims: Record<string, unknown>,
  jwks = 'https://www.googleapis.com/oauth2/v3/certs',
): Sample => ({
  settings,
  headers: {
    Authorization: `Bearer ${jwt({ alg: 'RS256', kid: 'g1' }, { exp: NOW / 1000 + 600, iat: NOW / 1000, ...claims }, rsa.privateKey)}`,
  },
  body: '{"type":"MESSAGE","message":{"messageId":"m1","data":"e30="}}',
  proves: 'nothing',
  fetch: serve({ [jwks]: { keys: [jwkOf(rsa.publicKey, 'g1')] } }),
});

const CHAT = 'chat@system.gserviceaccount.com';

export const SNS_TOPIC = 'arn:aws:sns:eu-central-1:123456789012:orders';
const SNS_CERTIFICATE = 'https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123abcd.pem';

/** @param more members of a confirmation */
export function sns(more: Readonly<Record<string, string>> = {}, version: '1' | '2' = '2'): Sample {
  const signed: Record<string, string> = {
    Message: '{"order":7}',
    MessageId: '22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324',
    ...('SubscribeURL' in more ? {} : { Subject: 'An order' }),
    ...more,
    Timestamp: '2026-11-21T10:00:00.000Z',
    TopicArn: SNS_TOPIC,
    Type: more['Type'] ?? 'Notification',
  };
  const order = ['Message', 'MessageId', 'Subject', 'SubscribeURL', 'Timestamp', 'Token', 'TopicArn', 'Type'];
  const content = order.filter((name) => name in signed).map((name) => `${name}\n${signed[name]}\n`);
  const hash = version === '1' ? 'sha1' : 'sha256';
  const Signature = signBytes(hash, Buffer.from(content.join('')), rsa.privateKey).toString('base64');
  return {
    settings: { topicArns: [SNS_TOPIC], ...(version === '1' && { signatureVersion: '1' }) },
    headers: { 'x-amz-sns-message-type': signed['Type'] ?? '' },
    body: JSON.stringify({ ...signed, SignatureVersion: version, Signature, SigningCertURL: SNS_CERTIFICATE }),
    proves: 'parts',
    inBody: Signature,
    fetch: serve({ [SNS_CERTIFICATE]: CERTIFICATE }),
  };
}

const ADYEN_KEY = '44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056';

function adyen(): Sample {
  const item = {
    additionalData: {},
    pspReference: '7914073381342284',
    originalReference: '',
    merchantAccountCode: 'TestMerchant',
    merchantReference: 'TestPayment-1407325143704',
    amount: { value: 1130, currency: 'EUR' },
    eventCode: 'AUTHORISATION',
    success: 'true',
  };
  const content = '7914073381342284::TestMerchant:TestPayment-1407325143704:1130:EUR:AUTHORISATION:true';
  const hmacSignature = mac(Buffer.from(ADYEN_KEY, 'hex'), content, 'base64');
  const signed = { ...item, additionalData: { hmacSignature } };
  return {
    secret: ADYEN_KEY,
    headers: {},
    body: JSON.stringify({ live: 'false', notificationItems: [{ NotificationRequestItem: signed }] }),
    proves: 'parts',
    inBody: hmacSignature,
  };
}

const PAYPAL_CERTIFICATE = 'https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594';

/** By the definition, bit by bit. */
export function crc32(text: string): number {
  let value = 0xff_ff_ff_ff;
  for (const byte of Buffer.from(text)) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xed_b8_83_20 : value >>> 1;
  }
  return (value ^ 0xff_ff_ff_ff) >>> 0;
}

const hubspotBody =
  '[{"eventId":1,"subscriptionId":2,"objectId":3,"occurredAt":4,"subscriptionType":"contact.creation"}]';
const plainHash = (content: string): string => createHash('sha256').update(content).digest('hex');
const FORM = 'mandrill_events=%5B%7B%22_id%22%3A%221%22%7D%5D&a=x+y';

const proxyQuery = `logged_in_customer_id=&path_prefix=%2Fapps%2Fx&shop=s.myshopify.com&timestamp=${SECONDS}`;
const proxyContent = `logged_in_customer_id=path_prefix=/apps/xshop=s.myshopify.comtimestamp=${SECONDS}`;
const callbackQuery = `code=0907a61c&host=YWRt%2Faw%3D%3D&shop=s.myshopify.com&state=a+b&timestamp=${SECONDS}`;
const callbackContent = callbackQuery.replace('a+b', 'a%20b');

const QSH_INPUT = 'POST&/hooks/shop&a=1';

export const SAMPLES: Readonly<Record<string, () => Sample>> = {
  standard: () => standard('webhook'),
  svix: () => standard('svix'),
  clerk: () => standard('svix'),
  resend: () => standard('svix'),
  openai: () => standard('webhook'),
  'gitlab-signed': () => standard('webhook'),

  stripe: () => ({
    ...overBody(''),
    headers: { 'Stripe-Signature': `t=${SECONDS},v1=${mac(SECRET, `${SECONDS}.${SOME_BODY}`)}` },
  }),
  shopify: () => overBody('X-Shopify-Hmac-Sha256', '', 'base64'),
  'shopify-oauth': () => ({
    secret: SECRET,
    method: 'GET',
    url: `https://gate.example.com/hooks/shop?${callbackQuery}&hmac=${mac(SECRET, callbackContent)}`,
    headers: {},
    body: '',
    proves: 'nothing',
  }),
  'shopify-proxy': () => ({
    secret: SECRET,
    method: 'GET',
    url: `https://gate.example.com/hooks/shop?${proxyQuery}&signature=${mac(SECRET, proxyContent)}`,
    headers: {},
    body: '',
    proves: 'nothing',
  }),
  square: () => ({
    ...overBody(''),
    headers: { 'x-square-hmacsha256-signature': mac(SECRET, URL_GIVEN + SOME_BODY, 'base64') },
  }),
  adyen,
  'adyen-platform': () => ({
    secret: ADYEN_KEY,
    headers: { HmacSignature: mac(Buffer.from(ADYEN_KEY, 'hex'), SOME_BODY, 'base64') },
    body: SOME_BODY,
    proves: 'bytes',
  }),
  paypal: () => ({
    secret: 'WH-2WR32451HC0233532-67976317FL4543714',
    headers: {
      'PAYPAL-TRANSMISSION-ID': 'tx-1',
      'PAYPAL-TRANSMISSION-TIME': ISO,
      'PAYPAL-AUTH-ALGO': 'SHA256withRSA',
      'PAYPAL-CERT-URL': PAYPAL_CERTIFICATE,
      'PAYPAL-TRANSMISSION-SIG': signBytes(
        'sha256',
        Buffer.from(`tx-1|${ISO}|WH-2WR32451HC0233532-67976317FL4543714|${crc32(SOME_BODY)}`),
        rsa.privateKey,
      ).toString('base64'),
    },
    body: SOME_BODY,
    proves: 'bytes',
    fetch: serve({ [PAYPAL_CERTIFICATE]: CERTIFICATE }),
  }),
  paddle: () => ({
    ...overBody(''),
    headers: { 'Paddle-Signature': `ts=${SECONDS};h1=${mac(SECRET, `${SECONDS}:${SOME_BODY}`)}` },
  }),
  woocommerce: () => overBody('X-WC-Webhook-Signature', '', 'base64'),
  plaid: () => ({
    secret: SECRET,
    settings: { clientId: 'client-1', environment: 'sandbox' },
    headers: {
      'Plaid-Verification': jwt(
        { alg: 'ES256', kid: 'p1', typ: 'JWT' },
        { iat: NOW / 1000, request_body_sha256: plainHash(SOME_BODY) },
        p256.privateKey,
      ),
    },
    body: SOME_BODY,
    proves: 'bytes',
    fetch: (url, init) => {
      const asked: unknown = JSON.parse(typeof init?.body === 'string' ? init.body : 'null');
      const right = JSON.stringify(asked) === JSON.stringify({ client_id: 'client-1', secret: SECRET, key_id: 'p1' });
      const page = { key: { ...jwkOf(p256.publicKey, 'p1'), expired_at: null } };
      return serve(right ? { 'https://sandbox.plaid.com/webhook_verification_key/get': page } : {})(url);
    },
  }),
  xero: () => overBody('x-xero-signature', '', 'base64'),

  github: () => overBody('X-Hub-Signature-256', 'sha256='),
  gitlab: () => token({ 'X-Gitlab-Token': SECRET }),
  vercel: () => overBody('x-vercel-signature', '', 'hex', 'sha1'),
  sentry: () => overBody('Sentry-Hook-Signature'),
  pagerduty: () => overBody('X-PagerDuty-Signature', 'v1='),
  linear: () =>
    overBody('Linear-Signature', '', 'hex', 'sha256', JSON.stringify({ type: 'Issue', webhookTimestamp: NOW })),
  jira: () => overBody('X-Hub-Signature', 'sha256='),
  'jira-connect': () => ({
    secret: SECRET,
    settings: { clientKey: 'client-1' },
    headers: {
      Authorization: `JWT ${jwt(
        { alg: 'HS256', typ: 'JWT' },
        { iss: 'client-1', iat: NOW / 1000, exp: NOW / 1000 + 180, qsh: plainHash(QSH_INPUT) },
        SECRET,
      )}`,
    },
    body: SOME_BODY,
    proves: 'nothing',
  }),
  figma: () => ({ ...token({}, JSON.stringify({ event_type: 'FILE_UPDATE', passcode: SECRET })), inBody: SECRET }),

  slack: () => timed('X-Slack-Signature', 'X-Slack-Request-Timestamp', SECONDS, `v0:${SECONDS}:${SOME_BODY}`, 'v0='),
  twilio: () => ({
    secret: SECRET,
    headers: { 'X-Twilio-Signature': mac(SECRET, `${URL_GIVEN}BodyGrüße !CallSidCA1From+1415`, 'base64', 'sha1') },
    body: 'CallSid=CA1&From=%2B1415&Body=Gr%C3%BC%C3%9Fe+%21',
    proves: 'parts',
  }),
  sendgrid: () => ({
    secret: spki(p256.publicKey).toString('base64'),
    headers: {
      'X-Twilio-Email-Event-Webhook-Signature': signBytes(
        'sha256',
        Buffer.from(SECONDS + SOME_BODY),
        p256.privateKey,
      ).toString('base64'),
      'X-Twilio-Email-Event-Webhook-Timestamp': SECONDS,
    },
    body: SOME_BODY,
    proves: 'bytes',
  }),
  discord: () => ({
    secret: spki(ed25519.publicKey).subarray(-32).toString('hex'),
    headers: {
      'X-Signature-Ed25519': signBytes(null, Buffer.from(SECONDS + SOME_BODY), ed25519.privateKey).toString('hex'),
      'X-Signature-Timestamp': SECONDS,
    },
    body: SOME_BODY,
    proves: 'bytes',
  }),
  telegram: () => token({ 'X-Telegram-Bot-Api-Secret-Token': SECRET }, '{"update_id":7}'),
  line: () => overBody('x-line-signature', '', 'base64'),
  meta: () => overBody('X-Hub-Signature-256', 'sha256='),
  intercom: () => overBody('X-Hub-Signature', 'sha1=', 'hex', 'sha1'),
  chatwoot: () => timed('X-Chatwoot-Signature', 'X-Chatwoot-Timestamp', SECONDS, `${SECONDS}.${SOME_BODY}`, 'sha256='),
  zendesk: () =>
    timed('X-Zendesk-Webhook-Signature', 'X-Zendesk-Webhook-Signature-Timestamp', ISO, ISO + SOME_BODY, '', 'base64'),
  sunshine: () => token({ 'X-API-Key': SECRET }),
  mailchimp: () => ({ ...token({}, 'type=subscribe'), url: `${URL_GIVEN}&secret=${encodeURIComponent(SECRET)}` }),
  mandrill: () => ({
    secret: SECRET,
    headers: {
      'X-Mandrill-Signature': mac(SECRET, `${URL_GIVEN}ax ymandrill_events[{"_id":"1"}]`, 'base64', 'sha1'),
    },
    body: FORM,
    proves: 'parts',
  }),
  teams: () => ({
    secret: 'c2VjcmV0LWtleQ==',
    headers: { Authorization: `HMAC ${mac('secret-key', SOME_BODY, 'base64')}` },
    body: SOME_BODY,
    proves: 'bytes',
  }),
  zoom: () => timed('x-zm-signature', 'x-zm-request-timestamp', SECONDS, `v0:${SECONDS}:${SOME_BODY}`, 'v0='),
  klaviyo: () => timed('Klaviyo-Signature', 'Klaviyo-Timestamp', ISO, SOME_BODY + ISO),

  airtable: () => ({
    secret: 'c2VjcmV0LWtleQ==',
    headers: { 'X-Airtable-Content-MAC': `hmac-sha256=${mac('secret-key', SOME_BODY)}` },
    body: SOME_BODY,
    proves: 'bytes',
  }),
  notion: () => overBody('X-Notion-Signature', 'sha256='),
  asana: () => overBody('X-Hook-Signature'),
  trello: () => ({
    ...overBody(''),
    headers: { 'X-Trello-Webhook': mac(SECRET, SOME_BODY + URL_GIVEN, 'base64', 'sha1') },
  }),
  clickup: () => overBody('X-Signature'),
  calendly: () => ({
    ...overBody(''),
    headers: { 'Calendly-Webhook-Signature': `t=${SECONDS},v1=${mac(SECRET, `${SECONDS}.${SOME_BODY}`)}` },
  }),
  typeform: () => overBody('Typeform-Signature', 'sha256=', 'base64'),
  webflow: () => timed('x-webflow-signature', 'x-webflow-timestamp', String(NOW), `${NOW}:${SOME_BODY}`),
  box: () => ({
    ...timed('box-signature-primary', 'box-delivery-timestamp', ISO, SOME_BODY + ISO, '', 'base64'),
    headers: {
      'box-signature-primary': mac(SECRET, SOME_BODY + ISO, 'base64'),
      'box-delivery-timestamp': ISO,
      'box-signature-version': '1',
      'box-signature-algorithm': 'HmacSHA256',
    },
  }),
  dropbox: () => overBody('X-Dropbox-Signature'),
  hubspot: () => ({
    secret: SECRET,
    settings: { version: 'v3' },
    headers: {
      'X-HubSpot-Signature-v3': mac(SECRET, `POST${URL_GIVEN}${hubspotBody}${NOW}`, 'base64'),
      'X-HubSpot-Request-Timestamp': String(NOW),
    },
    body: hubspotBody,
    proves: 'bytes',
  }),

  sns: () => sns(),
  'google-channel': () =>
    token({
      'X-Goog-Channel-Token': SECRET,
      'X-Goog-Channel-ID': 'channel-1',
      'X-Goog-Message-Number': '2',
      'X-Goog-Resource-State': 'update',
    }),
  'google-pubsub': () =>
    google(
      { audience: URL_GIVEN, email: 'push@project.iam.gserviceaccount.com' },
      {
        iss: 'https://accounts.google.com',
        aud: URL_GIVEN,
        email: 'push@project.iam.gserviceaccount.com',
        email_verified: true,
      },
    ),
  'google-chat': () =>
    google({ audience: URL_GIVEN }, { iss: 'accounts.google.com', aud: URL_GIVEN, email: CHAT, email_verified: true }),
  'google-chat-project': () =>
    google(
      { audience: '1234567890' },
      { iss: CHAT, aud: '1234567890' },
      `https://www.googleapis.com/service_accounts/v1/jwk/${CHAT}`,
    ),
  'microsoft-graph': () => ({
    ...token({}, JSON.stringify({ value: [{ clientState: SECRET, changeType: 'updated' }] })),
    inBody: SECRET,
  }),

  hmac: () => ({
    ...timed('X-Signature', 'X-Time', SECONDS, ''),
    settings: {
      header: 'X-Signature',
      algorithm: 'sha512',
      encoding: 'base64',
      prefix: 'sig:',
      content: '{timestamp}.{body}',
      timestampHeader: 'X-Time',
      eventHeader: 'X-Event',
    },
    headers: {
      'X-Signature': `sig:${mac(SECRET, `${SECONDS}.${SOME_BODY}`, 'base64', 'sha512')}`,
      'X-Time': SECONDS,
    },
  }),
  token: () => ({ ...token({ 'X-Token': `Key ${SECRET}` }), settings: { header: 'X-Token', prefix: 'Key ' } }),
  jwt: () => ({
    settings: {
      jwksUrl: 'https://issuer.example.com/keys',
      algorithms: ['ES256'],
      issuer: 'https://issuer.example.com',
      audience: 'tidegate',
      bodyHashClaim: 'hash',
    },
    headers: {
      Authorization: `Bearer ${jwt(
        { alg: 'ES256', kid: 'k1' },
        { iss: 'https://issuer.example.com', aud: 'tidegate', exp: NOW / 1000 + 60, hash: plainHash(SOME_BODY) },
        p256.privateKey,
      )}`,
    },
    body: SOME_BODY,
    proves: 'bytes',
    fetch: serve({ 'https://issuer.example.com/keys': { keys: [jwkOf(p256.publicKey, 'k1')] } }),
  }),
};

export const sampleOf = (scheme: string): Sample => {
  const make = SAMPLES[scheme];
  if (make === undefined) throw new Error(`There is no sample of ${scheme}.`);
  return make();
};
