/** What a route and the HTTP trigger of a chain have in common: who may ask, how often, and what is remembered. */

import * as v from 'valibot';
import { authSchema, compileAuth, type AuthPlan } from './auth.ts';
import { compileCors, corsSchema, type CorsPlan } from './cors.ts';
import { docsSchema, NO_DOCS, type DocsDocument } from './docs.ts';
import { at, type IssueList } from '../chain/issues.ts';

export const POLICIES = {
  auth: v.optional(authSchema, 'key'),
  cors: v.optional(corsSchema),
  docs: v.optional(docsSchema),
} as const;

const policies = v.object(POLICIES);

export interface Policies {
  readonly auth: AuthPlan;
  readonly cors: CorsPlan | undefined;
  readonly docs: DocsDocument;
}

export const compilePolicies = (given: v.InferOutput<typeof policies>, place: string, issues: IssueList): Policies => ({
  auth: compileAuth(given.auth, at(place, 'auth'), issues),
  cors: given.cors && compileCors(given.cors, at(place, 'cors'), issues),
  docs: given.docs ?? NO_DOCS,
});
