/**
 * The signature schemes that sources may name. Facts are the vendors' own; where a vendor signs neither
 * an id nor a timestamp, nothing but the body tells one delivery from another.
 */

import { LIMITS } from '../limits.ts';
import type { KeyForm, Scheme } from './scheme.ts';

const TOLERANCE_SECONDS = LIMITS.webhookToleranceSeconds;

/** HMAC-SHA256 in hex with the characters of the secret as key: what most vendors do. */
const hexHmac = (prefix: string): KeyForm => ({
  algorithm: 'hmac-sha256',
  prefix,
  encoding: 'hex',
  secret: { encoding: 'text' },
});

export const FIXED_SCHEMES = {
  /** https://github.com/standard-webhooks/standard-webhooks; also Svix and those who send through it. */
  standard: {
    title: 'Standard Webhooks',
    signatureHeaders: ['webhook-signature', 'svix-signature'],
    separator: ' ',
    keys: [
      {
        algorithm: 'ed25519',
        prefix: 'v1a,',
        encoding: 'base64',
        secret: { encoding: 'base64', tag: 'whpk_', signingTag: 'whsk_' },
      },
      {
        algorithm: 'hmac-sha256',
        prefix: 'v1,',
        encoding: 'base64',
        secret: { encoding: 'base64', tag: 'whsec_', tagOptional: true },
      },
    ],
    content: '{id}.{timestamp}.{body}',
    idHeaders: ['webhook-id', 'svix-id'],
    timestamp: {
      from: { headers: ['webhook-timestamp', 'svix-timestamp'] },
      unit: 'seconds',
      toleranceSeconds: TOLERANCE_SECONDS,
    },
    deliveryId: { from: 'header' },
    eventType: { paths: ['type'] },
  },

  /** The secret begins with `whsec_` too, but its characters are the key. `v0` is a test signature. */
  stripe: {
    title: 'Stripe',
    signatureHeaders: ['Stripe-Signature'],
    separator: ',',
    keys: [hexHmac('v1=')],
    content: '{timestamp}.{body}',
    timestamp: { from: { entry: 't=' }, unit: 'seconds', toleranceSeconds: TOLERANCE_SECONDS },
    deliveryId: { from: 'body', paths: ['id'] },
    eventType: { paths: ['type'] },
  },

  /** `X-Hub-Signature` (SHA-1) and `X-GitHub-Delivery` (not signed) are not looked at. */
  github: {
    title: 'GitHub',
    signatureHeaders: ['X-Hub-Signature-256'],
    keys: [hexHmac('sha256=')],
    content: '{body}',
    deliveryId: { from: 'content' },
    eventType: { headers: ['X-GitHub-Event'] },
  },

  slack: {
    title: 'Slack',
    signatureHeaders: ['X-Slack-Signature'],
    keys: [hexHmac('v0=')],
    content: 'v0:{timestamp}:{body}',
    timestamp: {
      from: { headers: ['X-Slack-Request-Timestamp'] },
      unit: 'seconds',
      toleranceSeconds: TOLERANCE_SECONDS,
    },
    deliveryId: { from: 'body', paths: ['event_id'] },
    eventType: { paths: ['event.type', 'type'] },
  },

  /** Newer "Events" deliveries carry the same headers without `X-`. */
  shopify: {
    title: 'Shopify',
    signatureHeaders: ['X-Shopify-Hmac-Sha256', 'Shopify-Hmac-Sha256'],
    keys: [{ algorithm: 'hmac-sha256', prefix: '', encoding: 'base64', secret: { encoding: 'text' } }],
    content: '{body}',
    deliveryId: { from: 'content' },
    eventType: { headers: ['X-Shopify-Topic', 'Shopify-Topic'] },
  },

  pagerduty: {
    title: 'PagerDuty (V3)',
    signatureHeaders: ['X-PagerDuty-Signature'],
    separator: ',',
    keys: [hexHmac('v1=')],
    content: '{body}',
    deliveryId: { from: 'body', paths: ['event.id'] },
    eventType: { paths: ['event.event_type'] },
  },

  /** The secret is `macSecretBase64` as Airtable gave it. */
  airtable: {
    title: 'Airtable',
    signatureHeaders: ['X-Airtable-Content-MAC'],
    keys: [{ algorithm: 'hmac-sha256', prefix: 'hmac-sha256=', encoding: 'hex', secret: { encoding: 'base64' } }],
    content: '{body}',
    deliveryId: { from: 'content' },
  },
} as const satisfies Record<string, Scheme>;
