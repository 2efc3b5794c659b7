/** The vault: rotation of the master key, and who had which secrets decrypted. */

import * as v from 'valibot';
import { API, endpoint, type Endpoint } from '../endpoint.ts';
import { notFound, ofTenant, tenantName } from '../connections/show.ts';
import { instant, iso, isoOrNull, listOf } from '../schemas.ts';
import { OWNER } from '../../core/chain/connection.ts';
import { ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { SEALED_KINDS } from '../../core/seal.ts';
import type { RotationStatus } from '../../runtime/rotation.ts';
import { listAccesses, listUses, type AccessRow } from '../../store/accesses.ts';
import { loadConnection } from '../../store/connections.ts';

const TAG = 'Vault';

const rotationShown = v.strictObject({
  version: v.pipe(v.string(), v.description('Of the master key that seals now.')),
  records: v.pipe(
    v.record(v.string(), v.number()),
    v.description('How many are under each version. A version without any may be taken out of TIDEGATE_MASTER_KEY.'),
  ),
  total: v.number(),
  done: v.number(),
  remaining: v.number(),
  rotation: v.pipe(
    v.nullable(
      v.strictObject({
        version: v.string(),
        total: v.pipe(v.number(), v.description('When it began.')),
        startedAt: instant,
        startedBy: v.string(),
        finishedAt: v.nullable(instant),
        unreadable: v.pipe(v.array(v.string()), v.description('Records that no configured key opens.')),
      }),
    ),
    v.description('That is under way, or was the last.'),
  ),
});

function showRotation({ version, records, rotation }: RotationStatus) {
  const total = [...records.values()].reduce((sum, count) => sum + count, 0);
  const done = records.get(version) ?? 0;
  const of = rotation && {
    version: rotation.version,
    total: rotation.total,
    startedAt: iso(rotation.startedAt),
    startedBy: rotation.startedBy,
    finishedAt: isoOrNull(rotation.finishedAt),
    unreadable: [...rotation.unreadable],
  };
  return { version, records: Object.fromEntries(records), total, done, remaining: total - done, rotation: of ?? null };
}

const accessShown = v.strictObject({
  id: v.number(),
  at: instant,
  kind: v.picklist(SEALED_KINDS),
  tenant: v.nullable(v.string()),
  connector: v.string(),
  name: v.string(),
  readable: v.boolean(),
  reader: v.variant('kind', [
    v.strictObject({ kind: v.literal('step'), chain: v.string(), run: v.string(), step: v.string() }),
    v.strictObject({ kind: v.literal('subscription'), chain: v.string(), trigger: v.string() }),
    v.strictObject({ kind: v.literal('management'), actor: v.string() }),
    v.strictObject({ kind: v.literal('gateway'), actor: v.string() }),
  ]),
});

const showAccess = ({ at, tenant, ...row }: AccessRow) => ({
  ...row,
  at: iso(at),
  tenant: tenant === '' ? null : tenant,
});

export const vault: readonly Endpoint[] = [
  endpoint({
    id: 'getRotation',
    tag: TAG,
    summary: 'Read how far the rotation of the master key is',
    role: 'admin',
    method: 'GET',
    path: `${API}/vault/rotation`,
    replies: { 200: { description: 'Counted now.', schema: rotationShown } },
    faults: ['vault.closed'],
    async handle({ ports }) {
      const status = await ports.custody.rotationStatus();
      return status.ok ? ok({ status: 200, body: showRotation(status.value) }) : status;
    },
  }),

  endpoint({
    id: 'startRotation',
    tag: TAG,
    summary: 'Wrap all secrets by the newest master key',
    role: 'owner',
    method: 'POST',
    path: `${API}/vault/rotation`,
    replies: { 202: { description: 'It goes on by itself, each minute.', schema: rotationShown } },
    faults: ['vault.closed', 'rotation.not-needed'],
    async handle({ ports, actor }) {
      const status = await ports.custody.startRotation(actor);
      return status.ok ? ok({ status: 202, body: showRotation(status.value) }) : status;
    },
  }),

  endpoint({
    id: 'listAccesses',
    tag: TAG,
    summary: 'List who had secrets decrypted',
    role: 'admin',
    method: 'GET',
    path: `${API}/vault/accesses`,
    query: v.strictObject({
      tenant: v.optional(tenantName),
      name: v.optional(v.string()),
      kind: v.optional(v.picklist(SEALED_KINDS)),
      before: v.optional(v.pipe(v.string(), v.regex(/^\d{1,15}$/), v.description('`next` of the page before.'))),
    }),
    replies: {
      200: {
        description: 'The newest first; of other isolates some seconds late.',
        schema: v.strictObject({ items: v.array(accessShown), next: v.nullable(v.number()) }),
      },
    },
    async handle({ ports, query: { before, ...filter } }) {
      await ports.custody.flushAccesses();
      const found = await listAccesses(ports.db, {
        ...filter,
        before: before === undefined ? undefined : Number(before),
      });
      const items = found.slice(0, LIMITS.accessesPerPage).map(showAccess);
      const next = found.length > items.length ? (items.at(-1)?.id ?? null) : null;
      return ok({ status: 200, body: { items, next } });
    },
  }),

  endpoint({
    id: 'listConnectionUses',
    tag: TAG,
    summary: 'List which chains use a connection',
    role: 'viewer',
    method: 'GET',
    path: `${API}/connections/{name}/uses`,
    query: ofTenant,
    replies: {
      200: {
        description: 'Ordered by chain; steps that were given the connection, retries included.',
        schema: listOf(v.strictObject({ chain: v.string(), uses: v.number(), usedAt: instant, run: v.string() })),
      },
    },
    faults: ['connection.not-found'],
    async handle({ ports, params: { name }, query: { tenant = OWNER } }) {
      if ((await loadConnection(ports.db, tenant, name)) === undefined) return notFound(name, tenant);
      await ports.custody.flushAccesses();
      const rows = await listUses(ports.db, tenant, name);
      const items = rows.map(({ chain, uses, usedAt, run }) => ({ chain, uses, usedAt: iso(usedAt), run }));
      return ok({ status: 200, body: { items } });
    },
  }),
];
