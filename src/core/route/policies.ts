/** What a route and the HTTP trigger of a chain have in common: who may ask, how often, and what is remembered. */

import * as v from 'valibot';
import { authSchema, compileAuth, type AuthPlan } from './auth.ts';
import { cachePolicy, compileCache, type CachePlan } from './cache.ts';
import { compileCors, corsSchema, type CorsPlan } from './cors.ts';
import { docsSchema, NO_DOCS, type DocsDocument } from './docs.ts';
import { compileIdempotency, idempotencyPolicy, type IdempotencyPlan } from './idempotency.ts';
import { compileLimits, limitsFields, type LimitsPlan } from './limits.ts';
import { at, type IssueList } from '../chain/issues.ts';

export const POLICIES = {
  auth: v.optional(authSchema, 'key'),
  ...limitsFields,
  idempotency: v.optional(idempotencyPolicy),
  cache: v.optional(cachePolicy),
  cors: v.optional(corsSchema),
  docs: v.optional(docsSchema),
} as const;

const policies = v.object(POLICIES);

export interface Policies {
  readonly auth: AuthPlan;
  /** Undefined where nothing is limited. */
  readonly limits: LimitsPlan | undefined;
  readonly idempotency: IdempotencyPlan | undefined;
  readonly cache: CachePlan | undefined;
  readonly cors: CorsPlan | undefined;
  readonly docs: DocsDocument;
}

export const compilePolicies = (given: v.InferOutput<typeof policies>, place: string, issues: IssueList): Policies => ({
  auth: compileAuth(given.auth, at(place, 'auth'), issues),
  limits: compileLimits(given, place, issues),
  idempotency: given.idempotency && compileIdempotency(given.idempotency, at(place, 'idempotency'), issues),
  cache: given.cache && compileCache(given.cache, at(place, 'cache'), issues),
  cors: given.cors && compileCors(given.cors, at(place, 'cors'), issues),
  docs: given.docs ?? NO_DOCS,
});
