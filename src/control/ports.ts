/** What the management API needs of the rest of the gateway. `index.ts` provides it. */

import type { SignIn } from './principal.ts';
import type { Catalogue } from '../core/chain/catalogue.ts';
import type { Result } from '../core/errors.ts';
import type { EventRun } from '../core/inbox/event.ts';
import type { RunRecord } from '../core/engine/record.ts';
import type { TriggerEvent } from '../core/engine/state.ts';
import type { Connector } from '../connectors/kit/types.ts';
import type { CanaryStatus } from '../runtime/canary.ts';
import type { QuotaUsage } from '../runtime/connection-quota.ts';
import type { ShownEvent } from '../runtime/inbox-object.ts';
import type { Recovered, RecoverRequest, ReplayRequest } from '../runtime/inbox-replay.ts';
import type { EventFilter, EventPage } from '../runtime/inbox-store.ts';
import type { OAuthPorts } from '../runtime/oauth/index.ts';
import type { OutboundPorts } from '../runtime/outbound/index.ts';
import type { RotationStatus } from '../runtime/rotation.ts';
import type { ShadowRequest, ShadowRun } from '../runtime/shadow.ts';
import type { SubscriptionPorts } from '../runtime/subscriptions/index.ts';
import type { HealthRow } from '../store/connection-health.ts';
import type { ConnectionRow } from '../store/connections.ts';
import type { RunFilter, RunPage } from '../store/runs.ts';
import type { TrafficFilter, TrafficLine } from '../store/traffic.ts';
import type { Vault } from '../vault/vault.ts';

/** The events of a source that exists. */
export interface InboxPort {
  list(source: string, filter: EventFilter): Promise<EventPage>;
  /** Fault `event.not-found`. */
  read(source: string, id: string): Promise<Result<ShownEvent>>;
  /** From after that sequence number on, or from now on. Fault `inbox.busy`. */
  stream(source: string, after: number | undefined): Promise<Result<Response>>;
  /** Faults `event.not-found`, `event.rejected`, `event.unwanted`. */
  replay(source: string, request: ReplayRequest): Promise<Result<readonly EventRun[]>>;
  recover(source: string, request: RecoverRequest): Promise<Recovered>;
}

/** What is done with sealed records besides reading and writing them. */
export interface CustodyPort {
  /** Fault `vault.closed`. */
  rotationStatus(): Promise<Result<RotationStatus>>;
  /** Faults `vault.closed`, `rotation.not-needed`. */
  startRotation(actor: string): Promise<Result<RotationStatus>>;
  /** Faults `connection.disabled`, `connection.invalid`. */
  probe(connection: ConnectionRow, actor: string): Promise<Result<HealthRow>>;
  /** What was used of each part of its quota. Fault `limit.unavailable`. */
  quotaUsage(connection: ConnectionRow): Promise<Result<readonly QuotaUsage[]>>;
  /** Writes what this isolate has not written of the access log yet. */
  flushAccesses(): Promise<void>;
}

export interface ControlPorts {
  readonly db: D1Database;
  /** A fault where the Worker has no usable master key. */
  readonly vault: Result<Vault>;
  readonly catalogue: Catalogue;
  readonly connectors: ReadonlyMap<string, Connector>;
  /** The configured admin key, or undefined: then the API answers `auth.closed`. */
  readonly adminKey: string | undefined;
  /** How people sign in. */
  readonly signIn: SignIn;
  readonly now: () => number;
  /** Brings routes, sources, keys and schedules up to what D1 holds; resolves when they are live. */
  configurationChanged(): Promise<void>;
  startRun(chain: string, input: unknown, hops: TriggerEvent['hops']): Promise<Result<{ readonly id: string }>>;
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
  readonly custody: CustodyPort;
  readonly inbox: InboxPort;
  /** Returns how many runs waited for the event. */
  sendEvent(name: string, key: string | undefined, data: unknown): Promise<number>;
  /** Authorizations of connections. */
  readonly oauth: OAuthPorts;
  readonly subscriptions: SubscriptionPorts;
  /** Webhooks out. */
  readonly outbound: OutboundPorts;
}
