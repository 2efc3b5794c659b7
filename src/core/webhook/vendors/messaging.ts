/** Messages, mail, calls and support. */

import * as v from 'valibot';
import type { Handshake, Scheme } from '../scheme.ts';
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

/** The vendor asks whether the address is there before it sends anything. */
const probe = (method: string, trust: Handshake['trust'] = 'nothing'): Handshake => ({
  methods: [method],
  when: [],
  trust,
  answer: { kind: 'fixed', ...EMPTY_REPLY },
});

export const MESSAGING: Readonly<Record<string, Scheme | SchemeRow>> = {
  /** A slash command shows what it is answered, hence the empty reply. */
  slack: {
    title: 'Slack',
    secretIs: 'the signing secret of the app',
    proof: 'signature',
    signature: header('X-Slack-Signature'),
    keys: [hexHmac('v0=')],
    content: 'v0:{timestamp}:{body}',
    timestamp: timeIn({ headers: ['X-Slack-Request-Timestamp'] }, 'seconds', TOLERANCE_SECONDS),
    deliveryId: { from: 'body', paths: ['event_id'] },
    eventType: { paths: ['event.type', 'type'] },
    handshakes: [
      {
        when: [{ at: { member: 'type' }, is: ['url_verification'] }],
        trust: 'proof',
        answer: { kind: 'echo', from: { member: 'challenge' } },
      },
    ],
    reply: EMPTY_REPLY,
  },

  /** Which spelling of the URL was signed depends on the product and its age; twilio-node tries these. */
  twilio: {
    title: 'Twilio',
    secretIs: 'the auth token of the account',
    methods: ['POST', 'GET'],
    proof: 'signature',
    signature: header('X-Twilio-Signature'),
    keys: [textKey('hmac-sha1', 'base64')],
    content: [
      '{url}{form}',
      '{url:portless}{form}',
      '{url:ported}{form}',
      '{url:requoted}{form}',
      '{url:requoted-ported}{form}',
    ],
    bodyHashQuery: 'bodySHA256',
    deliveryId: { from: 'content' },
    reply: { status: 200, type: 'text/xml', body: '<Response/>' },
  },

  sendgrid: {
    title: 'SendGrid (Event Webhook)',
    secretIs: 'the public key of the signed event webhook',
    proof: 'signature',
    signature: header('X-Twilio-Email-Event-Webhook-Signature'),
    keys: [{ ...textKey('ecdsa-p256-sha256', 'base64'), secret: { encoding: 'base64' } }],
    content: '{timestamp}{body}',
    timestamp: timeIn({ headers: ['X-Twilio-Email-Event-Webhook-Timestamp'] }, 'seconds'),
    deliveryId: { from: 'members', paths: ['*.sg_event_id'] },
    eventType: { paths: ['0.event'] },
  },

  /** https://discord.com/developers/docs/interactions/overview; pings of interactions and of events differ. */
  discord: {
    title: 'Discord',
    secretIs: 'the public key (hex) of the application',
    proof: 'signature',
    signature: header('X-Signature-Ed25519'),
    keys: [{ ...textKey('ed25519', 'hex'), secret: { encoding: 'hex' } }],
    content: '{timestamp}{body}',
    timestamp: timeIn({ headers: ['X-Signature-Timestamp'] }, 'seconds'),
    deliveryId: { from: 'body', paths: ['id'] },
    eventType: { paths: ['event.type', 'type'] },
    handshakes: [
      {
        when: [{ at: { member: 'type' }, is: ['1'] }, { absent: { member: 'event.type' } }],
        trust: 'proof',
        answer: { kind: 'fixed', status: 200, type: 'application/json', body: '{"type":1}' },
      },
      { when: [{ at: { member: 'type' }, is: ['0'] }], trust: 'proof', answer: { kind: 'fixed', status: 204 } },
    ],
  },

  telegram: {
    title: 'Telegram',
    secretIs: 'the `secret_token` that you gave `setWebhook`',
    proof: 'token',
    token: header('X-Telegram-Bot-Api-Secret-Token'),
    deliveryId: { from: 'body', paths: ['update_id'] },
  },

  /** A redelivery has another body, and "Verify" sends no events. */
  line: {
    title: 'LINE',
    secretIs: 'the channel secret',
    proof: 'signature',
    signature: header('x-line-signature'),
    keys: [base64Hmac()],
    content: '{body}',
    deliveryId: { from: 'members', paths: ['events.*.webhookEventId'] },
    eventType: { paths: ['events.0.type'] },
    handshakes: [{ when: [{ emptyList: 'events' }], trust: 'proof', answer: { kind: 'fixed', ...EMPTY_REPLY } }],
  },

  /** `X-Hub-Signature` (SHA-1) is not looked at. */
  meta: withSettings(
    'Meta (Facebook, Instagram, WhatsApp)',
    v.strictObject({
      verifyToken: v.optional(
        v.pipe(v.string(), v.minLength(1), v.description('The verify token that you enter where you subscribe.')),
      ),
    }),
    { verifyToken: 'a text of your choice' },
    ({ verifyToken }) => ({
      title: 'Meta (Facebook, Instagram, WhatsApp)',
      secretIs: 'the app secret',
      proof: 'signature',
      signature: header('X-Hub-Signature-256'),
      keys: [hexHmac('sha256=')],
      content: '{body}',
      deliveryId: BODY_HASH,
      eventType: { paths: ['object'] },
      handshakes: [
        {
          methods: ['GET'],
          when: [{ at: { query: 'hub.mode' }, is: ['subscribe'] }],
          trust: { query: 'hub.verify_token', equals: verifyToken },
          answer: { kind: 'echo', from: { query: 'hub.challenge' } },
        },
      ],
    }),
  ),

  intercom: {
    title: 'Intercom',
    secretIs: 'the client secret of the app',
    proof: 'signature',
    signature: header('X-Hub-Signature'),
    keys: [textKey('hmac-sha1', 'hex', 'sha1=')],
    content: '{body}',
    deliveryId: { from: 'body', paths: ['id'] },
    eventType: { paths: ['topic'] },
    handshakes: [probe('HEAD')],
  },

  /** Builds of before 2026 sign nothing and cannot be verified. */
  chatwoot: {
    title: 'Chatwoot',
    secretIs: 'the secret of the webhook',
    proof: 'signature',
    signature: header('X-Chatwoot-Signature'),
    keys: [hexHmac('sha256=')],
    content: '{timestamp}.{body}',
    timestamp: timeIn({ headers: ['X-Chatwoot-Timestamp'] }, 'seconds', TOLERANCE_SECONDS),
    deliveryId: { from: 'body', paths: [] },
    eventType: { paths: ['event'] },
  },

  /** Bodies are the owner's own and may be the same for different events, so the time counts. */
  zendesk: {
    title: 'Zendesk',
    secretIs: 'the signing secret of the webhook',
    methods: ['POST', 'PUT', 'PATCH', 'DELETE', 'GET'],
    proof: 'signature',
    signature: header('X-Zendesk-Webhook-Signature'),
    keys: [base64Hmac()],
    content: '{timestamp}{body}',
    timestamp: timeIn({ headers: ['X-Zendesk-Webhook-Signature-Timestamp'] }, 'iso'),
    deliveryId: { from: 'content' },
    eventType: { paths: ['type'] },
  },

  sunshine: {
    title: 'Zendesk Sunshine Conversations',
    secretIs: 'the secret of the webhook',
    proof: 'token',
    token: header('X-API-Key'),
    deliveryId: { from: 'members', paths: ['events.*.id'] },
    eventType: { paths: ['events.0.type'] },
  },

  mailchimp: {
    title: 'Mailchimp Marketing',
    secretIs: 'a text of your choice; the URL that you give Mailchimp ends in `?secret=` and that text',
    proof: 'token',
    token: { query: 'secret' },
    deliveryId: { from: 'body', paths: [] },
    handshakes: [probe('GET', 'proof')],
  },

  mandrill: {
    title: 'Mandrill',
    secretIs: 'the key of the webhook',
    proof: 'signature',
    signature: header('X-Mandrill-Signature'),
    keys: [textKey('hmac-sha1', 'base64')],
    content: '{url}{form}',
    deliveryId: { from: 'content' },
    handshakes: [probe('HEAD')],
  },

  /** What is answered is posted to the conversation. */
  teams: {
    title: 'Microsoft Teams (outgoing webhook)',
    secretIs: 'the security token (base64) of the outgoing webhook',
    proof: 'signature',
    signature: header('Authorization'),
    keys: [{ ...base64Hmac('HMAC '), secret: { encoding: 'base64' } }],
    content: '{body}',
    deliveryId: { from: 'body', paths: ['id'] },
    eventType: { paths: ['type'] },
    reply: { status: 200, type: 'application/json', body: '{"type":"message","text":"Received."}' },
  },

  zoom: {
    title: 'Zoom',
    secretIs: 'the secret token of the app',
    proof: 'signature',
    signature: header('x-zm-signature'),
    keys: [hexHmac('v0=')],
    content: 'v0:{timestamp}:{body}',
    timestamp: timeIn({ headers: ['x-zm-request-timestamp'] }, 'seconds', TOLERANCE_SECONDS),
    deliveryId: { from: 'body', paths: [] },
    eventType: { paths: ['event'] },
    handshakes: [
      {
        when: [{ at: { member: 'event' }, is: ['endpoint.url_validation'] }],
        trust: 'proof',
        answer: {
          kind: 'sign',
          from: { member: 'payload.plainToken' },
          plain: 'plainToken',
          signed: 'encryptedToken',
        },
      },
    ],
  },

  klaviyo: {
    title: 'Klaviyo',
    secretIs: 'the secret key that you gave the webhook',
    proof: 'signature',
    signature: header('Klaviyo-Signature'),
    keys: [hexHmac()],
    content: '{body}{timestamp}',
    timestamp: timeIn({ headers: ['Klaviyo-Timestamp'] }, 'any'),
    deliveryId: { from: 'body', paths: [] },
  },
};
