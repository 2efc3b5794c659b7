/**
 * Who may call: the policy `auth` of routes and HTTP triggers, as its author writes it and as it is obeyed.
 *
 * Guarantee: a token is held to an algorithm that the author, not the token, chose; shared secrets and public
 * keys never serve the same rule, so that none can pass for the other.
 */

import * as v from 'valibot';
import { DURATION, parseDuration } from '../chain/duration.ts';
import { at, type IssueList } from '../chain/issues.ts';
import { LIMITS } from '../limits.ts';
import { KEY_SCOPE } from './key.ts';

const ASYMMETRIC = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'] as const;
const SYMMETRIC = ['HS256', 'HS384', 'HS512'] as const;

const text = (description: string, example: string) =>
  v.pipe(v.string(), v.minLength(1), v.maxLength(2_048), v.examples([example]), v.description(description));

const oneOrMore = (description: string, example: string) =>
  v.pipe(
    v.union([
      v.pipe(v.string(), v.minLength(1), v.maxLength(2_048)),
      v.pipe(v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(2_048))), v.minLength(1), v.maxLength(16)),
    ]),
    v.examples([example]),
    v.description(description),
  );

const duration = (description: string) =>
  v.pipe(v.string(), v.regex(DURATION), v.examples(['30s', '5m']), v.description(description));

/** RFC 6749, section 3.3. */
const SCOPE_TOKEN = /^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/;

const scopesOf = (form: RegExp, description: string) =>
  v.optional(
    v.pipe(
      v.array(v.pipe(v.string(), v.regex(form))),
      v.maxLength(32),
      v.examples([['orders:read']]),
      v.description(description),
    ),
    [],
  );

const keyScopes = scopesOf(KEY_SCOPE, 'Scopes that the key needs besides that of the chain or route.');

const plainValue = v.union([v.string(), v.number(), v.boolean()]);

const key = v.strictObject({
  type: v.pipe(v.literal('key'), v.description('An API key, as `Authorization: Bearer` or in the header `X-API-Key`.')),
  scopes: keyScopes,
});

const jwt = v.strictObject({
  type: v.pipe(v.literal('jwt'), v.description('A signed token (JWT) as `Authorization: Bearer`.')),
  issuer: text('Who signs the tokens: their `iss`, to the letter.', 'https://login.example.com'),
  audience: oneOrMore('For whom they are: one of these stands in their `aud`.', 'https://api.example.com'),
  jwksUrl: v.optional(
    text(
      'Where the keys of the issuer are. Default: what `/.well-known/openid-configuration` of the issuer says.',
      'https://login.example.com/jwks',
    ),
  ),
  algorithms: v.optional(
    v.pipe(
      v.array(v.picklist([...ASYMMETRIC, ...SYMMETRIC])),
      v.minLength(1),
      v.description('The algorithms that a signature may have. Default: all with a public key.'),
    ),
  ),
  sharedKey: v.optional(
    text(
      'The id of the API key whose signing secret signs the tokens. For the algorithms `HS…`, and only for them.',
      '0f8b6c1e-9a52-4f0e-8a56-6d1f2f1b7a10',
    ),
  ),
  clockTolerance: v.optional(duration('How far the clock of the issuer may be off. At most 5m.'), '30s'),
  requiredClaims: v.optional(
    v.pipe(
      v.record(v.string(), v.union([plainValue, v.pipe(v.array(plainValue), v.minLength(1))])),
      v.maxEntries(16),
      v.examples([{ email_verified: true }]),
      v.description('Claims and their value, or a list of which they have one. `"*"` stands for any value.'),
    ),
    {},
  ),
  scopes: scopesOf(SCOPE_TOKEN, 'The token needs all of these, in its claim `scope` or `scp`.'),
  tenantClaim: v.optional(text('The claim that names the end customer; a token without it is refused.', 'org_id')),
});

const hmac = v.strictObject({
  type: v.pipe(v.literal('hmac'), v.description('A request that is signed by the signing secret of an API key.')),
  format: v.optional(
    v.pipe(
      v.picklist(['message-signatures', 'simple']),
      v.description(
        '`message-signatures`: RFC 9421, with `hmac-sha256` or `ed25519`. `simple`: an HMAC over timestamp, method, path and body.',
      ),
    ),
    'message-signatures',
  ),
  window: v.optional(duration('How old a signature may be; within, it is good for one request. At most 15m.'), '5m'),
  scopes: keyScopes,
});

const basic = v.strictObject({
  type: v.pipe(v.literal('basic'), v.description('Basic authentication: the id of an API key, and the key.')),
  scopes: keyScopes,
});

const certificateList = (description: string, example: string) =>
  v.optional(
    v.pipe(
      v.array(v.pipe(v.string(), v.minLength(1), v.maxLength(1_024))),
      v.maxLength(256),
      v.examples([[example]]),
      v.description(description),
    ),
    [],
  );

const mtls = v.strictObject({
  type: v.pipe(v.literal('mtls'), v.description('A client certificate that Cloudflare has verified.')),
  subjects: certificateList('Distinguished names of which the certificate has one.', 'CN=till-1,O=Example'),
  fingerprints: certificateList('SHA-256 of certificates, in hex.', '6f…'),
  issuers: certificateList('Distinguished names of which its issuer has one.', 'CN=Example CA,O=Example'),
});

const access = v.strictObject({
  type: v.pipe(v.literal('access'), v.description('A person or service that Cloudflare Access has let in.')),
  team: v.pipe(
    v.string(),
    v.regex(/^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/),
    v.examples(['example']),
    v.description('The team: `example` of `example.cloudflareaccess.com`.'),
  ),
  audience: oneOrMore('The audience tag (AUD) of the application.', '4714c1358e65fe4b408ad6d432a5f878f08194bd…'),
});

const ruleObject = v.variant('type', [key, jwt, hmac, basic, mtls, access]);
const rule = v.union([v.literal('key'), ruleObject]);
const rules = (description: string) =>
  v.pipe(v.array(rule), v.minLength(1), v.maxLength(LIMITS.authRules), v.description(description));

export const authSchema = v.pipe(
  v.union([
    v.picklist(['key', 'public']),
    v.strictObject({ any: rules('One of these rules must be met.') }),
    v.strictObject({ all: rules('All of these rules must be met; the first says who calls.') }),
    // The last: where two kinds have as many mistakes, those of the first are told.
    ruleObject,
  ]),
  v.description(
    'Who may call. `key`: whoever presents an API key; `public`: anybody; or a rule of type `key`, `jwt`, `hmac`, `basic`, `mtls` or `access`, or several: see [keys](keys.md).',
  ),
);

export type AuthDocument = v.InferOutput<typeof authSchema>;
type RuleDocument = v.InferOutput<typeof rule>;

/** What a token is held to. */
export interface TokenRule {
  readonly issuer: string;
  readonly audience: readonly string[];
  /** Undefined: by discovery. */
  readonly jwksUrl: string | undefined;
  readonly algorithms: readonly string[];
  /** Id of the API key whose secret signs. */
  readonly sharedKey: string | undefined;
  readonly clockToleranceSeconds: number;
  /** The values that a claim may have; undefined: any. */
  readonly requiredClaims: ReadonlyMap<string, readonly (string | number | boolean)[] | undefined>;
  readonly tenantClaim: string | undefined;
}

interface Rule<Type extends string> {
  readonly type: Type;
  readonly scopes: readonly string[];
}

interface SignedToken<Type extends string> extends Rule<Type> {
  readonly token: TokenRule;
}

export type RulePlan =
  | Rule<'key'>
  | Rule<'basic'>
  | SignedToken<'jwt'>
  | SignedToken<'access'>
  | {
      readonly type: 'hmac';
      readonly scopes: readonly string[];
      readonly format: 'message-signatures' | 'simple';
      readonly windowMilliseconds: number;
    }
  | {
      readonly type: 'mtls';
      readonly scopes: readonly string[];
      readonly subjects: ReadonlySet<string>;
      /** In lower-case hex. */
      readonly fingerprints: ReadonlySet<string>;
      readonly issuers: ReadonlySet<string>;
    };

export interface AuthPlan {
  /** `any` also where there is one rule. */
  readonly mode: 'public' | 'any' | 'all';
  readonly rules: readonly RulePlan[];
  /** The `WWW-Authenticate` for who presented nothing. */
  readonly challenge: string;
  /** The headers, in lower case, that carry what the rules read: not for the other side of a proxy. */
  readonly credentialHeaders: readonly string[];
  /** Of the schemes of `Authorization`, the rules take no other. */
  readonly bearerOnly: boolean;
}

export const PUBLIC_AUTH: AuthPlan = {
  mode: 'public',
  rules: [],
  challenge: '',
  credentialHeaders: [],
  bearerOnly: true,
};

export function compileAuth(document: AuthDocument, path: string, issues: IssueList): AuthPlan {
  if (document === 'public') return PUBLIC_AUTH;
  const [mode, given, place] =
    document === 'key' || 'type' in document
      ? (['any', [document], path] as const)
      : 'any' in document
        ? (['any', document.any, at(path, 'any')] as const)
        : (['all', document.all, at(path, 'all')] as const);
  const compiled = given.map((one, index) => compileRule(one, place === path ? path : at(place, index), issues));
  return {
    mode,
    rules: compiled,
    challenge: [...new Set(compiled.map(challengeOf))].join(', '),
    credentialHeaders: [...new Set(compiled.flatMap(({ type }) => CREDENTIALS[type].headers))],
    bearerOnly: compiled.every(({ type }) => type !== 'basic'),
  };
}

function compileRule(given: RuleDocument, path: string, issues: IssueList): RulePlan {
  if (given === 'key') return { type: 'key', scopes: [] };
  switch (given.type) {
    case 'key':
    case 'basic':
      return given;
    case 'jwt':
      return compileToken(given, path, issues);
    case 'hmac': {
      const longest = LIMITS.signatureWindowLongestMilliseconds;
      const { type, format } = given;
      const windowMilliseconds = bounded(given.window, { least: 1_000, longest }, at(path, 'window'), issues);
      return { type, scopes: given.scopes, format, windowMilliseconds };
    }
    case 'mtls':
      return compileMtls(given, path, issues);
    case 'access':
      return { type: 'access', scopes: [], token: accessRule(given.team, listOf(given.audience)) };
  }
}

/** The token that Cloudflare Access puts into a request. */
export function accessRule(team: string, audience: readonly string[]): TokenRule {
  const issuer = `https://${team}.cloudflareaccess.com`;
  return { ...TOKEN_DEFAULTS, issuer, audience, jwksUrl: `${issuer}/cdn-cgi/access/certs`, algorithms: ['RS256'] };
}

/** Tokens of an OpenID provider, as it describes itself. */
export const oidcRule = (issuer: string, audience: readonly string[]): TokenRule => ({
  ...TOKEN_DEFAULTS,
  issuer,
  audience,
});

const TOKEN_DEFAULTS = {
  jwksUrl: undefined,
  algorithms: ASYMMETRIC,
  sharedKey: undefined,
  clockToleranceSeconds: 30,
  requiredClaims: new Map(),
  tenantClaim: undefined,
} as const;

function compileToken(given: v.InferOutput<typeof jwt>, path: string, issues: IssueList): RulePlan {
  const { type, issuer, jwksUrl, sharedKey, algorithms = ASYMMETRIC, tenantClaim } = given;
  const symmetric = algorithms.filter((name) => name.startsWith('HS'));
  if (symmetric.length > 0 && (sharedKey === undefined || symmetric.length < algorithms.length)) {
    const fix = 'give "sharedKey", and no other algorithm beside it, or leave it out';
    issues.add(at(path, 'algorithms'), `${symmetric[0] ?? ''} is verified by a shared secret: ${fix}.`);
  } else if (sharedKey !== undefined && symmetric.length === 0) {
    issues.add(at(path, 'sharedKey'), 'A shared secret serves "HS256", "HS384" and "HS512" only; name one of them.');
  }
  if (sharedKey !== undefined && jwksUrl !== undefined) {
    issues.add(at(path, 'jwksUrl'), 'Tokens are verified either by "sharedKey" or by the keys of the issuer.');
  }
  const read = jwksUrl ?? issuer;
  if (sharedKey === undefined && !isSafeUrl(read)) {
    const place = at(path, jwksUrl === undefined ? 'issuer' : 'jwksUrl');
    issues.add(place, 'Must be an https:// address without query, fragment and user, since its keys are read there.');
  }
  const longest = LIMITS.clockToleranceLongestMilliseconds;
  const toleranceMilliseconds = bounded(
    given.clockTolerance,
    { least: 0, longest },
    at(path, 'clockTolerance'),
    issues,
  );
  const requiredClaims = new Map(
    Object.entries(given.requiredClaims).map(([name, value]) => [name, value === '*' ? undefined : [value].flat()]),
  );
  return {
    type,
    scopes: given.scopes,
    token: {
      issuer,
      audience: listOf(given.audience),
      jwksUrl,
      algorithms,
      sharedKey,
      clockToleranceSeconds: toleranceMilliseconds / 1000,
      requiredClaims,
      tenantClaim,
    },
  };
}

function compileMtls(given: v.InferOutput<typeof mtls>, path: string, issues: IssueList): RulePlan {
  const { type, subjects, issuers } = given;
  const fingerprints = given.fingerprints.map((print) => print.replaceAll(':', '').toLowerCase());
  fingerprints.forEach((print, index) => {
    if (!/^[0-9a-f]{64}$/.test(print)) {
      issues.add(at(path, 'fingerprints', index), 'Must be a SHA-256 in hex: 64 digits, with or without colons.');
    }
  });
  if (subjects.length + fingerprints.length + issuers.length === 0) {
    issues.add(path, 'Say which certificates are good: "subjects", "fingerprints" or "issuers".');
  }
  return {
    type,
    scopes: [],
    subjects: new Set(subjects),
    fingerprints: new Set(fingerprints),
    issuers: new Set(issuers),
  };
}

/** Keys that come over plain HTTP are anybody's; on the machine itself there is nobody between. */
export function isSafeUrl(given: string): boolean {
  const url = URL.parse(given);
  if (url === null || url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') return false;
  if (url.protocol === 'https:') return true;
  return url.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
}

const listOf = (value: string | readonly string[]): readonly string[] => (typeof value === 'string' ? [value] : value);

function bounded(
  given: string,
  { least, longest }: { readonly least: number; readonly longest: number },
  path: string,
  issues: IssueList,
): number {
  const milliseconds = parseDuration(given) ?? -1;
  if (milliseconds >= least && milliseconds <= longest) return milliseconds;
  issues.add(path, `Must be from ${least / 1000}s to ${longest / 60_000}m.`);
  return longest;
}

const REALM = 'realm="tidegate"';

/** By type of rule: the scheme under which its credential is asked for, and the headers that carry it. */
const CREDENTIALS = {
  key: { scheme: 'Bearer', headers: ['authorization', 'x-api-key'] },
  jwt: { scheme: 'Bearer', headers: ['authorization'] },
  hmac: {
    scheme: 'Signature',
    headers: ['signature', 'signature-input', 'tidegate-key', 'tidegate-timestamp', 'tidegate-signature'],
  },
  basic: { scheme: 'Basic', headers: ['authorization'] },
  mtls: { scheme: 'Certificate', headers: [] },
  access: { scheme: 'Cloudflare-Access', headers: ['cf-access-jwt-assertion', 'cf-access-client-secret'] },
} as const satisfies Record<RulePlan['type'], { scheme: string; headers: readonly string[] }>;

/** RFC 9110, section 11.6.1; the charset of Basic by RFC 7617. */
const challengeOf = ({ type }: RulePlan): string =>
  `${CREDENTIALS[type].scheme} ${REALM}${type === 'basic' ? ', charset="UTF-8"' : ''}`;
