/** Code, deployments, incidents and issues. */

import * as v from 'valibot';
import type { Scheme } from '../scheme.ts';
import { BODY_HASH, header, hexHmac, textKey, timeIn, withSettings, type SchemeRow } from './row.ts';

const LINEAR_TOLERANCE_SECONDS = 60;

export const DEVELOPMENT: Readonly<Record<string, Scheme | SchemeRow>> = {
  /** `X-Hub-Signature` (SHA-1) and `X-GitHub-Delivery` (not signed) are not looked at. */
  github: {
    title: 'GitHub',
    secretIs: 'the secret that you gave the webhook',
    proof: 'signature',
    signature: header('X-Hub-Signature-256'),
    keys: [hexHmac('sha256=')],
    content: '{body}',
    deliveryId: BODY_HASH,
    eventType: { headers: ['X-GitHub-Event'] },
  },

  gitlab: {
    title: 'GitLab (secret token)',
    secretIs: 'the secret token that you gave the webhook',
    proof: 'token',
    token: header('X-Gitlab-Token'),
    deliveryId: { from: 'body', paths: [] },
    eventType: { headers: ['X-Gitlab-Event'] },
  },

  vercel: {
    title: 'Vercel',
    secretIs: 'the secret that was shown when the webhook was made, or the client secret of the integration',
    proof: 'signature',
    signature: header('x-vercel-signature'),
    keys: [textKey('hmac-sha1', 'hex')],
    content: '{body}',
    deliveryId: { from: 'body', paths: ['id'] },
    eventType: { paths: ['type'] },
  },

  /** `Sentry-Hook-Timestamp` is not signed. */
  sentry: {
    title: 'Sentry',
    secretIs: 'the client secret of the integration',
    proof: 'signature',
    signature: header('Sentry-Hook-Signature'),
    keys: [hexHmac()],
    content: '{body}',
    deliveryId: BODY_HASH,
    eventType: { headers: ['Sentry-Hook-Resource'] },
  },

  pagerduty: {
    title: 'PagerDuty (V3)',
    secretIs: 'the secret that was shown when the subscription was made',
    proof: 'signature',
    signature: header('X-PagerDuty-Signature'),
    separator: ',',
    keys: [hexHmac('v1=')],
    content: '{body}',
    deliveryId: { from: 'body', paths: ['event.id'] },
    eventType: { paths: ['event.event_type'] },
  },

  /** The time of sending stands in the body, so the body of a retry is another. */
  linear: {
    title: 'Linear',
    secretIs: 'the signing secret of the webhook',
    proof: 'signature',
    signature: header('Linear-Signature'),
    keys: [hexHmac()],
    content: '{body}',
    timestamp: {
      ...timeIn({ member: 'webhookTimestamp' }, 'milliseconds', LINEAR_TOLERANCE_SECONDS),
      optional: true,
    },
    deliveryId: {
      from: 'members',
      paths: ['createdAt', 'organizationId', 'type', 'action', 'data.id', 'data.updatedAt'],
    },
    eventType: { paths: ['type'] },
  },

  jira: {
    title: 'Jira Cloud (webhook with a secret)',
    secretIs: 'the secret that you gave the webhook',
    proof: 'signature',
    signature: header('X-Hub-Signature'),
    keys: [hexHmac('sha256=')],
    content: '{body}',
    deliveryId: BODY_HASH,
    eventType: { paths: ['webhookEvent'] },
  },

  /** https://developer.atlassian.com/cloud/jira/platform/understanding-jwt-for-connect-apps/ */
  'jira-connect': withSettings(
    'Jira Cloud (Connect app)',
    v.strictObject({
      clientKey: v.pipe(v.string(), v.minLength(1), v.description('`clientKey` of the installation.')),
      basePath: v.optional(
        v.pipe(v.string(), v.regex(/^(?:\/[^/?#]+)*$/), v.description('The path of the `baseUrl` of the app.')),
        '',
      ),
    }),
    { clientKey: 'unique-client-identifier' },
    ({ clientKey, basePath }) => ({
      title: 'Jira Cloud (Connect app)',
      secretIs: 'the `sharedSecret` of the installation',
      proof: 'jwt',
      token: header('Authorization'),
      prefix: 'JWT ',
      algorithms: ['HS256'],
      keys: { from: 'secret' },
      issuers: [clientKey],
      requestHash: { claim: 'qsh', basePath },
      deliveryId: { from: 'body', paths: [] },
      eventType: { paths: ['webhookEvent'] },
    }),
  ),

  figma: {
    title: 'Figma',
    secretIs: 'the passcode that you gave the webhook',
    proof: 'token',
    token: { member: 'passcode' },
    deliveryId: { from: 'body', paths: [] },
    eventType: { paths: ['event_type'] },
  },
};
