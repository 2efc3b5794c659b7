/** The document of an upstream pool: where requests go, and what happens when a target does not answer well. */

import * as v from 'valibot';
import { DURATION, formatDuration } from '../chain/duration.ts';
import { at, IssueList } from '../chain/issues.ts';
import { parseDocument, refuseDocument } from '../chain/parse.ts';
import { boundedDuration } from '../chain/retries.ts';
import { checkTemplate } from '../chain/scopes.ts';
import { ok, type Result } from '../errors.ts';
import type { Template } from '../expression/types.ts';
import { LIMITS } from '../limits.ts';
import type { BreakerPolicy } from '../policy/breaker.ts';
import { hashText } from '../proxy/choice.ts';
import type { EjectionPolicy } from '../proxy/ejection.ts';
import type { Thresholds } from '../proxy/health.ts';
import type { RetryPlan } from '../proxy/retries.ts';

const longest = formatDuration(LIMITS.upstreamTimeoutLongestMilliseconds);

const duration = (description: string) =>
  v.pipe(v.string(), v.regex(DURATION), v.examples(['500ms', '10s', '1m']), v.description(description));
const count = (description: string, least = 1, most = 1_000) =>
  v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most), v.description(description));
const percent = (description: string) => v.pipe(v.number(), v.minValue(1), v.maxValue(100), v.description(description));
const statuses = (description: string) =>
  v.pipe(
    v.array(
      v.pipe(v.string(), v.regex(/^[1-5](?:xx|[0-9]{2})$/, 'Must be a status such as 200, or a class such as 2xx.')),
    ),
    v.minLength(1),
    v.description(description),
  );

const activeSchema = v.pipe(
  v.strictObject({
    path: v.pipe(
      v.string(),
      v.regex(/^\/[^\s#]*$/),
      v.maxLength(1024),
      v.examples(['/health']),
      v.description('Asked for by GET, behind the base of the target.'),
    ),
    interval: v.optional(duration('Between two checks.'), '10s'),
    timeout: v.optional(duration('A check that takes longer has failed.'), '2s'),
    healthy: v.optional(count('Checks in a row that bring a target back.', 1, 10), 2),
    unhealthy: v.optional(count('Failed checks in a row that take a target out.', 1, 10), 3),
    statuses: v.optional(statuses('What a healthy target answers.'), ['2xx']),
  }),
  v.description('Asks every target, whether or not there are requests.'),
);

const passiveSchema = v.pipe(
  v.strictObject({
    failures: v.optional(count('Failures in a row that eject a target.'), 5),
    share: v.optional(percent('Or this part of the requests in a window, in percent.'), 50),
    requests: v.optional(count('Requests that a window must hold before its share counts.', 1, 100_000), 20),
    window: v.optional(duration('Length of the window.'), '10s'),
    ejection: v.optional(duration('How long the first ejection takes; each further one takes as much longer.'), '10s'),
    longest: v.optional(duration('The longest ejection.'), '5m'),
    ejected: v.optional(percent('Part of the targets that may be out at a time; one may always be.'), 50),
  }),
  v.description('Takes out targets that fail requests. Where there are several targets, this is on by default.'),
);

const breakerSchema = v.pipe(
  v.strictObject({
    failures: v.optional(count('Failures in a row that open it.'), 10),
    share: v.optional(percent('Or this part of the requests in a window, in percent.'), 50),
    requests: v.optional(count('Requests that a window must hold before its share counts.', 1, 100_000), 50),
    window: v.optional(duration('Length of the window.'), '10s'),
    pause: v.optional(duration('How long it stays open; doubled by each probe that fails.'), '1s'),
    longest: v.optional(duration('The longest pause.'), '1m'),
  }),
  v.description('While it is open, requests are refused with 503 at once. Then one goes through and decides.'),
);

const REASONS = ['connect', 'timeout', '502', '503', '504'] as const;

const retriesSchema = v.pipe(
  v.strictObject({
    attempts: v.optional(count('Attempts in all, the first included.', 2, LIMITS.upstreamAttempts), 2),
    on: v.optional(v.pipe(v.array(v.picklist(REASONS)), v.minLength(1), v.description('What is tried again.')), [
      'connect',
      '502',
      '503',
      '504',
    ]),
    keyed: v.optional(
      v.pipe(
        v.boolean(),
        v.description('Also POST and PATCH, where the request has an `Idempotency-Key` that the upstream honours.'),
      ),
      false,
    ),
  }),
  v.description(
    'Requests of idempotent methods are tried again, at another target where there is one: at most a fifth of all.',
  ),
);

const STICKY =
  /^(?:ip|identity|header:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}|cookie:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}|.*\{\{.*)$/s;

export const upstreamSchema = v.pipe(
  v.strictObject({
    $schema: v.optional(v.string()),
    name: v.pipe(v.string(), v.regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/), v.maxLength(64), v.examples(['orders'])),
    targets: v.pipe(
      v.array(
        v.strictObject({
          url: v.pipe(
            v.string(),
            v.maxLength(2_048),
            v.examples(['https://orders-a.example.com/api']),
            v.description('Scheme, host and the path that all requests are put behind.'),
          ),
          weight: v.optional(count('Its part of the requests, beside the weights of others.', 1, LIMITS.poolWeight), 1),
        }),
      ),
      v.minLength(1),
      v.maxLength(LIMITS.poolTargets),
    ),
    balance: v.optional(
      v.pipe(
        v.picklist(['weighted', 'least-latency', 'sticky']),
        v.description(
          '`least-latency`: the faster of two; `sticky`: requests with the same key go to the same target.',
        ),
      ),
      'weighted',
    ),
    by: v.optional(
      v.pipe(
        v.string(),
        v.regex(STICKY, 'Must be ip, identity, header:<name>, cookie:<name> or an expression.'),
        v.maxLength(LIMITS.expressionCharacters),
        v.examples(['cookie:session', '{{ request.params.tenant }}']),
        v.description('The key of `sticky`. A request without one goes to any target.'),
      ),
    ),
    health: v.optional(v.strictObject({ active: v.optional(activeSchema), passive: v.optional(passiveSchema) })),
    failures: v.optional(statuses('What counts as a failure of the target, besides timeouts and broken connections.'), [
      '502',
      '503',
      '504',
    ]),
    breaker: v.optional(breakerSchema),
    retries: v.optional(retriesSchema),
    timeout: v.optional(
      v.strictObject({
        headers: v.optional(duration(`Until the reply begins; up to ${longest}.`), '30s'),
        idle: v.optional(duration('The longest silence in the body of a reply. Default: none is too long.')),
        total: v.optional(duration('Until the reply has ended. Default: it may take any time.')),
      }),
    ),
    forwarded: v.optional(
      v.pipe(
        v.picklist(['replace', 'append']),
        v.description(
          'Of `X-Forwarded-*` in requests. `replace`: what the caller says of itself is dropped; `append`: every caller is a proxy of yours and is believed.',
        ),
      ),
      'replace',
    ),
  }),
  v.title('Upstream'),
);

type UpstreamDocument = v.InferOutput<typeof upstreamSchema>;

export type StickyKey =
  | { readonly kind: 'ip' | 'identity' }
  | { readonly kind: 'header' | 'cookie'; readonly name: string }
  | { readonly kind: 'expression'; readonly template: Template };

export interface ActivePlan {
  readonly path: string;
  readonly intervalMilliseconds: number;
  readonly timeoutMilliseconds: number;
  readonly thresholds: Thresholds;
  readonly statuses: ReadonlySet<number>;
}

/** Immutable; what an isolate learns of the targets hangs on it. */
export interface PoolPlan {
  readonly name: string;
  /** Without a slash at the end. The three lists have the same order. */
  readonly urls: readonly string[];
  readonly weights: readonly number[];
  readonly seeds: readonly number[];
  readonly balance: 'weighted' | 'least-latency' | 'sticky';
  readonly by: StickyKey | undefined;
  readonly active: ActivePlan | undefined;
  readonly ejection: EjectionPolicy | undefined;
  readonly failures: ReadonlySet<number>;
  readonly breaker: BreakerPolicy | undefined;
  readonly retries: RetryPlan | undefined;
  readonly headersTimeoutMilliseconds: number;
  readonly idleTimeoutMilliseconds: number | undefined;
  readonly totalTimeoutMilliseconds: number | undefined;
  readonly forwarded: 'replace' | 'append';
}

/** Fault `upstream.malformed` with an issue for each mistake. */
export function compilePool(document: unknown): Result<PoolPlan> {
  const issues = new IssueList();
  const pool = parseDocument(upstreamSchema, document, issues);
  if (pool === undefined) return refuseDocument('upstream.malformed', issues);
  const urls = compileTargets(pool.targets, issues);
  const { timeout = { headers: '30s' }, health = {} } = pool;
  const plan: PoolPlan = {
    name: pool.name,
    urls,
    weights: pool.targets.map(({ weight }) => weight),
    seeds: urls.map(hashText),
    balance: pool.balance,
    by: compileKey(pool, issues),
    active: health.active && compileActive(health.active, issues),
    // Alone in its pool, a target gets the requests however it fails.
    ejection: urls.length > 1 ? compileEjection(health.passive ?? v.parse(passiveSchema, {}), issues) : undefined,
    failures: statusesOf(pool.failures),
    breaker: pool.breaker && compileBreaker(pool.breaker, issues),
    retries: pool.retries && { ...pool.retries, on: new Set(pool.retries.on) },
    headersTimeoutMilliseconds: bounded(timeout.headers, 'timeout.headers', issues),
    idleTimeoutMilliseconds: timeout.idle === undefined ? undefined : bounded(timeout.idle, 'timeout.idle', issues),
    totalTimeoutMilliseconds: timeout.total === undefined ? undefined : bounded(timeout.total, 'timeout.total', issues),
    forwarded: pool.forwarded,
  };
  return issues.all.length === 0 ? ok(plan) : refuseDocument('upstream.malformed', issues);
}

const bounded = (text: string, path: string, issues: IssueList): number =>
  boundedDuration(text, LIMITS.upstreamTimeoutLongestMilliseconds, path, issues);

function compileTargets(targets: UpstreamDocument['targets'], issues: IssueList): readonly string[] {
  const seen = new Set<string>();
  return targets.map(({ url }, index) => {
    const place = at('targets', index, 'url');
    const parsed = URL.parse(url);
    if (parsed === null || (parsed.protocol !== 'https:' && parsed.protocol !== 'http:')) {
      issues.add(place, `"${url.slice(0, 200)}" must begin with https:// or http:// and name a host.`);
      return url;
    }
    if (parsed.username !== '' || parsed.password !== '') {
      issues.add(place, 'Must not hold a user name or password; let the route set a header.');
    }
    if (parsed.search !== '' || parsed.hash !== '') issues.add(place, 'Must end with the path: remove what follows.');
    const base = (parsed.origin + parsed.pathname).replace(/\/+$/, '');
    if (seen.has(base)) issues.add(place, 'Is there twice; give one of them a greater weight instead.');
    seen.add(base);
    return base;
  });
}

const ROOTS = ['request', 'identity', 'route'];

function compileKey({ balance, by }: UpstreamDocument, issues: IssueList): StickyKey | undefined {
  if (by === undefined) {
    if (balance === 'sticky') issues.add('by', 'Say what is the same for requests that stay together, such as ip.');
    return undefined;
  }
  if (balance !== 'sticky') issues.add('by', 'Has no effect: set "balance" to "sticky", or remove it.');
  if (by === 'ip' || by === 'identity') return { kind: by };
  const [, kind, name = ''] = /^(header|cookie):([^{]+)$/.exec(by) ?? [];
  if (kind === 'header') return { kind, name: name.toLowerCase() };
  if (kind === 'cookie') return { kind, name };
  const template = checkTemplate(by, 'by', { roots: ROOTS, steps: [] }, issues);
  if (template !== undefined && !template.deterministic) {
    issues.add('by', 'Must be the same for the same request; remove $random or $shuffle.');
  }
  return template && { kind: 'expression', template };
}

function compileActive(given: v.InferOutput<typeof activeSchema>, issues: IssueList): ActivePlan {
  const interval = boundedDuration(
    given.interval,
    LIMITS.healthIntervalLongestMilliseconds,
    'health.active.interval',
    issues,
    LIMITS.healthIntervalLeastMilliseconds,
  );
  const timeout = boundedDuration(given.timeout, interval, 'health.active.timeout', issues);
  return {
    path: given.path,
    intervalMilliseconds: interval,
    timeoutMilliseconds: timeout,
    thresholds: { healthy: given.healthy, unhealthy: given.unhealthy },
    statuses: statusesOf(given.statuses),
  };
}

function compileEjection(given: v.InferOutput<typeof passiveSchema>, issues: IssueList): EjectionPolicy {
  const place = 'health.passive';
  return {
    failuresInARow: given.failures,
    failureShare: given.share / 100,
    windowCalls: given.requests,
    windowMilliseconds: bounded(given.window, at(place, 'window'), issues),
    baseMilliseconds: bounded(given.ejection, at(place, 'ejection'), issues),
    longestMilliseconds: bounded(given.longest, at(place, 'longest'), issues),
    largestShare: given.ejected / 100,
  };
}

function compileBreaker(given: v.InferOutput<typeof breakerSchema>, issues: IssueList): BreakerPolicy {
  const pause = bounded(given.pause, 'breaker.pause', issues);
  const pauseLongestMilliseconds = bounded(given.longest, 'breaker.longest', issues);
  return {
    failuresInARow: given.failures,
    failureShare: given.share / 100,
    windowCalls: given.requests,
    windowMilliseconds: bounded(given.window, 'breaker.window', issues),
    pauseMilliseconds: pause,
    pauseLongestMilliseconds,
    retryAfterLongestMilliseconds: pauseLongestMilliseconds,
  };
}

/** `2xx` stands for all of its class. */
const statusesOf = (texts: readonly string[]): ReadonlySet<number> =>
  new Set(
    texts.flatMap((text) =>
      text.endsWith('xx') ? Array.from({ length: 100 }, (_, rest) => Number(text[0]) * 100 + rest) : [Number(text)],
    ),
  );
