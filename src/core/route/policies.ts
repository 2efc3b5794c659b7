/** What a route and the HTTP trigger of a chain have in common: who may ask, how often, and what is remembered. */

import * as v from 'valibot';
import { compileCors, corsSchema, type CorsPlan } from './cors.ts';
import { docsSchema, NO_DOCS, type DocsDocument } from './docs.ts';
import { at, type IssueList } from '../chain/issues.ts';

export const POLICIES = {
  auth: v.optional(
    v.pipe(
      v.picklist(['key', 'public']),
      v.description('`key`: the caller presents an API key; `public`: anybody may call.'),
    ),
    'key',
  ),
  cors: v.optional(corsSchema),
  docs: v.optional(docsSchema),
} as const;

const policies = v.object(POLICIES);

export interface Policies {
  readonly auth: 'key' | 'public';
  readonly cors: CorsPlan | undefined;
  readonly docs: DocsDocument;
}

export const compilePolicies = (given: v.InferOutput<typeof policies>, place: string, issues: IssueList): Policies => ({
  auth: given.auth,
  cors: given.cors && compileCors(given.cors, at(place, 'cors'), issues),
  docs: given.docs ?? NO_DOCS,
});
