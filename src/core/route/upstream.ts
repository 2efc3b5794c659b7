import * as v from 'valibot';
import { IssueList } from '../chain/issues.ts';
import { parseDocument, refuseDocument } from '../chain/parse.ts';
import { ok, type Result } from '../errors.ts';

export const upstreamSchema = v.strictObject({
  name: v.string(),
  targets: v.pipe(v.array(v.strictObject({ url: v.string() })), v.minLength(1)),
});

export type PoolPlan = v.InferOutput<typeof upstreamSchema>;

export function compilePool(document: unknown): Result<PoolPlan> {
  const issues = new IssueList();
  const pool = parseDocument(upstreamSchema, document, issues);
  return pool === undefined ? refuseDocument('upstream.malformed', issues) : ok(pool);
}
