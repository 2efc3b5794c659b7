/** Bindings and variables of the Worker. Variables are parsed once by {@link settingsOf}. */

import type { HealthObject } from './runtime/health-object.ts';
import type { EndpointObject } from './runtime/outbound/endpoint-object.ts';
import type { MessagesObject } from './runtime/outbound/messages-object.ts';
import type { LimiterObject } from './runtime/limiter-object.ts';
import type { IdempotencyObject } from './runtime/idempotency-object.ts';
import type { ReplayObject } from './runtime/replay.ts';
import type { TokenObject } from './runtime/oauth/token-object.ts';
import type { SqliteObject } from './runtime/sqlite-object.ts';
import type { RunObject } from './runtime/run-object.ts';
import type { StepsMessage } from './runtime/steps-queue.ts';
import type { InboxObject } from './runtime/inbox-object.ts';
import type { SchedulerObject } from './runtime/scheduler.ts';
import type { SubscriptionObject } from './runtime/subscriptions/subscription-object.ts';
import type { TrafficMessage } from './telemetry/traffic.ts';

export interface Env {
  /** The gateway's own records. */
  readonly DB: D1Database;
  /** The owner's data, for `d1.*` actions. */
  readonly DATA: D1Database;
  /** Large outputs and ended runs; without it, both stay in the run objects. */
  readonly BLOBS?: R2Bucket;
  /** The owner's objects: what `r2.*` actions read and write. */
  readonly OBJECTS?: R2Bucket;
  readonly RUNS: DurableObjectNamespace<RunObject>;
  /** Events of webhook sources, an object each. */
  readonly INBOX: DurableObjectNamespace<InboxObject>;
  readonly SCHEDULER: DurableObjectNamespace<SchedulerObject>;
  /** Checks the targets of upstream pools, one object for each pool. */
  readonly HEALTH: DurableObjectNamespace<HealthObject>;
  /** Webhooks out: the messages of each application, the deliveries of each endpoint. */
  readonly MESSAGES: DurableObjectNamespace<MessagesObject>;
  readonly ENDPOINTS: DurableObjectNamespace<EndpointObject>;
  readonly LIMITER: DurableObjectNamespace<LimiterObject>;
  readonly IDEMPOTENCY: DurableObjectNamespace<IdempotencyObject>;
  readonly REPLAYS: DurableObjectNamespace<ReplayObject>;
  /** OAuth tokens, an object for each connection. */
  readonly TOKENS: DurableObjectNamespace<TokenObject>;
  /** Databases of `sqlite.*` actions, an object each. */
  readonly SQLITE: DurableObjectNamespace<SqliteObject>;
  /** Keeps what chains are subscribed to open, an object for each trigger. */
  readonly SUBSCRIPTIONS: DurableObjectNamespace<SubscriptionObject>;
  /** Takes items of wide fan-outs to other isolates; without it the run objects run them all. */
  readonly STEPS?: Queue<StepsMessage>;
  /** Takes figures of traffic to D1 in batches; without it each isolate writes its own. */
  readonly TELEMETRY?: Queue<TrafficMessage>;
  /** The way out where the runtime gives one of its own (`npm start`); the global `fetch` elsewhere. */
  readonly EGRESS?: Fetcher;
  /** The key of the management API. Without it that API is closed. */
  readonly TIDEGATE_ADMIN_KEY?: string;
  /** `1:<base64>,2:<base64>`: versioned master keys of 32 bytes; the highest version encrypts. */
  readonly TIDEGATE_MASTER_KEY?: string;
  /** Hosts that may be called though they are private, or on another port: `host` or `host:port`, separated by commas. */
  readonly TIDEGATE_EGRESS_ALLOW?: string;
  /** Ports on which every public host may be called besides the usual ones, separated by commas. */
  readonly TIDEGATE_EGRESS_PORTS?: string;
  /** Where the gateway is reached from outside, e.g. `https://gate.example.com`; links begin with it. */
  readonly TIDEGATE_URL?: string;
  /** How long ended runs are kept (default 30). */
  readonly TIDEGATE_RETENTION_DAYS?: string;
  /** The OpenID provider that people sign in with for the management API, and for whom its tokens are. */
  readonly TIDEGATE_OIDC_ISSUER?: string;
  readonly TIDEGATE_OIDC_AUDIENCE?: string;
  /** Or Cloudflare Access: `example` of `example.cloudflareaccess.com`, and the audience tag of the application. */
  readonly TIDEGATE_ACCESS_TEAM?: string;
  readonly TIDEGATE_ACCESS_AUD?: string;
  /** Set by `npm start`: there is no Cloudflare in front, so nothing that it says of a request is believed. */
  readonly TIDEGATE_LOCAL?: string;
  /** Size of the pool of run objects (default 16). */
  readonly TIDEGATE_RUN_SHARDS?: string;
  /**
   * How many proxies of one's own stand in front of the gateway (default 0). The address of a caller is then
   * the one that the outermost of them wrote into `X-Forwarded-For`, so many places from its end.
   */
  readonly TIDEGATE_TRUSTED_PROXIES?: string;
}
