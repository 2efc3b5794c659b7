/** Versions of a chain: history, differences, promote, roll back. */

import * as v from 'valibot';
import { API, endpoint, type Reply } from '../endpoint.ts';
import type { ControlPorts } from '../ports.ts';
import { jsonBody } from '../request.ts';
import { instant, iso, listOf } from '../schemas.ts';
import { compileChain } from '../../core/chain/compile.ts';
import type { Plan } from '../../core/chain/plan.ts';
import { differencesOf } from '../../core/data/difference.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { activateVersion, after, loadActivated } from '../../store/activations.ts';
import { listChainVersions, loadChainVersion, type ChainVersion } from '../../store/chains.ts';

export const TAG = 'Chains';
export const CHAIN = `${API}/chains/{name}` as const;

export const versionNumber = v.pipe(v.number(), v.integer(), v.minValue(1));
const versionInQuery = v.pipe(v.string(), v.regex(/^[1-9]\d{0,8}$/), v.transform(Number));

export const difference = {
  op: v.picklist(['add', 'remove', 'change']),
  path: v.pipe(v.string(), v.description('In dotted form, e.g. `steps.order.with.sql`; empty for the whole.')),
  from: v.optional(v.unknown()),
  to: v.optional(v.unknown()),
};

const activated = v.strictObject({
  name: v.string(),
  version: versionNumber,
  before: v.pipe(v.nullable(versionNumber), v.description('The version that was active before.')),
});

export const noChain = (name: string) => fail('chain.not-found', `There is no chain named ${name}.`);

/** Fault `chain.version-not-found`. */
export async function findVersion(db: D1Database, name: string, version: number): Promise<Result<ChainVersion>> {
  const found = await loadChainVersion(db, name, version);
  if (found !== undefined) return ok(found);
  return fail('chain.version-not-found', `There is no version ${version} of the chain ${name}.`);
}

export const routesOf = (plan: Plan) => plan.triggers.filter((trigger) => trigger.type === 'http');

/** Makes a version the active one, as it was published. */
async function activate(
  { ports, actor, name }: { readonly ports: ControlPorts; readonly actor: string; readonly name: string },
  { version, from }: { readonly version: number; readonly from: number | null },
  place: Parameters<typeof activateVersion>[2],
  action: Parameters<typeof activateVersion>[3],
): Promise<Result<Reply>> {
  const found = await findVersion(ports.db, name, version);
  if (!found.ok) return found;
  const plan = compileChain(found.value.document, ports.catalogue);
  if (!plan.ok) return plan;
  const activation = { name, version, routes: routesOf(plan.value), actor, now: ports.now() };
  const done = await activateVersion(ports.db, activation, place, action);
  if (!done.ok) return done;
  await ports.configurationChanged();
  return ok({ status: 200, body: { name, version, before: from } });
}

export const versions = [
  endpoint({
    id: 'listChainVersions',
    tag: TAG,
    summary: 'List the versions of a chain',
    role: 'viewer',
    method: 'GET',
    path: `${CHAIN}/versions`,
    replies: {
      200: {
        description: 'The newest first.',
        schema: listOf(
          v.strictObject({
            name: v.string(),
            version: versionNumber,
            hash: v.string(),
            publishedAt: instant,
            publishedBy: v.nullable(v.string()),
            active: v.pipe(v.boolean(), v.description('Its triggers are in force, and new runs take it.')),
            weight: v.pipe(v.number(), v.description('Percent of new runs that take it.')),
          }),
        ),
      },
    },
    faults: ['chain.not-found'],
    async handle({ ports, params: { name } }) {
      const found = await listChainVersions(ports.db, name);
      if (found.length === 0) return noChain(name);
      const items = found.map(({ createdAt, ...item }) => ({ ...item, publishedAt: iso(createdAt) }));
      return ok({ status: 200, body: { items } });
    },
  }),

  endpoint({
    id: 'diffChainVersions',
    tag: TAG,
    summary: 'Compare two versions of a chain',
    role: 'viewer',
    method: 'GET',
    path: `${CHAIN}/diff`,
    query: v.strictObject({ from: versionInQuery, to: versionInQuery }),
    replies: {
      200: {
        description: 'What differs between the documents, in their order; nothing where they are the same.',
        schema: listOf(v.strictObject(difference)),
      },
    },
    faults: ['chain.version-not-found'],
    async handle({ ports, params: { name }, query: { from, to } }) {
      const [before, now] = await Promise.all([findVersion(ports.db, name, from), findVersion(ports.db, name, to)]);
      if (!before.ok) return before;
      if (!now.ok) return now;
      return ok({ status: 200, body: { items: differencesOf(before.value.document, now.value.document) } });
    },
  }),

  endpoint({
    id: 'promoteChainVersion',
    tag: TAG,
    summary: 'Make a version the active one',
    role: 'developer',
    method: 'POST',
    path: `${CHAIN}/promote`,
    body: jsonBody(v.strictObject({ version: versionNumber })),
    replies: {
      200: {
        description: 'New runs take it, and a canary has ended. Runs under way stay on theirs.',
        schema: activated,
      },
    },
    faults: ['chain.version-not-found', 'chain.invalid', 'chain.route-taken'],
    async handle({ ports, actor, params: { name }, body: { version } }) {
      const [active, last] = await Promise.all([loadChainVersion(ports.db, name), loadActivated(ports.db, name)]);
      const from = active?.version ?? null;
      if (version === from)
        return ok({ status: 200, body: { name, version, before: last?.previous?.version ?? null } });
      return activate({ ports, actor, name }, { version, from }, after(last), 'chain.promote');
    },
  }),

  endpoint({
    id: 'rollBackChain',
    tag: TAG,
    summary: 'Go back to the version that was active before',
    role: 'developer',
    method: 'POST',
    path: `${CHAIN}/rollback`,
    replies: {
      200: { description: 'New runs take it. Going back again goes one further.', schema: activated },
    },
    faults: ['chain.not-found', 'chain.no-previous', 'chain.invalid', 'chain.route-taken'],
    async handle({ ports, actor, params: { name } }) {
      const [active, last] = await Promise.all([loadChainVersion(ports.db, name), loadActivated(ports.db, name)]);
      if (active === undefined || last === undefined) return noChain(name);
      if (last.previous === undefined) {
        return fail(
          'chain.no-previous',
          `Version ${active.version} of the chain ${name} is the first that was active.`,
        );
      }
      const { version, before } = last.previous;
      const place = { sequence: last.sequence + 1, before };
      return activate({ ports, actor, name }, { version, from: active.version }, place, 'chain.rollback');
    },
  }),
];
