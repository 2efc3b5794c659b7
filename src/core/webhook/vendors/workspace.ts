/** Documents, tasks, files, forms and customer records. */

import * as v from 'valibot';
import type { Condition, Scheme, SignatureScheme } from '../scheme.ts';
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

const BOX_TOLERANCE_SECONDS = 600;

const HUBSPOT = {
  title: 'HubSpot',
  secretIs: 'the client secret of the app',
  proof: 'signature',
  // A retry has another `attemptNumber`, and ids are not unique by themselves.
  deliveryId: { from: 'members', paths: ['*.eventId', '*.subscriptionId', '*.objectId', '*.occurredAt'] },
  eventType: { paths: ['0.subscriptionType'] },
} as const;

const HUBSPOT_PLAIN = {
  ...HUBSPOT,
  signature: header('X-HubSpot-Signature'),
  keys: [textKey('sha256', 'hex')],
} as const;

const requiresVersion = (version: string): readonly Condition[] => [
  { at: header('X-HubSpot-Signature-Version'), is: [version] },
];

/** https://developers.hubspot.com/docs/api/webhooks/validating-requests */
const HUBSPOT_VERSIONS: Readonly<Record<'v1' | 'v2' | 'v3', SignatureScheme>> = {
  v1: { ...HUBSPOT_PLAIN, requires: requiresVersion('v1'), content: '{secret}{body}' },
  v2: {
    ...HUBSPOT_PLAIN,
    requires: requiresVersion('v2'),
    content: ['{secret}{method}{url}{body}', '{secret}{method}{url:decoded}{body}'],
  },
  v3: {
    ...HUBSPOT,
    signature: header('X-HubSpot-Signature-v3'),
    keys: [base64Hmac()],
    content: ['{method}{url}{body}{timestamp}', '{method}{url:decoded}{body}{timestamp}'],
    timestamp: timeIn({ headers: ['X-HubSpot-Request-Timestamp'] }, 'milliseconds', TOLERANCE_SECONDS),
  },
};

export const WORKSPACE: Readonly<Record<string, Scheme | SchemeRow>> = {
  airtable: {
    title: 'Airtable',
    secretIs: 'the `macSecretBase64` that was given when the webhook was made',
    proof: 'signature',
    signature: header('X-Airtable-Content-MAC'),
    keys: [{ ...hexHmac('hmac-sha256='), secret: { encoding: 'base64' } }],
    content: '{body}',
    deliveryId: BODY_HASH,
  },

  notion: {
    title: 'Notion',
    secretIs: 'the verification token of the subscription',
    secretFrom: 'handshake',
    proof: 'signature',
    signature: header('X-Notion-Signature'),
    keys: [hexHmac('sha256=')],
    content: '{body}',
    deliveryId: { from: 'body', paths: ['id'] },
    eventType: { paths: ['type'] },
    handshakes: [
      {
        when: [{ at: { member: 'verification_token' } }],
        trust: 'awaited',
        answer: { kind: 'adopt', from: { member: 'verification_token' }, ownerConfirms: true },
      },
    ],
  },

  /** Heartbeats have no events. */
  asana: {
    title: 'Asana',
    secretIs: 'the `X-Hook-Secret` of the webhook',
    secretFrom: 'handshake',
    proof: 'signature',
    signature: header('X-Hook-Signature'),
    keys: [hexHmac()],
    content: '{body}',
    deliveryId: BODY_HASH,
    eventType: { paths: ['events.0.action'] },
    handshakes: [
      {
        when: [{ at: header('X-Hook-Secret') }],
        trust: 'awaited',
        answer: { kind: 'adopt', from: header('X-Hook-Secret'), echoHeader: 'X-Hook-Secret' },
      },
      { when: [{ emptyList: 'events' }], trust: 'proof', answer: { kind: 'fixed', ...EMPTY_REPLY } },
    ],
  },

  trello: {
    title: 'Trello',
    secretIs: 'the secret of the Power-Up or app',
    proof: 'signature',
    signature: header('X-Trello-Webhook'),
    keys: [textKey('hmac-sha1', 'base64')],
    content: '{body}{url}',
    deliveryId: { from: 'body', paths: ['action.id'] },
    eventType: { paths: ['action.type'] },
    handshakes: [{ methods: ['HEAD'], when: [], trust: 'nothing', answer: { kind: 'fixed', ...EMPTY_REPLY } }],
  },

  clickup: {
    title: 'ClickUp',
    secretIs: 'the `secret` that was given when the webhook was made',
    proof: 'signature',
    signature: header('X-Signature'),
    keys: [hexHmac()],
    content: '{body}',
    deliveryId: { from: 'members', paths: ['history_items.*.id', 'event', 'webhook_id'] },
    eventType: { paths: ['event'] },
  },

  calendly: {
    title: 'Calendly',
    secretIs: 'the signing key of the subscription',
    proof: 'signature',
    signature: header('Calendly-Webhook-Signature'),
    separator: ',',
    keys: [hexHmac('v1=')],
    content: '{timestamp}.{body}',
    timestamp: timeIn({ entry: 't=' }, 'seconds', TOLERANCE_SECONDS),
    deliveryId: { from: 'body', paths: [] },
    eventType: { paths: ['event'] },
  },

  typeform: {
    title: 'Typeform',
    secretIs: 'the secret that you gave the webhook',
    proof: 'signature',
    signature: header('Typeform-Signature'),
    keys: [base64Hmac('sha256=')],
    content: '{body}',
    deliveryId: { from: 'body', paths: ['event_id'] },
    eventType: { paths: ['event_type'] },
  },

  webflow: {
    title: 'Webflow',
    secretIs: 'the client secret of the app, or the secret of the webhook',
    proof: 'signature',
    signature: header('x-webflow-signature'),
    keys: [hexHmac()],
    content: '{timestamp}:{body}',
    timestamp: timeIn({ headers: ['x-webflow-timestamp'] }, 'milliseconds', TOLERANCE_SECONDS),
    deliveryId: { from: 'body', paths: [] },
    eventType: { paths: ['triggerType'] },
  },

  /** One header for each of the two keys of a rotation. */
  box: {
    title: 'Box',
    secretIs: 'the primary and the secondary signature key',
    requires: [
      { at: header('box-signature-version'), is: ['1'] },
      { at: header('box-signature-algorithm'), is: ['HmacSHA256'] },
    ],
    proof: 'signature',
    signature: header('box-signature-primary', 'box-signature-secondary'),
    keys: [base64Hmac()],
    content: '{body}{timestamp}',
    timestamp: timeIn({ headers: ['box-delivery-timestamp'] }, 'iso', BOX_TOLERANCE_SECONDS),
    deliveryId: { from: 'body', paths: ['id'] },
    eventType: { paths: ['trigger'] },
  },

  /** The body names accounts only: one change and the next have the same bytes. */
  dropbox: {
    title: 'Dropbox',
    secretIs: 'the app secret',
    proof: 'signature',
    signature: header('X-Dropbox-Signature'),
    keys: [hexHmac()],
    content: '{body}',
    deliveryId: { from: 'arrival' },
    handshakes: [
      {
        methods: ['GET'],
        when: [{ at: { query: 'challenge' } }],
        trust: 'nothing',
        answer: { kind: 'echo', from: { query: 'challenge' } },
      },
    ],
  },

  /** v1 and v2 are hashes without a key, to which whoever has one delivery could append; v3 is an HMAC. */
  hubspot: withSettings(
    'HubSpot',
    v.strictObject({
      version: v.pipe(
        v.optional(v.picklist(['v1', 'v2', 'v3']), 'v3'),
        v.description('The version of the signature. Prefer v3.'),
      ),
    }),
    { version: 'v3' },
    ({ version }) => HUBSPOT_VERSIONS[version],
  ),
};
