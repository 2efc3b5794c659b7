/** Who uses the management API, and how people prove who they are. */

import { accessRule, oidcRule, type TokenRule } from '../core/route/auth.ts';
import type { Role } from '../core/roles.ts';
import type { Env } from '../env.ts';
import type { KeyPort } from '../vault/jwks.ts';

export interface Principal {
  /** For the audit log: `admin`, `token:<id>` or `person:<email or subject>`. */
  readonly actor: string;
  readonly role: Role;
}

/** Asks for what is public. */
export const ANYBODY: Principal = { actor: 'anybody', role: 'viewer' };

export interface SignInRules {
  /** Tokens of the configured provider, as a bearer. */
  readonly oidc: TokenRule | undefined;
  /** What Cloudflare Access says of a request. */
  readonly access: TokenRule | undefined;
}

export interface SignIn extends SignInRules {
  readonly keys: KeyPort;
}

let made: { readonly env: Env; readonly rules: SignInRules } | undefined;

/** One object for an environment: what was verified is remembered by its rule. */
export function signInRulesOf(env: Env): SignInRules {
  if (made?.env !== env) made = { env, rules: build(env) };
  return made.rules;
}

/** Half of a pair says nothing: a token for any audience would be one for anybody. */
function build({ TIDEGATE_OIDC_ISSUER, TIDEGATE_OIDC_AUDIENCE, TIDEGATE_ACCESS_TEAM, TIDEGATE_ACCESS_AUD }: Env) {
  const pair = <T>(one: string | undefined, other: string | undefined, make: (one: string, other: string) => T) =>
    one === undefined || one === '' || other === undefined || other === '' ? undefined : make(one, other);
  return {
    oidc: pair(TIDEGATE_OIDC_ISSUER, TIDEGATE_OIDC_AUDIENCE, (issuer, audience) => oidcRule(issuer, [audience])),
    access: pair(TIDEGATE_ACCESS_TEAM, TIDEGATE_ACCESS_AUD, (team, audience) => accessRule(team, [audience])),
  };
}
