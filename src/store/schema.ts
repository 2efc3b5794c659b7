/**
 * The tables in D1: definitions, and what lists show of runs. Described in `docs/storage.md`.
 *
 * Guarantee: secrets stand here only sealed by the vault (`sealed`) or hashed (`hash`).
 * Accepted weakness: names, settings, documents, and the inputs and outputs of inline runs are in the
 * clear; whoever may read the database reads them.
 *
 * Times are unix milliseconds. Every index entry is billed as a written row, so `runs` has few.
 */

import { sql } from 'drizzle-orm';
import { index, integer, primaryKey, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import type { Mode } from '../core/chain/plan.ts';
import type { RunRecord, RunStatus, ShownFault, TriggerType } from '../core/engine/record.ts';

export const chains = sqliteTable('chains', {
  name: text().primaryKey(),
  /** The version that new runs take. */
  version: integer().notNull(),
  updatedAt: integer('updated_at').notNull(),
  /** Set while the chain is removed: its versions stay for the runs that are on them. */
  removedAt: integer('removed_at'),
});

export const chainVersions = sqliteTable(
  'chain_versions',
  {
    chain: text().notNull(),
    version: integer().notNull(),
    hash: text().notNull(),
    document: text({ mode: 'json' }).$type<unknown>().notNull(),
    createdAt: integer('created_at').notNull(),
  },
  // Two publishers who compute the same next number meet here; one of them tries again.
  (table) => [primaryKey({ columns: [table.chain, table.version] })],
);

/** Routes of active versions. The key is what keeps two chains off one route. */
export const chainRoutes = sqliteTable(
  'chain_routes',
  {
    method: text().notNull(),
    /** The path with its parameters' names left out: `/orders/{}/paid`. */
    shape: text().notNull(),
    chain: text().notNull(),
  },
  (table) => [primaryKey({ columns: [table.method, table.shape] })],
);

export const runs = sqliteTable(
  'runs',
  {
    id: text().primaryKey(),
    chain: text().notNull(),
    version: integer().notNull(),
    trigger: text().notNull(),
    triggerType: text('trigger_type').$type<TriggerType>().notNull(),
    mode: text().$type<Mode>().notNull(),
    status: text().$type<RunStatus>().notNull(),
    createdAt: integer('created_at').notNull(),
    endedAt: integer('ended_at'),
    error: text({ mode: 'json' }).$type<ShownFault>(),
    /** Input, output and steps of a run whose journal is in no object. */
    record: text({ mode: 'json' }).$type<Pick<RunRecord, 'input' | 'output' | 'steps'>>(),
  },
  (table) => [
    index('runs_by_time').on(table.createdAt, table.id),
    index('runs_by_chain').on(table.chain, table.createdAt, table.id),
    // Most runs succeed, so a list of those needs no index, and their rows save the entry.
    index('runs_by_status')
      .on(table.status, table.createdAt, table.id)
      .where(sql`status <> 'succeeded'`),
  ],
);

export const sources = sqliteTable('sources', {
  name: text().primaryKey(),
  scheme: text().notNull(),
  settings: text({ mode: 'json' }).$type<Record<string, unknown>>().notNull(),
  /** The list of secrets. */
  sealed: text().notNull(),
  createdAt: integer('created_at').notNull(),
  updatedAt: integer('updated_at').notNull(),
});

export const connections = sqliteTable(
  'connections',
  {
    tenant: text().notNull(),
    name: text().notNull(),
    connector: text().notNull(),
    settings: text({ mode: 'json' }).$type<Record<string, unknown>>().notNull(),
    secretNames: text('secret_names', { mode: 'json' }).$type<readonly string[]>().notNull(),
    /** The object of secrets. */
    sealed: text().notNull(),
    createdAt: integer('created_at').notNull(),
    updatedAt: integer('updated_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.tenant, table.name] })],
);

export const apiKeys = sqliteTable('api_keys', {
  id: text().primaryKey(),
  name: text().notNull(),
  /** SHA-256 in hex. */
  hash: text().notNull().unique(),
  scopes: text({ mode: 'json' }).$type<readonly string[]>().notNull(),
  expiresAt: integer('expires_at'),
  createdAt: integer('created_at').notNull(),
});

/** One row: the number that every change of chains, sources, connections and keys raises. */
export const configuration = sqliteTable('configuration', {
  id: integer().primaryKey(),
  revision: integer().notNull(),
});

/** Append-only. `detail` never holds a secret. */
export const auditLog = sqliteTable('audit_log', {
  id: integer().primaryKey({ autoIncrement: true }),
  at: integer().notNull(),
  actor: text().notNull(),
  /** `chain.publish`, `key.remove`, … */
  action: text().notNull(),
  subject: text().notNull(),
  detail: text({ mode: 'json' }).$type<Record<string, unknown>>(),
});
