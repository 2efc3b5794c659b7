/** Figures of traffic: how much was asked, by whom, how it ended, how long it took. */

import * as v from 'valibot';
import { API, endpoint } from '../endpoint.ts';
import { refuse } from '../issues.ts';
import { instant, iso, listOf } from '../schemas.ts';
import { fail, ok } from '../../core/errors.ts';
import { quantile } from '../../core/traffic.ts';
import { listKeys } from '../../store/keys.ts';
import type { TrafficFilter, TrafficLine } from '../../store/traffic.ts';

const TAG = 'Traffic';
const DAY = 24 * 3_600_000;
const STEPS = { minute: 60_000, hour: 3_600_000, day: DAY, total: undefined } as const;
const GROUPS = ['target', 'version', 'caller'] as const;

const count = v.pipe(v.number(), v.integer());
const latency = v.pipe(v.nullable(v.number()), v.description('Milliseconds, interpolated in a histogram.'));

const time = {
  from: v.optional(v.pipe(v.string(), v.isoTimestamp(), v.description('Default: a day ago.'))),
  to: v.optional(v.pipe(v.string(), v.isoTimestamp(), v.description('Default: now.'))),
  by: v.optional(
    v.pipe(
      v.picklist(['minute', 'hour', 'day', 'total']),
      v.description('What a line stands for. Minutes are kept for two days, hours for 400.'),
    ),
    'hour',
  ),
};

const query = v.strictObject({
  ...time,
  target: v.optional(v.pipe(v.string(), v.description('`chain:<name>` or `route:<name>`.'))),
  version: v.optional(v.string()),
  caller: v.optional(v.pipe(v.string(), v.description('`key:<id>` or another identity; empty for nobody known.'))),
  group: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^(?:target|version|caller)(?:,(?:target|version|caller)){0,2}$/),
      v.description('A line for each of them, e.g. `target,version`.'),
    ),
    'target',
  ),
});

const line = v.strictObject({
  at: instant,
  target: v.optional(v.string()),
  version: v.optional(v.string()),
  caller: v.optional(v.string()),
  requests: count,
  statuses: v.strictObject({ '2xx': count, '3xx': count, '4xx': count, '5xx': count }),
  p50Milliseconds: latency,
  p95Milliseconds: latency,
  p99Milliseconds: latency,
});

export function showTraffic(figures: TrafficLine) {
  const [, ok2 = 0, ok3 = 0, client = 0, server = 0] = figures.statuses;
  const { target, version, caller } = figures;
  return {
    at: iso(figures.at),
    ...(target !== undefined && { target }),
    ...(version !== undefined && { version }),
    ...(caller !== undefined && { caller }),
    requests: figures.requests,
    statuses: { '2xx': ok2, '3xx': ok3, '4xx': client, '5xx': server },
    p50Milliseconds: quantile(figures, 0.5) ?? null,
    p95Milliseconds: quantile(figures, 0.95) ?? null,
    p99Milliseconds: quantile(figures, 0.99) ?? null,
  };
}

/** Fault `request.invalid` where the time ends before it begins. */
function timeOf(given: v.InferOutput<v.StrictObjectSchema<typeof time, undefined>>, now: number) {
  const to = given.to === undefined ? now + 1 : Date.parse(given.to);
  const from = given.from === undefined ? to - DAY : Date.parse(given.from);
  if (!(from < to)) return refuse('request.invalid', [{ path: 'query.from', message: 'Must be before `to`.' }]);
  return ok({ from, to, stepMilliseconds: STEPS[given.by] });
}

export const traffic = [
  endpoint({
    id: 'readTraffic',
    tag: TAG,
    summary: 'Read figures of traffic',
    role: 'viewer',
    method: 'GET',
    path: `${API}/traffic`,
    query,
    replies: { 200: { description: 'Ordered by time; some seconds behind.', schema: listOf(line) } },
    async handle({ ports, query: given }) {
      const span = timeOf(given, ports.now());
      if (!span.ok) return span;
      const { target, version, caller } = given;
      const group = GROUPS.filter((name) => given.group.split(',').includes(name));
      const filter: TrafficFilter = { ...span.value, target, version, caller, group };
      return ok({ status: 200, body: { items: (await ports.readTraffic(filter)).map(showTraffic) } });
    },
  }),

  endpoint({
    id: 'readKeyUsage',
    tag: TAG,
    summary: 'Read what a key was used for',
    role: 'viewer',
    method: 'GET',
    path: `${API}/keys/{id}/usage`,
    query: v.strictObject(time),
    replies: { 200: { description: 'By target, ordered by time.', schema: listOf(line) } },
    faults: ['key.not-found'],
    async handle({ ports, params: { id }, query: given }) {
      const span = timeOf(given, ports.now());
      if (!span.ok) return span;
      const keys = await listKeys(ports.db);
      if (!keys.some((key) => key.id === id)) return fail('key.not-found', `There is no key with the id ${id}.`);
      const lines = await ports.readTraffic({ ...span.value, caller: `key:${id}`, group: ['target'] });
      return ok({ status: 200, body: { items: lines.map(showTraffic) } });
    },
  }),
];
