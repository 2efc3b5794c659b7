/** Standard Webhooks, and vendors that send by it: their sources may bear the vendor's name. */

import type { SignatureScheme } from '../scheme.ts';
import { header, timeIn, TOLERANCE_SECONDS } from './row.ts';

/** https://github.com/standard-webhooks/standard-webhooks */
const standard = (title: string): SignatureScheme => ({
  title,
  secretIs: 'the signing secret (`whsec_…`), or the public key (`whpk_…`) where the sender signs by Ed25519',
  proof: 'signature',
  signature: header('webhook-signature', 'svix-signature'),
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
  timestamp: timeIn({ headers: ['webhook-timestamp', 'svix-timestamp'] }, 'seconds', TOLERANCE_SECONDS),
  deliveryId: { from: 'header' },
  eventType: { paths: ['type'] },
});

export const STANDARD = {
  standard: standard('Standard Webhooks'),
  svix: standard('Svix'),
  clerk: standard('Clerk'),
  resend: standard('Resend'),
  openai: standard('OpenAI'),
  'gitlab-signed': { ...standard('GitLab (signing token)'), eventType: { headers: ['X-Gitlab-Event'] } },
} as const;
