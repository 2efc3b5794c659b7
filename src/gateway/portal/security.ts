/** What an operation asks of its callers, in the words of OpenAPI 3.1. */

import type { AuthPlan, RulePlan } from '../../core/route/auth.ts';

export const SECURITY_SCHEMES = {
  bearerKey: { type: 'http', scheme: 'bearer', description: 'An API key.' },
  headerKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
  token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
  basic: { type: 'http', scheme: 'basic', description: 'The id of an API key, and the key.' },
  signature: { type: 'apiKey', in: 'header', name: 'Signature', description: 'A signed request (RFC 9421).' },
  simpleSignature: { type: 'apiKey', in: 'header', name: 'Tidegate-Signature', description: 'A signed request.' },
  certificate: { type: 'mutualTLS' },
  access: { type: 'apiKey', in: 'header', name: 'Cf-Access-Jwt-Assertion', description: 'Cloudflare Access.' },
} as const;

type Scheme = keyof typeof SECURITY_SCHEMES;
type Requirement = Readonly<Partial<Record<Scheme, readonly string[]>>>;

/** The schemes of which one serves. */
function schemesOf(rule: RulePlan): readonly Scheme[] {
  switch (rule.type) {
    case 'key':
      return ['bearerKey', 'headerKey'];
    case 'jwt':
      return ['token'];
    case 'hmac':
      return [rule.format === 'simple' ? 'simpleSignature' : 'signature'];
    case 'mtls':
      return ['certificate'];
    case 'basic':
    case 'access':
      return [rule.type];
  }
}

/** One of these is needed; empty for a public operation. */
export function securityOf({ mode, rules }: AuthPlan): readonly Requirement[] {
  const alternatives = rules.map((rule) => schemesOf(rule).map((scheme): Requirement => ({ [scheme]: rule.scopes })));
  if (mode !== 'all') return alternatives.flat();
  return alternatives.reduce<readonly Requirement[]>(
    (sofar, next) => sofar.flatMap((one) => next.map((other) => ({ ...one, ...other }))),
    [{}],
  );
}
