/** Chains: publish, read, remove; their versions and canaries. */

import * as v from 'valibot';
import { canary } from './canary.ts';
import { publish } from './publish.ts';
import { shadow } from './shadow.ts';
import { versions } from './versions.ts';
import { documentBody, warningsOn } from '../documents.ts';
import { API, endpoint } from '../endpoint.ts';
import { instant, iso, listOf } from '../schemas.ts';
import type { TriggerPlan } from '../../core/chain/plan.ts';
import { fail, ok } from '../../core/errors.ts';
import { listChains, loadChainVersion, removeChain, type ChainSummary } from '../../store/chains.ts';

const TAG = 'Chains';
const PATH = `${API}/chains/{name}`;

const summary = { name: v.string(), version: v.pipe(v.number(), v.integer()), hash: v.string(), createdAt: instant };

const publishQuery = v.strictObject({
  activate: v.optional(
    v.pipe(v.picklist(['true', 'false']), v.description('`false`: publish without making it the active version.')),
    'true',
  ),
  canary: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^\d{1,3}(?:\.\d{1,3})?$/),
      v.transform(Number),
      v.maxValue(100),
      v.description('Percent of the runs that it gets as a canary, instead of becoming the active version.'),
    ),
  ),
});

const published = v.strictObject({
  name: v.string(),
  version: v.pipe(v.number(), v.integer()),
  hash: v.pipe(v.string(), v.description('SHA-256 of the canonical document.')),
  urls: v.pipe(
    v.array(v.strictObject({ trigger: v.string(), method: v.string(), url: v.string() })),
    v.description('Where its triggers answer.'),
  ),
  warnings: warningsOn('runs'),
});

const show = ({ name, version, hash, createdAt }: ChainSummary) => ({ name, version, hash, createdAt: iso(createdAt) });

function urlsOf(trigger: TriggerPlan, origin: string) {
  if (trigger.type === 'http') return [{ trigger: trigger.name, method: trigger.method, url: origin + trigger.path }];
  if (trigger.type !== 'webhook') return [];
  return [{ trigger: trigger.name, method: 'POST', url: `${origin}/hooks/${trigger.source}` }];
}

const notFound = (name: string) => fail('chain.not-found', `There is no chain named ${name}.`);

export const chains = [
  endpoint({
    id: 'publishChain',
    tag: TAG,
    summary: 'Publish a chain',
    role: 'developer',
    method: 'PUT',
    path: PATH,
    body: documentBody('A chain'),
    query: publishQuery,
    replies: {
      200: { description: 'The document is that version already.', schema: published },
      201: { description: 'It is a new version, and live unless the query says otherwise.', schema: published },
    },
    faults: ['chain.invalid', 'chain.route-taken', 'canary.refused'],
    async handle({ ports, actor, origin, params: { name }, query, body }) {
      const options = { activate: query.activate !== 'false', canary: query.canary };
      const result = await publish(ports, name, body, actor, options);
      if (!result.ok) return result;
      const { created, version, hash, plan, warnings } = result.value;
      const urls = plan.triggers.flatMap((trigger) => urlsOf(trigger, origin));
      return ok({
        status: created ? 201 : 200,
        body: { name, version, hash, urls, warnings },
        location: `${API}/chains/${name}`,
      });
    },
  }),

  endpoint({
    id: 'listChains',
    tag: TAG,
    summary: 'List the active chains',
    role: 'viewer',
    method: 'GET',
    path: `${API}/chains`,
    replies: { 200: { description: 'Ordered by name.', schema: listOf(v.strictObject(summary)) } },
    handle: async ({ ports }) => ok({ status: 200, body: { items: (await listChains(ports.db)).map(show) } }),
  }),

  endpoint({
    id: 'getChain',
    tag: TAG,
    summary: 'Read the active version of a chain',
    role: 'viewer',
    method: 'GET',
    path: PATH,
    replies: {
      200: {
        description: 'The document as it was published.',
        schema: v.strictObject({ ...summary, document: v.record(v.string(), v.unknown()) }),
      },
    },
    faults: ['chain.not-found'],
    async handle({ ports, params: { name } }) {
      const chain = await loadChainVersion(ports.db, name);
      if (chain === undefined) return notFound(name);
      return ok({ status: 200, body: { ...show(chain), document: chain.document } });
    },
  }),

  endpoint({
    id: 'removeChain',
    tag: TAG,
    summary: 'Remove a chain',
    role: 'developer',
    method: 'DELETE',
    path: PATH,
    replies: { 204: { description: 'Its triggers are gone; runs under way go on.' } },
    faults: ['chain.not-found'],
    async handle({ ports, actor, params: { name } }) {
      if (!(await removeChain(ports.db, name, actor, ports.now()))) return notFound(name);
      await ports.configurationChanged();
      return ok({ status: 204 });
    },
  }),

  ...versions,
  ...canary,
  shadow,
];
