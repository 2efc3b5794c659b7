/** Shadow replay: recorded runs through another version, without their effects. */

import * as v from 'valibot';
import { CHAIN, difference, findVersion, noChain, TAG, versionNumber } from './versions.ts';
import { endpoint } from '../endpoint.ts';
import { jsonBody } from '../request.ts';
import { ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { loadChainVersion } from '../../store/chains.ts';

const whole = v.pipe(v.number(), v.integer());

const body = v.strictObject({
  version: v.pipe(versionNumber, v.description('The version that is tried.')),
  from: v.optional(v.pipe(versionNumber, v.description('The version whose runs are played. Default: the active one.'))),
  limit: v.optional(v.pipe(whole, v.minValue(1), v.maxValue(LIMITS.shadowRuns)), 20),
});

const played = v.strictObject({
  run: v.string(),
  result: v.picklist(['same', 'different', 'unknown']),
  differences: v.array(
    v.strictObject({
      what: v.picklist(['input', 'step', 'parameters', 'status', 'error', 'output', 'response']),
      step: v.optional(v.string()),
      ...difference,
    }),
  ),
  unknown: v.pipe(
    v.array(v.strictObject({ step: v.nullable(v.string()), reason: v.picklist(['no-recording', 'depends']) })),
    v.description('Steps whose result is not recorded, and what depends on them; null for the outcome of the run.'),
  ),
  note: v.pipe(v.nullable(v.string()), v.description('Why it could not be played.')),
});

export const shadow = endpoint({
  id: 'replayShadow',
  tag: TAG,
  summary: 'Play recorded runs through another version, without effects',
  role: 'developer',
  method: 'POST',
  path: `${CHAIN}/shadow`,
  body: jsonBody(body),
  replies: {
    200: {
      description: 'The newest runs first, each with what the version would have done differently.',
      schema: v.strictObject({ same: whole, different: whole, unknown: whole, items: v.array(played) }),
    },
  },
  faults: ['chain.not-found', 'chain.version-not-found', 'chain.invalid'],
  async handle({ ports, params: { name }, body: { version, from, limit } }) {
    const base = from ?? (await loadChainVersion(ports.db, name))?.version;
    if (base === undefined) return noChain(name);
    for (const asked of [version, base]) {
      const found = await findVersion(ports.db, name, asked);
      if (!found.ok) return found;
    }
    const runs = await ports.replayShadow({ chain: name, from: base, to: version, limit });
    if (!runs.ok) return runs;
    const count = (result: string): number => runs.value.filter((run) => run.result === result).length;
    const items = runs.value.map((run) => ({ ...run, note: run.note ?? null }));
    const counts = { same: count('same'), different: count('different'), unknown: count('unknown') };
    return ok({ status: 200, body: { ...counts, items } });
  },
});
