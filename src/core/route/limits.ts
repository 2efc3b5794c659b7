/** Limits of a route, an HTTP trigger or an API key: the documents, and what a gateway makes of them. */

import * as v from 'valibot';
import { DURATION, formatDuration, parseDuration } from '../chain/duration.ts';
import { at, type IssueList } from '../chain/issues.ts';
import { checkTemplate } from '../chain/scopes.ts';
import type { Template } from '../expression/types.ts';
import { LIMITS } from '../limits.ts';
import type { PermitRule, QuotaRule, WindowRule } from '../policy/limiter.ts';
import { serializeList } from '../structured-field.ts';

const SHORTEST = LIMITS.limitPeriodShortestMilliseconds;
const LONGEST = LIMITS.limitPeriodLongestMilliseconds;
const PERIODS = `Must be at least ${formatDuration(SHORTEST)} and at most ${formatDuration(LONGEST)}.`;
const isPeriod = (milliseconds: number): boolean => milliseconds >= SHORTEST && milliseconds <= LONGEST;

const tokens = (description: string) =>
  v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIMITS.limitTokens), v.description(description));

const period = v.pipe(
  v.string(),
  v.regex(DURATION),
  v.examples(['1s', '10s', '1m', '1h']),
  v.description(`In every window of this length at most \`limit\` are admitted. ${PERIODS}`),
);

const by = v.pipe(
  v.string(),
  v.maxLength(LIMITS.expressionCharacters),
  v.examples(['key', 'identity', 'ip', 'route', 'tenant', '{{ request.headers.x-account }}']),
  v.description(
    '`key`: each API key apart; `identity`: each caller, however authenticated; `tenant`: each end customer; `ip`: each address, an IPv6 network of 64 bits being one; `route`: all callers together; or an expression over `request` (method, path, params, query, headers) and `identity`. A caller without a key, identity or tenant, or for whom the expression gives nothing, is counted by address.',
  ),
);

const onError = v.optional(
  v.pipe(
    v.picklist(['deny', 'allow']),
    v.description(
      'What happens while the counter cannot be reached. `deny`: each isolate admits a twentieth of the limit by itself, and refuses the rest; `allow`: all are admitted.',
    ),
  ),
  'deny',
);

const limit = v.strictObject({
  name: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/),
      v.maxLength(64),
      v.description('How headers and errors name it. Default: `limit`, `limit-2` and so on.'),
    ),
  ),
  limit: tokens('How many are admitted in a period.'),
  period,
  burst: v.optional(
    tokens('How many at once, at most: the limit is spread over the period in parts of this size. Default: the limit.'),
  ),
  by,
  cost: v.optional(
    v.pipe(
      v.union([
        v.pipe(v.number(), v.integer(), v.minValue(0)),
        v.pipe(v.string(), v.maxLength(LIMITS.expressionCharacters)),
      ]),
      v.description(
        'How many a request counts for: a whole number, or an expression that gives one. 0 is free. Default: 1.',
      ),
    ),
    1,
  ),
  onError,
});

/** The fields of a route or an HTTP trigger. */
export const limitsFields = {
  limits: v.optional(
    v.pipe(
      v.array(limit),
      v.minLength(1),
      v.maxLength(LIMITS.limitsPerTarget),
      v.description('How many requests are admitted in a time. A request must be admitted by each.'),
    ),
  ),
  concurrency: v.optional(
    v.pipe(
      v.strictObject({ limit: tokens('How many are under way at a time.'), by, onError }),
      v.description('How many requests are under way at a time, from their admission to the end of the response.'),
    ),
  ),
};

const limitsDocument = v.strictObject(limitsFields);
export type LimitsDocument = v.InferOutput<typeof limitsDocument>;
type LimitDocument = NonNullable<LimitsDocument['limits']>[number];

/** The limits of an API key, which hold on all routes together. */
export const keyLimits = v.strictObject({
  rate: v.optional(
    v.pipe(
      v.strictObject({
        limit: tokens('How many are admitted in a period.'),
        period: v.pipe(
          period,
          v.check((text) => isPeriod(parseDuration(text) ?? 0), PERIODS),
        ),
      }),
      v.description('How many requests are admitted in a time.'),
    ),
  ),
  quota: v.optional(
    v.pipe(
      v.strictObject({
        day: v.optional(tokens('How many requests a day.')),
        month: v.optional(tokens('How many requests a month.')),
        timezone: v.optional(
          v.pipe(
            v.string(),
            v.check(isTimezone, 'Must be an IANA time zone such as Europe/Berlin.'),
            v.examples(['Europe/Berlin']),
            v.description('The IANA time zone that days and months begin in.'),
          ),
          'UTC',
        ),
      }),
      v.description('How many requests are admitted in a calendar day or month, exactly.'),
    ),
  ),
});
export type KeyLimits = v.InferOutput<typeof keyLimits>;

export type LimitBy = 'key' | 'identity' | 'ip' | 'route' | 'tenant';
const BY: ReadonlySet<string> = new Set<LimitBy>(['key', 'identity', 'ip', 'route', 'tenant']);
const isBy = (text: string): text is LimitBy => BY.has(text);

export interface LimitPlan<R = WindowRule | QuotaRule> {
  readonly name: string;
  readonly rule: R;
  readonly by: LimitBy | Template;
  /** Whether targets have accounts of their own; the limits of a key hold on all together. */
  readonly perTarget: boolean;
  readonly cost: number | Template;
  readonly onError: 'deny' | 'allow';
  /** What its accounts are called by, before whom they belong to. */
  readonly account: string;
  /** Its name as a structured string. */
  readonly label: string;
}

export interface LimitsPlan {
  readonly limits: readonly LimitPlan[];
  readonly concurrency: LimitPlan<PermitRule> | undefined;
  /** Whether an account or cost is an expression, which may take a promise. */
  readonly hasExpressions: boolean;
  /** The header `RateLimit-Policy`. */
  readonly policyHeader: string;
}

const ROOTS = ['request', 'identity'] as const;

/** Undefined where nothing is limited. @param base path of what holds the fields */
export function compileLimits(document: LimitsDocument, base: string, issues: IssueList): LimitsPlan | undefined {
  const { limits = [], concurrency } = document;
  if (limits.length === 0 && concurrency === undefined) return undefined;
  const names = new Set<string>();
  const plans = limits.flatMap((each, index) => {
    const path = at(base, 'limits', index);
    const name = each.name ?? (index === 0 ? 'limit' : `limit-${index + 1}`);
    if (names.has(name)) issues.add(at(path, 'name'), `Two limits are called "${name}"; give each a name of its own.`);
    names.add(name);
    if (each.burst !== undefined) names.add(`${name}-burst`);
    return compileLimit(each, name, path, issues);
  });
  const path = at(base, 'concurrency');
  const permits = concurrency && {
    rule: { kind: 'permits' as const, limit: concurrency.limit },
    by: compileBy(concurrency.by, at(path, 'by'), issues),
    perTarget: true,
    cost: 1,
    onError: concurrency.onError,
    ...namesOf('concurrency', 'concurrency'),
  };
  return planOf(plans, permits);
}

/** A burst is a second window, in which so many are admitted as in the same part of the period. */
function compileLimit(document: LimitDocument, name: string, path: string, issues: IssueList): LimitPlan[] {
  const { limit: most, burst, onError: whenLost } = document;
  const periodMilliseconds = parseDuration(document.period) ?? 0;
  if (!isPeriod(periodMilliseconds)) issues.add(at(path, 'period'), PERIODS);
  const least = Math.min(most, Math.ceil((most * SHORTEST) / Math.max(1, periodMilliseconds)));
  if (burst !== undefined && (burst > most || burst < least)) {
    issues.add(
      at(path, 'burst'),
      `Must be at least ${least}, what the limit is a second, and at most the limit, ${most}.`,
    );
  }
  const key = compileBy(document.by, at(path, 'by'), issues);
  const cost = compileCost(document.cost, Math.min(most, burst ?? most), at(path, 'cost'), issues);
  const common = { by: key, perTarget: true, cost, onError: whenLost };
  const whole = {
    ...common,
    ...namesOf(name, periodMilliseconds),
    rule: { kind: 'window' as const, limit: most, periodMilliseconds },
  };
  if (burst === undefined || burst >= most) return [whole];
  const part = Math.max(SHORTEST, Math.ceil((periodMilliseconds * burst) / most));
  const rule = { kind: 'window' as const, limit: burst, periodMilliseconds: part };
  return [whole, { ...common, ...namesOf(`${name}-burst`, part), rule }];
}

function compileBy(text: string, path: string, issues: IssueList): LimitBy | Template {
  if (isBy(text)) return text;
  const template = checkTemplate(text, path, { roots: ROOTS, steps: [] }, issues);
  if (template === undefined) return 'route';
  if (template.literal) {
    issues.add(path, `Must be ${[...BY].join(', ')} or an expression such as "{{ request.headers.account }}".`);
  }
  if (!template.deterministic || template.timed) {
    issues.add(
      path,
      'Must be the same for requests that are counted together; remove $now, $millis, $random or $shuffle.',
    );
  }
  return template;
}

function compileCost(cost: number | string, most: number, path: string, issues: IssueList): number | Template {
  if (typeof cost === 'string') {
    const template = checkTemplate(cost, path, { roots: ROOTS, steps: [] }, issues);
    if (template?.literal === true) issues.add(path, 'Must be a whole number or an expression: "{{ … }}".');
    return template ?? 1;
  }
  if (cost > most) issues.add(path, `No request would ever be admitted: must be at most ${most}.`);
  return cost;
}

/** The limits of a key. One without any has none. */
export function compileKeyLimits({ rate, quota }: KeyLimits): LimitsPlan | undefined {
  const rules: (readonly [name: string, rule: WindowRule | QuotaRule])[] = [];
  if (rate !== undefined) {
    // Stored limits were checked when they were stored.
    const periodMilliseconds = Math.max(1, parseDuration(rate.period) ?? 1);
    rules.push(['key', { kind: 'window', limit: rate.limit, periodMilliseconds }]);
  }
  for (const unit of ['day', 'month'] as const) {
    const most = quota?.[unit];
    if (quota !== undefined && most !== undefined) {
      rules.push([`key-${unit}`, { kind: 'quota', limit: most, unit, timezone: quota.timezone }]);
    }
  }
  if (rules.length === 0) return undefined;
  const common = { by: 'key' as const, perTarget: false, cost: 1, onError: 'deny' as const };
  return planOf(
    rules.map(([name, rule]) => ({
      ...common,
      ...namesOf(name, rule.kind === 'window' ? rule.periodMilliseconds : ''),
      rule,
    })),
    undefined,
  );
}

function planOf(limits: readonly LimitPlan[], concurrency: LimitPlan<PermitRule> | undefined): LimitsPlan {
  const all = concurrency === undefined ? limits : [...limits, concurrency];
  return {
    limits,
    concurrency,
    hasExpressions: limits.some(({ by: who, cost }) => typeof who !== 'string' || typeof cost !== 'number'),
    policyHeader: serializeList(all.map(({ name, rule }) => ({ value: name, ...parametersOf(rule) }))),
  };
}

/** draft-ietf-httpapi-ratelimit-headers, section 3: `q` quota, `w` window in whole seconds, `qu` unit. */
function parametersOf(rule: WindowRule | QuotaRule | PermitRule) {
  switch (rule.kind) {
    case 'window':
      return { parameters: { q: rule.limit, w: Math.ceil(rule.periodMilliseconds / 1_000) } };
    case 'quota':
      return { parameters: { q: rule.limit, w: QUOTA_SECONDS[rule.unit] } };
    case 'permits':
      return { parameters: { q: rule.limit, qu: 'concurrent-requests' } };
  }
}

const QUOTA_SECONDS = { day: 86_400, month: 30 * 86_400 } as const;

/** A limit whose period changes begins anew; one whose number changes goes on. */
const namesOf = (name: string, period: number | string) => ({
  name,
  account: `|${name}|${period}|`,
  label: serializeList([{ value: name, parameters: {} }]),
});

function isTimezone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone !== '';
  } catch {
    return false;
  }
}
