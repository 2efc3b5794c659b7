/** Signed tokens as credentials: as a bearer, or in the header of Cloudflare Access. */

import { bearerOf, lackingScope, type Check } from './attempt.ts';
import { confirmed } from './keys.ts';
import { keyById, signingSecretsOf } from './signing-keys.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import type { MaybePromise } from '../../core/maybe-promise.ts';
import { hostOf } from '../../runtime/host.ts';
import { looksLikeKey } from '../../vault/api-key.ts';
import { knownToken, verifyToken, type TokenPort, type VerifiedToken } from '../../vault/token.ts';
import type { RuleOf } from './attempt.ts';
import type { Exchange, Identity } from '../exchange.ts';

export const byToken: Check<'jwt'> = (rule, { exchange, authorization }) => {
  const token = bearerOf(authorization) ?? '';
  return token === '' || looksLikeKey(token)
    ? fail('auth.missing', 'This route needs a token: send `Authorization: Bearer <token>`.')
    : identify(rule, token, exchange);
};

export const byAccess: Check<'access'> = (rule, { exchange }) => {
  const token = exchange.headers.get('cf-access-jwt-assertion') ?? '';
  return token === ''
    ? fail('auth.missing', 'This route is behind Cloudflare Access; sign in there.')
    : identify(rule, token, exchange);
};

function identify(rule: RuleOf<'jwt' | 'access'>, token: string, exchange: Exchange): MaybePromise<Result<Identity>> {
  const known = knownToken(token, rule.token, exchange.receivedAt);
  if (known !== undefined) return identityOf(rule, known);
  return verifyToken(token, rule.token, portOf(exchange)).then((verified) =>
    verified.ok ? identityOf(rule, verified.value) : verified,
  );
}

function identityOf(
  { type, token: { issuer }, scopes: needed }: RuleOf<'jwt' | 'access'>,
  { subject, tenant, scopes, claims }: VerifiedToken,
): Result<Identity> {
  const lacking = needed.find((scope) => !scopes.includes(scope));
  if (lacking !== undefined) return lackingScope('token', lacking);
  return ok({ kind: type, id: `${type}:${issuer}|${subject}`, tenant, scopes, claims });
}

function portOf(exchange: Exchange): TokenPort {
  const { env, ctx, receivedAt } = exchange;
  return {
    fetch: hostOf(env).fetch,
    now: Date.now,
    waitUntil: (work) => ctx.waitUntil(work),
    async sharedSecrets(id) {
      const { row } = await confirmed(exchange, (configuration) => keyById(configuration, id));
      const live = row !== undefined && (row.expiresAt ?? Infinity) > receivedAt ? row : undefined;
      const secrets = live === undefined ? ok([]) : await signingSecretsOf(env, live, receivedAt);
      if (!secrets.ok) return secrets;
      return secrets.value.length > 0
        ? secrets
        : fail('auth.invalid', 'The key whose secret signs these tokens was revoked, or has no secret.');
    },
  };
}
