/**
 * The tables in D1: definitions, and what lists show of runs. Described in `docs/storage.md`.
 *
 * Guarantee: secrets stand here only sealed by the vault (`sealed`) or hashed (`hash`).
 * Accepted weakness: names, settings, documents, and the inputs and outputs of inline runs are in the
 * clear; whoever may read the database reads them.
 *
 * Times are unix milliseconds. Every index entry is billed as a written row, so `runs` has none for most runs.
 */

import { sql } from 'drizzle-orm';
import { index, integer, primaryKey, real, sqliteTable, text } from 'drizzle-orm/sqlite-core';
import type { Mode } from '../core/chain/plan.ts';
import type { DisabledReason } from '../core/outbound/health.ts';
import type { EndpointSettings } from '../core/outbound/settings.ts';
import type { Judgement } from '../core/policy/canary.ts';
import type { KeySigning } from '../core/route/key.ts';
import type { KeyLimits } from '../core/route/limits.ts';
import type { Role } from '../core/roles.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { Reader, SealContext } from '../core/seal.ts';
import type { RunRecord, RunStatus, ShownFault, TriggerType } from '../core/engine/record.ts';

/** Who switched it off, when and why. */
export interface SwitchedOff {
  readonly at: number;
  readonly by: string;
  readonly reason: string;
}

export interface RotationCursor {
  readonly table: number;
  readonly after: readonly string[];
  /** Records wrapped in this pass over all tables. */
  readonly wrapped: number;
}

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
    /** Null for versions of before this was kept. */
    publishedBy: text('published_by'),
  },
  // Two publishers who compute the same next number meet here; one of them tries again.
  (table) => [primaryKey({ columns: [table.chain, table.version] })],
);

/** Each time that a version became the active one, by publishing, promoting or rolling back. */
export const chainActivations = sqliteTable(
  'chain_activations',
  {
    chain: text().notNull(),
    sequence: integer().notNull(),
    version: integer().notNull(),
    at: integer().notNull(),
    actor: text().notNull(),
    /** The activation that a roll back returns to; null for the first. */
    before: integer(),
  },
  // Of two who change the active version at once, one meets the other here, and looks again.
  (table) => [primaryKey({ columns: [table.chain, table.sequence] })],
);

/** Run objects near a location. */
export const runShards = sqliteTable('run_shards', { name: text().primaryKey() });

/** The version that gets a part of the runs, one for each chain; kept with its reason when it was rolled back. */
export const chainCanaries = sqliteTable('chain_canaries', {
  chain: text().primaryKey(),
  version: integer().notNull(),
  /** The active version, with which it is compared. */
  stable: integer().notNull(),
  /** Percent of the runs; 0 when it was rolled back. */
  weight: real().notNull(),
  minimumRuns: integer('minimum_runs').notNull(),
  errorRateIncrease: real('error_rate_increase').notNull(),
  /** Null: latency is not judged. */
  latencyIncrease: real('latency_increase'),
  startedAt: integer('started_at').notNull(),
  startedBy: text('started_by').notNull(),
  /** Runs created before are of another weight. */
  countedFrom: integer('counted_from').notNull(),
  /** Over which a run is slow; null until enough runs of the stable version are known. */
  slowMilliseconds: integer('slow_milliseconds'),
  /** Runs created before helped to find it, and so are not judged by it. */
  timedFrom: integer('timed_from'),
  rolledBackAt: integer('rolled_back_at'),
  reason: text(),
  /** What decided, as it was then. */
  judgement: text({ mode: 'json' }).$type<Judgement>(),
});

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

/** Where requests are passed on to. */
export const upstreams = sqliteTable('upstreams', {
  name: text().primaryKey(),
  document: text({ mode: 'json' }).$type<unknown>().notNull(),
  updatedAt: integer('updated_at').notNull(),
  updatedBy: text('updated_by').notNull(),
});

export const routes = sqliteTable('routes', {
  name: text().primaryKey(),
  document: text({ mode: 'json' }).$type<unknown>().notNull(),
  updatedAt: integer('updated_at').notNull(),
  updatedBy: text('updated_by').notNull(),
});

/** What each route answers. The key is what keeps two of them off the same requests. */
export const routePaths = sqliteTable(
  'route_paths',
  {
    /** Empty: every host. */
    host: text().notNull(),
    /** `*`: every method. */
    method: text().notNull(),
    /** The path with its parameters' names left out. */
    shape: text().notNull(),
    route: text().notNull(),
  },
  (table) => [primaryKey({ columns: [table.host, table.method, table.shape] })],
);

/** Its key serves the lists of a chain; a list over all chains merges them. The migration makes it without row ids. */
export const runs = sqliteTable(
  'runs',
  {
    chain: text().notNull(),
    createdAt: integer('created_at').notNull(),
    id: text().notNull(),
    version: integer().notNull(),
    trigger: text().notNull(),
    triggerType: text('trigger_type').$type<TriggerType>().notNull(),
    mode: text().$type<Mode>().notNull(),
    status: text().$type<RunStatus>().notNull(),
    endedAt: integer('ended_at'),
    error: text({ mode: 'json' }).$type<ShownFault>(),
    /** Input, output and steps of an inline run; those of a durable run are with its object. */
    record: text({ mode: 'json' }).$type<Pick<RunRecord, 'input' | 'output' | 'steps'>>(),
  },
  (table) => [
    primaryKey({ columns: [table.chain, table.createdAt, table.id] }),
    // Most runs succeed, and their rows save the entry.
    index('runs_by_status')
      .on(table.status, table.chain, table.createdAt, table.id)
      .where(sql`status <> 'succeeded'`),
    // The id of a durable run names its object.
    index('runs_inline')
      .on(table.id)
      .where(sql`mode = 'inline'`),
  ],
);

/** What was answered: a row for each minute, later each hour. The migration makes it without row ids. */
export const traffic = sqliteTable(
  'traffic',
  {
    at: integer().notNull(),
    /** Its length: 60 or 3600. */
    seconds: integer().notNull(),
    target: text().notNull(),
    version: text().notNull(),
    caller: text().notNull(),
    requests: integer().notNull(),
    statuses: text({ mode: 'json' }).$type<number[]>().notNull(),
    totalMilliseconds: real('total_milliseconds').notNull(),
    buckets: text({ mode: 'json' }).$type<number[]>().notNull(),
  },
  (table) => [primaryKey({ columns: [table.at, table.seconds, table.target, table.version, table.caller] })],
);

export const sources = sqliteTable('sources', {
  name: text().primaryKey(),
  scheme: text().notNull(),
  settings: text({ mode: 'json' }).$type<Record<string, unknown>>().notNull(),
  /** The list of secrets. */
  sealed: text().notNull(),
  createdAt: integer('created_at').notNull(),
  updatedAt: integer('updated_at').notNull(),
  /** What differs from how long events are kept and known usually. */
  inbox: text({ mode: 'json' }).$type<{ dedupeMilliseconds?: number; retentionMilliseconds?: number }>(),
});

/** Uses of a connection. */
export interface ConnectionQuota {
  readonly perMinute?: number | undefined;
  /** From midnight to midnight, UTC. */
  readonly perDay?: number | undefined;
}

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
    /** When the other side stops to take the secrets, where that is known. */
    expiresAt: integer('expires_at'),
    /** Set while no step may use it. */
    disabled: text({ mode: 'json' }).$type<SwitchedOff>(),
    /** How often it is probed; null: only when somebody asks. */
    probeMinutes: integer('probe_minutes'),
    /** How often it may be used; null: as often as anybody likes. */
    quota: text({ mode: 'json' }).$type<ConnectionQuota>(),
  },
  (table) => [primaryKey({ columns: [table.tenant, table.name] })],
);

/** Connectors that no step may use. */
export const connectorSwitches = sqliteTable('connector_switches', {
  connector: text().primaryKey(),
  disabled: text({ mode: 'json' }).$type<SwitchedOff>().notNull(),
});

/** How the last probe of a connection went. Apart from the connections: this is no change of the configuration. */
export const connectionHealth = sqliteTable(
  'connection_health',
  {
    tenant: text().notNull(),
    name: text().notNull(),
    at: integer().notNull(),
    milliseconds: integer().notNull(),
    /** The fault; null where it was well. */
    fault: text({ mode: 'json' }).$type<{ readonly code: ErrorCode; readonly message: string }>(),
    /** Since when it has been as it is. */
    since: integer().notNull(),
  },
  (table) => [primaryKey({ columns: [table.tenant, table.name] })],
);

/** Warnings that were given of a connection that expires; another instant is warned of anew. */
export const expiryWarnings = sqliteTable(
  'expiry_warnings',
  {
    tenant: text().notNull(),
    name: text().notNull(),
    expiresAt: integer('expires_at').notNull(),
    /** Days before, of the last warning. */
    days: integer().notNull(),
  },
  (table) => [primaryKey({ columns: [table.tenant, table.name] })],
);

/** Who had which sealed record decrypted. Append-only, for a bounded time. */
export const vaultAccesses = sqliteTable('vault_accesses', {
  id: integer().primaryKey({ autoIncrement: true }),
  at: integer().notNull(),
  kind: text().$type<SealContext['kind']>().notNull(),
  tenant: text().notNull(),
  connector: text().notNull(),
  name: text().notNull(),
  readable: integer({ mode: 'boolean' }).notNull(),
  reader: text({ mode: 'json' }).$type<Reader>().notNull(),
});

/** How often the steps of a chain have used a connection; a decrypted one serves many. */
export const connectionUses = sqliteTable(
  'connection_uses',
  {
    tenant: text().notNull(),
    name: text().notNull(),
    chain: text().notNull(),
    uses: integer().notNull(),
    usedAt: integer('used_at').notNull(),
    run: text().notNull(),
  },
  (table) => [primaryKey({ columns: [table.tenant, table.name, table.chain] })],
);

/** One row: the rotation of the master key that is under way, or was the last. */
export const vaultRotation = sqliteTable('vault_rotation', {
  id: integer().primaryKey(),
  /** Of the master key to which everything is wrapped. */
  version: text().notNull(),
  total: integer().notNull(),
  startedAt: integer('started_at').notNull(),
  startedBy: text('started_by').notNull(),
  finishedAt: integer('finished_at'),
  /** Where it goes on: the place of a table, and the last key of it that was looked at. */
  cursor: text({ mode: 'json' }).$type<RotationCursor>().notNull(),
  /** Records that no configured key opens. */
  unreadable: text({ mode: 'json' }).$type<readonly string[]>().notNull(),
});

export const apiKeys = sqliteTable('api_keys', {
  id: text().primaryKey(),
  name: text().notNull(),
  /** SHA-256 in hex. */
  hash: text().notNull().unique(),
  scopes: text({ mode: 'json' }).$type<readonly string[]>().notNull(),
  expiresAt: integer('expires_at'),
  createdAt: integer('created_at').notNull(),
  /** Who answers for the key. */
  owner: text(),
  /** The end customer that the key acts for. */
  tenant: text(),
  description: text(),
  /** Its last characters, for lists; empty for keys of before this was kept. */
  hint: text().notNull().default(''),
  limits: text({ mode: 'json' }).$type<KeyLimits>(),
  /** With what its owner signs requests. */
  signing: text({ mode: 'json' }).$type<KeySigning>(),
  /** Of the key that this one replaced, until `previousExpiresAt`. */
  previousHash: text('previous_hash').unique(),
  previousExpiresAt: integer('previous_expires_at'),
});

/** When a key was last used, to the minute. Apart from the keys: this is no change of the configuration. */
export const apiKeyUses = sqliteTable('api_key_uses', {
  key: text().primaryKey(),
  usedAt: integer('used_at').notNull(),
});

/** Credentials of programs for the management API. */
export const managementTokens = sqliteTable('management_tokens', {
  id: text().primaryKey(),
  name: text().notNull(),
  /** SHA-256 in hex. */
  hash: text().notNull().unique(),
  hint: text().notNull(),
  role: text().$type<Role>().notNull(),
  expiresAt: integer('expires_at'),
  createdAt: integer('created_at').notNull(),
  createdBy: text('created_by').notNull(),
});

/** Who may use the management API after signing in, and as what. Each has a subject or an email address. */
export const people = sqliteTable('people', {
  id: text().primaryKey(),
  /** As the OpenID provider or Cloudflare Access names the person. */
  subject: text().unique(),
  /** In lower case. */
  email: text().unique(),
  role: text().$type<Role>().notNull(),
  createdAt: integer('created_at').notNull(),
  createdBy: text('created_by').notNull(),
});

/** What applications may be told of. */
export const eventTypes = sqliteTable('event_types', {
  /** `noun.verb`. */
  name: text().primaryKey(),
  description: text().notNull(),
  /** JSON Schema of the payload; null takes any. */
  schema: text({ mode: 'json' }).$type<unknown>(),
  /** Set while nothing new is sent of it. */
  archivedAt: integer('archived_at'),
  createdAt: integer('created_at').notNull(),
  updatedAt: integer('updated_at').notNull(),
});

/** The owner's customers, as receivers of webhooks. */
export const applications = sqliteTable('applications', {
  id: text().primaryKey(),
  /** The owner's own name of the customer: the tenant. */
  uid: text().unique(),
  name: text().notNull(),
  createdAt: integer('created_at').notNull(),
  updatedAt: integer('updated_at').notNull(),
});

/** Where messages of an application go. */
export const webhookEndpoints = sqliteTable(
  'webhook_endpoints',
  {
    application: text().notNull(),
    id: text().notNull(),
    settings: text({ mode: 'json' }).$type<EndpointSettings>().notNull(),
    headerNames: text('header_names', { mode: 'json' }).$type<readonly string[]>().notNull(),
    /** Signing keys and the values of the headers. */
    sealed: text().notNull(),
    /** Null while it is enabled; otherwise why it is not. */
    disabled: text({ mode: 'json' }).$type<{ readonly reason: DisabledReason; readonly at: number }>(),
    createdAt: integer('created_at').notNull(),
    updatedAt: integer('updated_at').notNull(),
  },
  // An endpoint is only ever asked for together with its application.
  (table) => [primaryKey({ columns: [table.application, table.id] })],
);

/** One row: the number that every change of chains, sources, connections and keys raises. */
export const configuration = sqliteTable('configuration', {
  id: integer().primaryKey(),
  revision: integer().notNull(),
});

/** What was purged of the cache: responses that were asked for under an earlier revision are stale. */
export const cachePurges = sqliteTable('cache_purges', {
  /** `*`, `target:<route:name>`, `url:<origin and path>` or `tag:<tag>`. */
  scope: text().primaryKey(),
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
