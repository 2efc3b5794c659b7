/** Shops, payments and accounts. */

import * as v from 'valibot';
import type { Scheme } from '../scheme.ts';
import {
  base64Hmac,
  BODY_HASH,
  EMPTY_REPLY,
  header,
  hexHmac,
  textKey,
  timeIn,
  TOLERANCE_SECONDS,
  withSettings,
  type SchemeRow,
} from './row.ts';

const SHOPIFY_TOLERANCE_SECONDS = 90;

/** The eight members of an item that Adyen signs, in its order. */
const ADYEN_ITEM = [
  'pspReference',
  'originalReference',
  'merchantAccountCode',
  'merchantReference',
  'amount.value',
  'amount.currency',
  'eventCode',
  'success',
];
const adyenContent = (field: string): string => ADYEN_ITEM.map((path) => `{${field}:${path}}`).join(':');

const FORM_TYPES = ['application/x-www-form-urlencoded', 'application/x-www-form-urlencoded; charset=UTF-8'];

const ADYEN_KEY = { ...base64Hmac(), secret: { encoding: 'hex' } } as const;
const ADYEN_SECRET = 'the HMAC key (hex) of the webhook';

export const COMMERCE: Readonly<Record<string, Scheme | SchemeRow>> = {
  /** The secret begins with `whsec_` too, but its characters are the key. `v0` is a test signature. */
  stripe: {
    title: 'Stripe',
    secretIs: 'the signing secret of the endpoint (`whsec_…`)',
    proof: 'signature',
    signature: header('Stripe-Signature'),
    separator: ',',
    keys: [hexHmac('v1=')],
    content: '{timestamp}.{body}',
    timestamp: timeIn({ entry: 't=' }, 'seconds', TOLERANCE_SECONDS),
    deliveryId: { from: 'body', paths: ['id'] },
    eventType: { paths: ['type'] },
  },

  /** Newer "Events" deliveries carry the same headers without `X-`. */
  shopify: {
    title: 'Shopify',
    secretIs: 'the client secret of the app',
    proof: 'signature',
    signature: header('X-Shopify-Hmac-Sha256', 'Shopify-Hmac-Sha256'),
    keys: [base64Hmac()],
    content: '{body}',
    deliveryId: BODY_HASH,
    eventType: { headers: ['X-Shopify-Topic', 'Shopify-Topic'] },
  },

  /** The SDKs differ in the escapes of what they sign, which shows only in unusual values. */
  'shopify-oauth': {
    title: 'Shopify (OAuth callback)',
    secretIs: 'the client secret of the app',
    methods: ['GET'],
    proof: 'signature',
    signature: { query: 'hmac' },
    keys: [hexHmac()],
    content: ['{query:encoded}', '{query:escaped}'],
    timestamp: timeIn({ query: 'timestamp' }, 'seconds', SHOPIFY_TOLERANCE_SECONDS),
    deliveryId: { from: 'content' },
  },

  /** Nothing stands between the parameters, so the ones that Shopify adds must all be there. */
  'shopify-proxy': {
    title: 'Shopify (app proxy)',
    secretIs: 'the client secret of the app',
    methods: ['GET', 'POST'],
    requires: [{ at: { query: 'shop' } }, { at: { query: 'path_prefix' } }],
    proof: 'signature',
    signature: { query: 'signature' },
    keys: [hexHmac()],
    content: '{query:joined}',
    timestamp: timeIn({ query: 'timestamp' }, 'seconds', SHOPIFY_TOLERANCE_SECONDS),
    deliveryId: { from: 'content' },
  },

  square: {
    title: 'Square',
    secretIs: 'the signature key of the subscription',
    proof: 'signature',
    signature: header('x-square-hmacsha256-signature'),
    keys: [base64Hmac()],
    content: '{url}{body}',
    deliveryId: { from: 'body', paths: ['event_id'] },
    eventType: { paths: ['type'] },
  },

  /** Adyen's documentation escapes what it joins, its newer SDKs do not. */
  adyen: {
    title: 'Adyen (standard webhooks)',
    secretIs: ADYEN_SECRET,
    proof: 'signature',
    signature: { member: 'additionalData.hmacSignature' },
    items: { list: 'notificationItems', member: 'NotificationRequestItem' },
    keys: [ADYEN_KEY],
    content: [adyenContent('member'), adyenContent('escaped')],
    deliveryId: { from: 'content' },
    eventType: { paths: ['notificationItems.0.NotificationRequestItem.eventCode'] },
    reply: { status: 200, body: '[accepted]' },
  },

  'adyen-platform': {
    title: 'Adyen (banking and platform webhooks)',
    secretIs: ADYEN_SECRET,
    proof: 'signature',
    signature: header('HmacSignature'),
    keys: [ADYEN_KEY],
    content: '{body}',
    deliveryId: BODY_HASH,
    eventType: { paths: ['type'] },
    reply: { status: 200, body: '[accepted]' },
  },

  /** Of the body only a checksum is signed, so only the id of the transmission tells a delivery from another. */
  paypal: {
    title: 'PayPal',
    secretIs: 'the id of the webhook, as PayPal shows it',
    requires: [{ at: header('PAYPAL-AUTH-ALGO'), is: ['SHA256withRSA'] }],
    proof: 'signature',
    signature: header('PAYPAL-TRANSMISSION-SIG'),
    keys: [textKey('rsa-sha256', 'base64')],
    certificate: {
      url: header('PAYPAL-CERT-URL'),
      allowed: { host: /^api(?:-m)?(?:\.sandbox)?\.paypal\.com$/, path: /^\/v1\/notifications\/certs\/[\w-]+$/ },
    },
    content: '{id}|{timestamp}|{secret}|{crc32}',
    idHeaders: ['PAYPAL-TRANSMISSION-ID'],
    timestamp: timeIn({ headers: ['PAYPAL-TRANSMISSION-TIME'] }, 'iso'),
    deliveryId: { from: 'header' },
    eventType: { paths: ['event_type'] },
  },

  paddle: {
    title: 'Paddle',
    secretIs: 'the secret key of the notification destination',
    proof: 'signature',
    signature: header('Paddle-Signature'),
    separator: ';',
    keys: [hexHmac('h1=')],
    content: '{timestamp}:{body}',
    timestamp: timeIn({ entry: 'ts=' }, 'seconds', TOLERANCE_SECONDS),
    deliveryId: { from: 'body', paths: ['event_id'] },
    eventType: { paths: ['event_type'] },
  },

  /** When a webhook is saved, the shop sends a form with its number and no signature, and wants a 200. */
  woocommerce: {
    title: 'WooCommerce',
    secretIs: 'the secret that you gave the webhook',
    proof: 'signature',
    signature: header('X-WC-Webhook-Signature'),
    keys: [base64Hmac()],
    content: '{body}',
    deliveryId: BODY_HASH,
    eventType: { headers: ['X-WC-Webhook-Topic'] },
    handshakes: [
      {
        when: [{ absent: header('X-WC-Webhook-Signature') }, { at: header('content-type'), is: FORM_TYPES }],
        trust: 'nothing',
        answer: { kind: 'fixed', ...EMPTY_REPLY },
      },
    ],
  },

  /** https://plaid.com/docs/api/webhooks/webhook-verification/ */
  plaid: withSettings(
    'Plaid',
    v.strictObject({
      clientId: v.pipe(v.string(), v.minLength(1), v.description('`client_id` of your Plaid account.')),
      environment: v.optional(v.picklist(['production', 'sandbox']), 'production'),
    }),
    { clientId: '5e0f4a…' },
    ({ clientId, environment }) => ({
      title: 'Plaid',
      secretIs: 'the secret of your Plaid account in that environment',
      proof: 'jwt',
      token: header('Plaid-Verification'),
      prefix: '',
      algorithms: ['ES256'],
      keys: {
        from: 'lookup',
        url: `https://${environment}.plaid.com/webhook_verification_key/get`,
        body: { client_id: clientId, secret: '{secret}', key_id: '{kid}' },
        member: 'key',
      },
      maximumAgeSeconds: TOLERANCE_SECONDS,
      bodyHashClaim: 'request_body_sha256',
      deliveryId: { from: 'content' },
      eventType: { paths: ['webhook_code'] },
    }),
  ),

  /** "Intent to receive" is a signed body without events: a right signature wants 200, a wrong one 401. */
  xero: {
    title: 'Xero',
    secretIs: 'the webhooks key of the app',
    proof: 'signature',
    signature: header('x-xero-signature'),
    keys: [base64Hmac()],
    content: '{body}',
    deliveryId: BODY_HASH,
    eventType: { paths: ['events.0.eventType'] },
    handshakes: [{ when: [{ emptyList: 'events' }], trust: 'proof', answer: { kind: 'fixed', ...EMPTY_REPLY } }],
    reply: EMPTY_REPLY,
  },
};
