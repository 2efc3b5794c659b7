/**
 * Client certificates that Cloudflare has verified.
 *
 * Guarantee: only what the platform says of the TLS connection counts, never a header. Where the gateway runs
 * without Cloudflare in front, anybody could say it, and so every certificate is refused there.
 */

import * as v from 'valibot';
import type { Check } from './attempt.ts';
import { fail, ok } from '../../core/errors.ts';

const text = v.optional(v.string(), '');

const schema = v.object({
  certPresented: v.literal('1'),
  certVerified: text,
  certRevoked: text,
  certFingerprintSHA256: text,
  certSubjectDN: text,
  certSubjectDNRFC2253: text,
  certIssuerDN: text,
  certIssuerDNRFC2253: text,
});

export const byCertificate: Check<'mtls'> = ({ subjects, fingerprints, issuers }, { exchange: { request, env } }) => {
  const local = (env.TIDEGATE_LOCAL ?? '') !== '';
  const presented = v.safeParse(schema, local ? undefined : request.cf?.['tlsClientAuth']);
  if (!presented.success) return fail('auth.missing', 'This route needs a client certificate.');
  const { certVerified, certRevoked, ...certificate } = presented.output;
  if (certVerified !== 'SUCCESS' || certRevoked === '1') {
    return fail('auth.invalid', 'The client certificate is not valid, or was revoked.');
  }
  const fingerprint = certificate.certFingerprintSHA256.toLowerCase();
  const met =
    (fingerprints.size === 0 || fingerprints.has(fingerprint)) &&
    (subjects.size === 0 ||
      subjects.has(certificate.certSubjectDN) ||
      subjects.has(certificate.certSubjectDNRFC2253)) &&
    (issuers.size === 0 || issuers.has(certificate.certIssuerDN) || issuers.has(certificate.certIssuerDNRFC2253));
  // All of them are named by the rule, so one of another fingerprint is another caller.
  if (!met || fingerprint === '') return fail('auth.forbidden', 'This client certificate is not let in here.');
  return ok({ kind: 'mtls', id: `mtls:${fingerprint}`, tenant: undefined, scopes: [] });
};
