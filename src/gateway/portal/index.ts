/**
 * The data of the developer portal, below `/_/docs/`: what a reader may call, and what its key was used for.
 *
 * Guarantee: without a key a reader is told of operations whose audience is `public` only; with one, of those
 * that the key may call too; of `internal` ones nobody is told here.
 */

import { llmsText } from './llms.ts';
import { openApiOf, type Portal } from './openapi.ts';
import { operationsOf, type Operation } from './operations.ts';
import { keyOf } from '../auth/keys.ts';
import { fault, faultOf, ok, problemResponse, type Fault, type Result } from '../../core/errors.ts';
import { quantile } from '../../core/traffic.ts';
import type { Env } from '../../env.ts';
import { checkConfiguration } from '../../runtime/configuration.ts';
import type { KeyRow } from '../../store/configuration.ts';
import { readTraffic } from '../../store/traffic.ts';
import { flushTraffic } from '../../telemetry/traffic.ts';
import { scopesAllow } from '../../core/route/key.ts';
import { LIMITS } from '../../core/limits.ts';

const DAY = 24 * 3_600_000;
const USAGE_DAYS = 31;

interface Reader {
  readonly env: Env;
  readonly key: KeyRow | undefined;
  readonly operations: readonly Operation[];
  readonly portal: Portal;
}

/** By what follows `/_/docs/`. */
type Answer = (reader: Reader) => Response | Promise<Response>;

const DOCUMENTS: ReadonlyMap<string, Answer> = new Map<string, Answer>([
  ['openapi.json', ({ operations, portal }) => Response.json(openApiOf(operations, portal))],
  ['llms.txt', ({ operations, portal }) => text(llmsText(operations, portal))],
  ['usage', usageOf],
]);

const text = (content: string): Response =>
  new Response(content, { headers: { 'content-type': 'text/plain; charset=utf-8' } });

export async function handlePortal(request: Request, env: Env, path: string): Promise<Response> {
  try {
    const document = DOCUMENTS.get(path.slice('/_/docs/'.length));
    if (document === undefined) return refuse(fault('request.not-found', `There is nothing at ${path}.`));
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return refuse(fault('request.method', `${path} takes GET.`, { allow: ['GET'] }));
    }
    const configuration = await checkConfiguration(env, LIMITS.configurationAgeMilliseconds);
    const { headers } = request;
    const presents = headers.has('authorization') || headers.has('x-api-key');
    const key: Result<KeyRow | undefined> = presents ? await keyOf(configuration, headers, Date.now()) : ok(undefined);
    // A wrong key is refused rather than shown less, so that nobody takes the public part for all of it.
    if (!key.ok) return refuse(key.fault);
    const origin = env.TIDEGATE_URL ?? new URL(request.url).origin;
    const operations = operationsOf(configuration).filter((operation) => mayRead(operation, key.value));
    const response = await document({ env, key: key.value, operations, portal: { title: 'API', origin } });
    // What a reader is told depends on its key.
    response.headers.set('cache-control', 'private, no-store');
    response.headers.set('x-content-type-options', 'nosniff');
    return response;
  } catch (thrown) {
    const reason = faultOf(thrown);
    console.error('portal failed', reason.code, reason.detail ?? reason.message);
    return refuse(reason);
  }
}

const refuse = (reason: Fault): Response => problemResponse(reason);

const mayRead = ({ docs, target }: Operation, key: KeyRow | undefined): boolean =>
  docs.audience === 'public' || (docs.audience === 'callers' && key !== undefined && scopesAllow(key.scopes, target));

/** What the key was used for in the last month, by day and target. */
async function usageOf({ env, key }: Reader): Promise<Response> {
  if (key === undefined) return refuse(fault('auth.missing', 'Send the API key whose usage you want to see.'));
  await flushTraffic(env);
  const to = Date.now() + 1;
  const lines = await readTraffic(env.DB, {
    from: to - USAGE_DAYS * DAY,
    to,
    caller: `key:${key.id}`,
    group: ['target'],
    stepMilliseconds: DAY,
  });
  const items = lines.map((line) => ({
    day: new Date(line.at).toISOString().slice(0, 10),
    target: line.target,
    requests: line.requests,
    failures: (line.statuses[3] ?? 0) + (line.statuses[4] ?? 0),
    p95Milliseconds: quantile(line, 0.95) ?? null,
  }));
  return Response.json({ key: key.id, items });
}
