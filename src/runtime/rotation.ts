/**
 * Rotation of the master key: every sealed record is wrapped by the newest version, in batches, while everything
 * goes on. Only the data key of a record is encrypted anew; its content is neither decrypted nor changed.
 *
 * Guarantee: a record is always readable, since both versions are configured until the rotation has finished; a
 * record that somebody writes meanwhile is not overwritten (compare and set); a rotation that dies goes on from its
 * cursor; it has finished only when nothing that can be read is left under another version.
 * Accepted weakness: whoever has read an old record and the old master key keeps what they read.
 */

import { connectorsByName } from './catalogue.ts';
import { reloadConfiguration, vaultOf } from './configuration.ts';
import { tokensOf } from './oauth/place.ts';
import { connectionPath } from '../core/chain/connection.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';
import { beginRotation, loadRotation, saveRotation, type RotationRow } from '../store/rotation.ts';
import { countVersions, listStale, replaceSealed, SEALED_PLACES } from '../store/sealed.ts';
import type { Vault } from '../vault/vault.ts';

export interface RotationStatus {
  /** That seals now. */
  readonly version: string;
  readonly records: ReadonlyMap<string, number>;
  readonly rotation: RotationRow | undefined;
}

/** Fault `vault.closed`. */
export async function rotationStatus(env: Env): Promise<Result<RotationStatus>> {
  const vault = vaultOf(env);
  if (!vault.ok) return vault;
  const [records, rotation] = await Promise.all([countVersions(env.DB), loadRotation(env.DB)]);
  return ok({ version: vault.value.version, records, rotation });
}

/** Begins, or begins again, and does the first batches. Faults `vault.closed`, `rotation.not-needed`. */
export async function startRotation(env: Env, actor: string): Promise<Result<RotationStatus>> {
  const before = await rotationStatus(env);
  if (!before.ok) return before;
  const { version, records } = before.value;
  const total = [...records.values()].reduce((sum, count) => sum + count, 0);
  if ((records.get(version) ?? 0) === total) {
    const fix = `add a version after it to TIDEGATE_MASTER_KEY, as "${version}:…,${Number(version) + 1}:…", and deploy.`;
    return fail('rotation.not-needed', `Everything is under version ${version} of the master key; ${fix}`);
  }
  await beginRotation(env.DB, { version, total }, { actor, now: Date.now() });
  await continueRotation(env);
  return rotationStatus(env);
}

/** Each minute, until it has finished; each time a bounded number of records. */
export async function continueRotation(env: Env): Promise<void> {
  const vault = vaultOf(env);
  let rotation = await loadRotation(env.DB);
  if (!vault.ok || rotation === undefined) return;
  for (let batch = 0; batch < LIMITS.rotationBatchesPerMinute; batch++) {
    // An isolate of another deployment would wrap by another version.
    if (rotation.finishedAt !== null || rotation.version !== vault.value.version) return;
    const next: RotationRow = await wrapBatch(env, vault.value, rotation);
    const isPassOver = next.cursor.table >= SEALED_PLACES;
    rotation = isPassOver ? await endPass(env, next) : next;
    // What was written under the old version during the pass is for the next minute.
    if (isPassOver) return;
  }
}

async function wrapBatch(env: Env, vault: Vault, rotation: RotationRow): Promise<RotationRow> {
  const { table, after, wrapped } = rotation.cursor;
  const limit = LIMITS.rotationBatchRecords;
  const records = await listStale(env.DB, table, rotation.version, after, limit);
  const statements: D1PreparedStatement[] = [];
  const unreadable: string[] = [];
  for (const record of records) {
    const sealed = await vault.rewrap(record.context, record.sealed);
    if (sealed.ok) statements.push(replaceSealed(env.DB, table, record, sealed.value));
    else unreadable.push(`${record.context.kind} ${connectionPath(record.context)}`);
  }
  if (statements.length > 0) await env.DB.batch(statements);
  const last = records.length < limit ? undefined : records.at(-1);
  const next = {
    ...rotation,
    cursor: {
      table: last === undefined ? table + 1 : table,
      after: last?.key ?? [],
      wrapped: wrapped + statements.length,
    },
    unreadable: [...rotation.unreadable, ...unreadable].slice(0, LIMITS.rotationUnreadable),
  };
  await saveRotation(env.DB, next);
  return next;
}

/** What the objects of OAuth connections hold. False where one could not be asked; the next pass asks again. */
async function rewrapTokens(env: Env): Promise<boolean> {
  const { connections } = await reloadConfiguration(env);
  const waiting = [...connections.values()].filter(
    ({ connector, settings }) =>
      connectorsByName.get(connector)?.connection?.oauth !== undefined && settings['oauth'] !== undefined,
  );
  let failed = 0;
  const worker = async (): Promise<void> => {
    for (let place = waiting.pop(); place !== undefined; place = waiting.pop()) {
      const { tenant, name } = place;
      const rewrapped = await tokensOf(env, place)
        .rewrap({ tenant, name })
        .catch(() => undefined);
      // Tokens that cannot be read are no use to anybody: the connection tells so itself.
      if (rewrapped === undefined) failed += 1;
    }
  };
  await Promise.all(Array.from({ length: LIMITS.rotationTokensAtOnce }, worker));
  return failed === 0;
}

/** A pass that wrapped nothing leaves only what cannot be read. */
async function endPass(env: Env, rotation: RotationRow): Promise<RotationRow> {
  const records = await countVersions(env.DB);
  const isDone = [...records.keys()].every((version) => version === rotation.version);
  const isOver = (isDone || rotation.cursor.wrapped === 0) && (await rewrapTokens(env));
  const next: RotationRow = isOver
    ? { ...rotation, finishedAt: Date.now() }
    : { ...rotation, cursor: { table: 0, after: [], wrapped: 0 }, unreadable: [] };
  await saveRotation(env.DB, next);
  return next;
}
