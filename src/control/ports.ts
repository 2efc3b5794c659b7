/** What the management API needs of the rest of the gateway. `index.ts` provides it. */

import type { Catalogue } from '../core/chain/catalogue.ts';
import type { Result } from '../core/errors.ts';
import type { RunRecord } from '../core/engine/record.ts';
import type { Connector } from '../connectors/kit/types.ts';
import type { CanaryStatus } from '../runtime/canary.ts';
import type { OutboundPorts } from '../runtime/outbound/index.ts';
import type { ShadowRequest, ShadowRun } from '../runtime/shadow.ts';
import type { RunFilter, RunPage } from '../store/runs.ts';
import type { TrafficFilter, TrafficLine } from '../store/traffic.ts';
import type { Vault } from '../vault/vault.ts';

export interface ControlPorts {
  readonly db: D1Database;
  /** A fault where the Worker has no usable master key. */
  readonly vault: Result<Vault>;
  readonly catalogue: Catalogue;
  readonly connectors: ReadonlyMap<string, Connector>;
  /** The configured admin key, or undefined: then the API answers `auth.closed`. */
  readonly adminKey: string | undefined;
  readonly now: () => number;
  /** Brings routes, sources, keys and schedules up to what D1 holds; resolves when they are live. */
  configurationChanged(): Promise<void>;
  startRun(chain: string, input: unknown): Promise<Result<{ readonly id: string }>>;
  getRun(id: string): Promise<Result<RunRecord>>;
  /** The run as it goes on: server-sent events, or a WebSocket where the request asks for one. */
  streamRun(id: string, request: Request): Promise<Result<Response>>;
  listRuns(filter: RunFilter): Promise<Result<RunPage>>;
  /** Complete for what was answered here, some seconds behind for the rest. */
  readTraffic(filter: TrafficFilter): Promise<TrafficLine[]>;
  cancelRun(id: string): Promise<Result<RunRecord>>;
  pauseRun(id: string, paused: boolean): Promise<Result<RunRecord>>;
  retryRun(id: string, version: 'same' | 'newest'): Promise<Result<{ readonly id: string }>>;
  /** `input` replaces the input of the run. */
  replayRun(id: string, input: { readonly value: unknown } | undefined): Promise<Result<{ readonly id: string }>>;
  /** The canary of a chain as it stands now; it is rolled back first where it is worse. Fault `canary.not-found`. */
  canaryStatus(chain: string): Promise<Result<CanaryStatus>>;
  replayShadow(request: ShadowRequest): Promise<Result<readonly ShadowRun[]>>;
  /** Returns how many runs waited for the event. */
  sendEvent(name: string, key: string | undefined, data: unknown): Promise<number>;
  /** Webhooks out. */
  readonly outbound: OutboundPorts;
}
