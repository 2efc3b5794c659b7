/** What an isolate holds in memory: everything that decides how a request is answered. */

import { selectActiveCanaries } from './canaries.ts';
import { selectActiveChains, type ChainVersion } from './chains.ts';
import { connect, type Database } from './database.ts';
import type { ConnectionRow } from './connections.ts';
import type { KeyRow } from './keys.ts';
import {
  apiKeys,
  cachePurges,
  configuration,
  connections,
  connectorSwitches,
  routes,
  sources,
  upstreams,
  type SwitchedOff,
} from './schema.ts';
import type { RouteRow, UpstreamRow } from './routes.ts';
import type { SourceRow } from './sources.ts';

export type { ConnectionRow, KeyRow, SourceRow, SwitchedOff };

/** A version that gets a part of the runs of its chain. */
export interface StoredCanary {
  readonly chain: string;
  readonly version: number;
  /** Percent. */
  readonly weight: number;
  readonly document: unknown;
}

export interface StoredConfiguration {
  /** Raised by every change of what follows; 0 before the first. */
  readonly revision: number;
  readonly chains: readonly ChainVersion[];
  readonly canaries: readonly StoredCanary[];
  readonly routes: readonly RouteRow[];
  readonly upstreams: readonly UpstreamRow[];
  readonly sources: readonly SourceRow[];
  readonly connections: readonly ConnectionRow[];
  /** Expired ones too: they expire while an isolate holds them. */
  readonly switches: readonly { readonly connector: string; readonly disabled: SwitchedOff }[];
  readonly keys: readonly KeyRow[];
  readonly purges: readonly { readonly scope: string; readonly revision: number }[];
}

const selectRevision = (database: Database) =>
  database.select({ revision: configuration.revision }).from(configuration);

/** The cheap question whether {@link loadConfiguration} would give anything new. */
export async function loadRevision(db: D1Database): Promise<number> {
  return (await selectRevision(connect(db)).get())?.revision ?? 0;
}

/** One batch, hence one consistent state. */
export async function loadConfiguration(db: D1Database): Promise<StoredConfiguration> {
  const database = connect(db);
  const [revisions, chains, canaries, routeRows, upstreamRows, sourceRows, connectionRows, switches, keys, purges] =
    await database.batch([
      selectRevision(database),
      selectActiveChains(database),
      selectActiveCanaries(database),
      database.select().from(routes),
      database.select().from(upstreams),
      database.select().from(sources),
      database.select().from(connections),
      database.select().from(connectorSwitches),
      database.select().from(apiKeys),
      database.select().from(cachePurges),
    ]);
  return {
    revision: revisions[0]?.revision ?? 0,
    chains,
    canaries,
    routes: routeRows,
    upstreams: upstreamRows,
    sources: sourceRows,
    connections: connectionRows,
    switches,
    keys,
    purges,
  };
}
