/** What the management API needs of the rest of the gateway. `index.ts` provides it. */

import type { Catalogue } from '../core/chain/catalogue.ts';
import type { Result } from '../core/errors.ts';
import type { RunRecord, RunStatus, RunSummary } from '../core/engine/record.ts';
import type { Connector } from '../connectors/kit/types.ts';
import type { Vault } from '../vault/vault.ts';

export interface RunFilter {
  readonly chain?: string;
  readonly status?: RunStatus;
  /** Runs made before this cursor, as `next` of the previous page gave it. */
  readonly before?: string;
  readonly limit: number;
}

export interface ControlPorts {
  readonly db: D1Database;
  readonly vault: Vault;
  readonly catalogue: Catalogue;
  readonly connectors: ReadonlyMap<string, Connector>;
  /** The configured admin key, or undefined: then the API answers `auth.closed`. */
  readonly adminKey: string | undefined;
  readonly now: () => number;
  /** Brings routes, sources, keys and schedules up to what D1 holds; resolves when they are live. */
  configurationChanged(): Promise<void>;
  startRun(chain: string, input: unknown): Promise<Result<{ readonly id: string }>>;
  getRun(id: string): Promise<Result<RunRecord>>;
  listRuns(filter: RunFilter): Promise<{ readonly items: readonly RunSummary[]; readonly next: string | undefined }>;
  cancelRun(id: string): Promise<Result<RunRecord>>;
}
