/** A canary: a version that gets a part of the runs, and loses it where it is worse. */

import * as v from 'valibot';
import { CHAIN, findVersion, noChain, TAG, versionNumber } from './versions.ts';
import { endpoint } from '../endpoint.ts';
import type { ControlPorts } from '../ports.ts';
import { jsonBody } from '../request.ts';
import { instant, iso, isoOrNull } from '../schemas.ts';
import { canonicalJson } from '../../core/chain/canonical.ts';
import { compileChain } from '../../core/chain/compile.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { LIMITS } from '../../core/limits.ts';
import { EVIDENCE_NEEDED, type CanarySettings, type Tally } from '../../core/policy/canary.ts';
import type { CanaryStatus } from '../../runtime/canary.ts';
import { endCanary, loadCanary, startCanary } from '../../store/canaries.ts';
import { loadChainVersion } from '../../store/chains.ts';

export const CANARY_DEFAULTS = {
  minimumRuns: LIMITS.canaryMinimumRuns,
  errorRateIncrease: 0,
  latencyIncrease: 0.2,
} as const satisfies Omit<CanarySettings, 'weight'>;

const increase = v.pipe(v.number(), v.minValue(0), v.maxValue(100));

const settings = {
  version: versionNumber,
  weight: v.pipe(v.number(), v.minValue(0), v.maxValue(100), v.description('Percent of new runs; 0 pauses it.')),
  minimumRuns: v.optional(
    v.pipe(
      v.number(),
      v.integer(),
      v.minValue(1),
      v.maxValue(LIMITS.canaryRuns),
      v.description('Runs of the canary before it may be rolled back.'),
    ),
    CANARY_DEFAULTS.minimumRuns,
  ),
  errorRateIncrease: v.optional(
    v.pipe(increase, v.description('How much more often it may fail; 0.5 is one and a half times as often.')),
    CANARY_DEFAULTS.errorRateIncrease,
  ),
  latencyIncrease: v.optional(
    v.pipe(
      v.nullable(increase),
      v.description('How far above the p95 of the active version its runs may be; null: not judged.'),
    ),
    CANARY_DEFAULTS.latencyIncrease,
  ),
};

const whole = v.pipe(v.number(), v.integer());
const part = v.strictObject({
  runs: whole,
  bad: whole,
  rate: v.pipe(v.nullable(v.number()), v.description('bad / runs')),
});
const test = {
  stable: part,
  canary: part,
  evidence: v.pipe(v.number(), v.description('That the canary is worse. 1 says nothing.')),
};

const state = v.strictObject({
  chain: v.string(),
  version: versionNumber,
  stable: v.pipe(versionNumber, v.description('The active version, with which it is compared.')),
  state: v.picklist(['running', 'paused', 'rolled-back']),
  weight: v.number(),
  minimumRuns: whole,
  errorRateIncrease: v.number(),
  latencyIncrease: v.nullable(v.number()),
  startedAt: instant,
  startedBy: v.string(),
  rolledBackAt: v.nullable(instant),
  reason: v.pipe(v.nullable(v.string()), v.description('Why it was rolled back.')),
  evidenceNeeded: v.pipe(v.number(), v.description('It is rolled back when one of the two reaches this.')),
  errors: v.pipe(v.strictObject(test), v.description('Bad are the runs that failed.')),
  latency: v.pipe(
    v.nullable(v.strictObject({ slowMilliseconds: whole, ...test })),
    v.description('Bad are the runs that took longer than `slowMilliseconds`. Null while that is not known.'),
  ),
});

const showTally = ({ stable, canary }: Tally, evidence: number) => ({
  stable: { ...stable, rate: stable.runs === 0 ? null : stable.bad / stable.runs },
  canary: { ...canary, rate: canary.runs === 0 ? null : canary.bad / canary.runs },
  evidence,
});

function show({ canary, judgement }: CanaryStatus) {
  const { errors, latency, slowMilliseconds, errorEvidence, latencyEvidence } = judgement;
  const { chain, version, stable, weight, minimumRuns, errorRateIncrease, latencyIncrease, startedBy } = canary;
  return {
    ...{ chain, version, stable, weight, minimumRuns, errorRateIncrease, latencyIncrease, startedBy },
    state: canary.rolledBackAt !== null ? 'rolled-back' : weight === 0 ? 'paused' : 'running',
    startedAt: iso(canary.startedAt),
    rolledBackAt: isoOrNull(canary.rolledBackAt),
    reason: canary.reason,
    evidenceNeeded: EVIDENCE_NEEDED,
    errors: showTally(errors, errorEvidence),
    latency:
      latency === undefined || slowMilliseconds === undefined
        ? null
        : { slowMilliseconds, ...showTally(latency, latencyEvidence) },
  };
}

/** The active version, where that document may be a canary of it. Faults `chain.not-found`, `canary.refused`. */
export async function stableFor(ports: ControlPorts, name: string, document: unknown): Promise<Result<number>> {
  const stable = await loadChainVersion(ports.db, name);
  if (stable === undefined) return noChain(name);
  for (const [field, why] of [
    ['triggers', 'those of the active version stay in force while a canary runs'],
    ['input', 'a request that one of them refuses is no run by which it could be judged'],
  ] as const) {
    if (canonicalJson(memberOf(stable.document, field)) === canonicalJson(memberOf(document, field))) continue;
    const message = `The ${field} differ from version ${stable.version}: ${why}. Promote the version instead.`;
    return fail('canary.refused', message, { issues: [{ path: field, message }] });
  }
  return ok(stable.version);
}

const memberOf = (document: unknown, field: string): unknown => (isObject(document) ? (document[field] ?? null) : null);

const body = v.strictObject(settings);

export const canary = [
  endpoint({
    id: 'setCanary',
    tag: TAG,
    summary: 'Give a version a part of the runs',
    role: 'developer',
    method: 'PUT',
    path: `${CHAIN}/canary`,
    body: jsonBody(body),
    replies: { 200: { description: 'It counts from now on, unless nothing changed.', schema: state } },
    faults: ['chain.not-found', 'chain.version-not-found', 'chain.invalid', 'canary.refused'],
    async handle({ ports, actor, params: { name }, body: given }) {
      const found = await findVersion(ports.db, name, given.version);
      if (!found.ok) return found;
      const plan = compileChain(found.value.document, ports.catalogue);
      if (!plan.ok) return plan;
      const stable = await stableFor(ports, name, found.value.document);
      if (!stable.ok) return stable;
      if (stable.value === given.version) {
        return fail('canary.refused', `Version ${given.version} is the active one; it gets the runs already.`);
      }
      await startCanary(ports.db, { ...given, chain: name, stable: stable.value, actor, now: ports.now() });
      await ports.configurationChanged();
      const status = await ports.canaryStatus(name);
      return status.ok ? ok({ status: 200, body: show(status.value) }) : status;
    },
  }),

  endpoint({
    id: 'getCanary',
    tag: TAG,
    summary: 'See how a canary does',
    role: 'viewer',
    method: 'GET',
    path: `${CHAIN}/canary`,
    replies: { 200: { description: 'With the figures that decide, as they are now.', schema: state } },
    faults: ['canary.not-found'],
    async handle({ ports, params: { name } }) {
      const status = await ports.canaryStatus(name);
      return status.ok ? ok({ status: 200, body: show(status.value) }) : status;
    },
  }),

  endpoint({
    id: 'endCanary',
    tag: TAG,
    summary: 'End a canary',
    role: 'developer',
    method: 'DELETE',
    path: `${CHAIN}/canary`,
    replies: { 204: { description: 'The active version takes all runs.' } },
    faults: ['canary.not-found'],
    async handle({ ports, actor, params: { name } }) {
      const known = await loadCanary(ports.db, name);
      if (known === undefined) return fail('canary.not-found', `The chain ${name} has no canary.`);
      await endCanary(ports.db, known, actor, ports.now());
      await ports.configurationChanged();
      return ok({ status: 204 });
    },
  }),
];
