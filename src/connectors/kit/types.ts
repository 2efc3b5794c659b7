/** What a connector is: facts (names, schemas, effect classes) and, per action, one function. */

import type { GenericSchema, InferOutput } from 'valibot';
import type { Control, Effect, OwnTemplates } from '../../core/chain/catalogue.ts';
import type { ConnectionRef } from '../../core/chain/connection.ts';
import type { Result } from '../../core/errors.ts';
import type { OAuthClient } from '../../core/oauth/settings.ts';
import type { SocketHost } from '../../core/policy/egress.ts';
import type { GuardedConnect, HyperdriveByName } from '../../drivers/http/guarded-connect.ts';
import type { ObjectStore } from '../../drivers/kit/objects.ts';
import type { SqliteDatabase } from '../../drivers/sqlite/database.ts';

/** A connection as an action receives it, with its secrets in the clear. Never log or return it. */
export interface OpenConnection<Settings = unknown, Secrets = unknown> {
  readonly name: string;
  readonly settings: Settings;
  readonly secrets: Secrets;
  /** See {@link ConnectionFacts.origins}. */
  readonly origins?: readonly string[] | undefined;
  /** See {@link ConnectionFacts.sockets}. */
  readonly sockets?: readonly SocketHost[] | undefined;
  /** Where the connection gets its tokens by OAuth; see {@link ConnectionFacts.oauth}. */
  readonly tokens?: TokenSource | undefined;
}

export interface AccessToken {
  readonly token: string;
  /** Rises with each token of the connection. */
  readonly generation: number;
}

export interface TokenSource {
  /**
   * A token to send as `Authorization: Bearer`; without a promise where one is in memory.
   *
   * @param refused the token that the other side answered with 401; what comes back then is another one, or the
   *   same where a refresh would not help
   * Faults `connection.unauthorized`, `oauth.failed`, `oauth.unavailable`.
   */
  get(refused?: AccessToken): Result<AccessToken> | Promise<Result<AccessToken>>;
}

/** What an application's endpoints are told. */
export interface OutgoingMessage {
  readonly eventType: string;
  readonly payload: unknown;
  readonly channels?: readonly string[] | undefined;
}

/** Everything that an action may touch. Time, traffic and storage come in here and nowhere else. */
export interface ActionContext<Settings = unknown, Secrets = unknown> {
  /**
   * The guarded `fetch`: private and metadata addresses are refused unless the owner lists them.
   * A refusal is a FaultError `egress.refused`. Redirects are never followed by it (`redirect: manual`).
   */
  readonly fetch: typeof fetch;
  /** A TCP socket, guarded as `fetch` is, to what {@link ConnectionFacts.sockets} names; anything else is a fault. */
  readonly connect: GuardedConnect;
  /** Databases that the owner bound through Hyperdrive; none in a replay. */
  readonly hyperdrive?: HyperdriveByName | undefined;
  readonly connection: OpenConnection<Settings, Secrets>;
  /** `run:step:item`, the same for every attempt. */
  readonly idempotencyKey: string;
  /**
   * Aborts when the attempt runs out of time or the run is cancelled. Undefined in an inline run: there the
   * attempt is given up all the same, and the platform ends its traffic with the caller's request.
   */
  readonly signal: AbortSignal | undefined;
  readonly now: () => number;
  /** The input of the run. */
  readonly input: unknown;
  /** `with` as the author wrote it, expressions and all; it tells what is code and what is data. */
  readonly written: unknown;
  /**
   * What the author wrote in one of {@link Action.templates}, over what all expressions of the step see and the roots
   * given; undefined where it was left out. One evaluation at a time; throws and promises what a template does.
   */
  template(field: string): ((roots: Readonly<Record<string, unknown>>) => unknown) | undefined;
  /** A link to decide the approval that a step of this run waits for, or will wait for. */
  approvalLink(step: string, to: string | undefined): Promise<Result<string>>;
  /** Sends a webhook to the endpoints of an application; attempts of the same step send the same message. */
  sendMessage(application: string, message: OutgoingMessage): Promise<Result<unknown>>;
  /** The embedded database of the owner's data (not the gateway's own). */
  readonly data: D1Database;
  /** The end customer that the caller acts for, by an identity that was proved. */
  readonly tenant?: string | undefined;
  /** Databases in objects, by owner and name; undefined where no object is bound as SQLITE, and in a replay. */
  readonly sqlite?: ((place: ConnectionRef) => SqliteDatabase) | undefined;
  /** The owner's queues by name; undefined in a replay. */
  readonly queues?: ReadonlyMap<string, Queue> | undefined;
  /** The bucket of the owner's data; undefined where none is bound as OBJECTS. */
  readonly bucket: R2Bucket | undefined;
  /**
   * The object store behind a connection by name, of whatever connector, for an action that names more than one:
   * its traffic goes where that connection may go, and nowhere else.
   */
  openStore(connection: string): Promise<Result<ObjectStore>>;
}

/** What an object store needs of the attempt that uses it. */
export type StoreContext<Settings = unknown, Secrets = unknown> = Pick<
  ActionContext<Settings, Secrets>,
  'fetch' | 'connection' | 'signal' | 'now'
>;

export interface Action<Params = unknown, Settings = unknown, Secrets = unknown> {
  readonly title: string;
  readonly effect: Effect;
  readonly control?: Control;
  /** Where it differs from the connector's: actions that need no credentials beside others that do. */
  readonly connection?: 'none';
  readonly params: GenericSchema<unknown, Params>;
  /** Fields that are not evaluated before the step, but by it: see {@link ActionContext.template}. */
  readonly templates?: OwnTemplates;
  /** The parameters once evaluated, where a part of `with` is not for this step; default `params`. */
  readonly evaluated?: GenericSchema;
  /** The parameters of a working call; the reference and the tests use it. */
  readonly example: Readonly<Record<string, unknown>>;
  run(params: Params, context: ActionContext<Settings, Secrets>): Result<unknown> | Promise<Result<unknown>>;
}

/** The credentials of a connector: `settings` may be read back through the API, `secrets` never. */
export interface ConnectionFacts<Settings = unknown, Secrets = unknown> {
  readonly required: boolean;
  readonly settings: GenericSchema<unknown, Settings>;
  readonly secrets: GenericSchema<unknown, Secrets>;
  /**
   * The origins that a step with such a connection may call, also as `https://*.host`; the guard refuses all
   * others, so that no parameter of a step takes the credentials elsewhere. Left out only by a connector that
   * sees to it itself, as `http` does, which follows redirects to other origins without them.
   */
  origins?(settings: Settings, secrets: Secrets): readonly string[];
  /**
   * A cheap call that tells whether the other side answers and takes the credentials: an action of the connector
   * without effect, and its parameters. Left out where there is none.
   */
  probe?(
    settings: Settings,
  ): { readonly action: string; readonly params: Readonly<Record<string, unknown>> } | undefined;
  /** Where a step with such a connection may open sockets; left out by a connector that opens none. */
  sockets?(settings: Settings, secrets: Secrets): readonly SocketHost[];
  /** How such a connection gets its tokens; undefined for one that is not by OAuth. */
  oauth?(settings: Settings, secrets: Secrets): OAuthClient | undefined;
  /** The object store behind such a connection, where it is one. */
  store?(context: StoreContext<Settings, Secrets>): Result<ObjectStore>;
}

/** One event of what a chain is subscribed to. */
export interface SubscribedEvent {
  /** The same at each delivery of the event: two with the same id start one run. Left out where the other side has none. */
  readonly id?: string;
  /** `trigger.body` of the run. */
  readonly body: unknown;
  /** What else there is to know, as `trigger.headers`, in lower case: the channel, the topic, the key … */
  readonly headers?: Readonly<Record<string, string>>;
  /** Where to go on after this event when the subscription is opened again. */
  readonly cursor?: string;
}

export interface SubscriptionContext<Settings = unknown, Secrets = unknown> extends Pick<
  ActionContext<Settings, Secrets>,
  'fetch' | 'connect' | 'hyperdrive' | 'connection' | 'now'
> {
  /** The chain and trigger: the same whenever it is opened, and of no other subscription of the gateway. */
  readonly subscriber: string;
  /** Aborts when the subscription is to end. */
  readonly signal: AbortSignal;
  /** As last given with an event whose run was accepted. */
  readonly cursor: string | undefined;
  /** To be called once the other side has confirmed the subscription. */
  ready(): void;
  /**
   * Resolves once the runs of the events are durable, so that they may be acknowledged, and the next be asked for:
   * whoever waits for it holds the other side back. Rejects where they are not; the subscription is to end then,
   * without an acknowledgement.
   */
  deliver(events: readonly SubscribedEvent[]): Promise<void>;
}

/** What the other side said when it ended a subscription. */
export interface SubscriptionEnd {
  /** When it wants to be asked again at the earliest. */
  readonly retryAfterMilliseconds?: number | undefined;
}

/** A way to listen to another system, for the trigger `subscription`. */
export interface Subscription<Params = unknown, Settings = unknown, Secrets = unknown> {
  readonly title: string;
  /**
   * `at-least-once`: what was sent while nobody listened comes later, and nothing is acknowledged before its run
   * is durable. `at-most-once`: the other side forgets what nobody listens to.
   */
  readonly delivery: 'at-least-once' | 'at-most-once';
  readonly params: GenericSchema<unknown, Params>;
  readonly example: Readonly<Record<string, unknown>>;
  /**
   * Listens until the signal aborts or the other side ends it (both are `ok`). It is opened again after any end but
   * the fault `subscription.ended`: after that only when somebody asks for it.
   */
  run(params: Params, context: SubscriptionContext<Settings, Secrets>): Promise<Result<SubscriptionEnd | void>>;
}

/** The origin of an address that a schema has accepted, as {@link ConnectionFacts.origins} gives it. */
export const originOf = (url: string): string => URL.parse(url)?.origin ?? '';

export interface Connector {
  readonly name: string;
  readonly title: string;
  readonly connection?: ConnectionFacts;
  /** By action name without the connector's, e.g. `query`. */
  readonly actions: Readonly<Record<string, Action>>;
  /** By name without the connector's, e.g. `channel`. */
  readonly subscriptions?: Readonly<Record<string, Subscription>>;
}

/** Gives `run` the types of its schemas, then forgets them: the registry holds every action alike. */
export function defineAction<P extends GenericSchema, S extends GenericSchema, C extends GenericSchema>(
  action: Omit<Action, 'params' | 'run'> & {
    readonly params: P;
    run(
      params: InferOutput<P>,
      context: ActionContext<InferOutput<S>, InferOutput<C>>,
    ): Result<unknown> | Promise<Result<unknown>>;
  },
  _connection?: { readonly settings: S; readonly secrets: C },
): Action {
  // The executor parses `with` by `params` and opens the connection by its schemas before it calls.
  return action as unknown as Action;
}

/** As {@link defineAction} does. */
export function defineSubscription<P extends GenericSchema, S extends GenericSchema, C extends GenericSchema>(
  subscription: Omit<Subscription, 'params' | 'run'> & {
    readonly params: P;
    run(
      params: InferOutput<P>,
      context: SubscriptionContext<InferOutput<S>, InferOutput<C>>,
    ): Promise<Result<SubscriptionEnd | void>>;
  },
  _connection: { readonly settings: S; readonly secrets: C },
): Subscription {
  return subscription as unknown as Subscription;
}
