/** What an attempt gives to an action. */

import type { ActionContext, Action, OpenConnection, OutgoingMessage, StoreContext } from '../connectors/kit/types.ts';
import type { ConnectionRef } from '../core/chain/connection.ts';
import { idempotencyKeyOf, keyOf } from '../core/engine/journal.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import { connectOnlyTo, type GuardedConnect, type HyperdriveByName } from '../drivers/http/guarded-connect.ts';
import type { GuardedFetch } from '../drivers/http/guarded-fetch.ts';
import type { ObjectStore } from '../drivers/kit/objects.ts';
import type { Decidable } from '../vault/links.ts';
import type { Attempt } from './execute.ts';
import { guardedStore } from './guarded-store.ts';

/** What the gateway gives to all attempts alike. */
export interface ActionHost {
  /** By full name, e.g. `postgres.query`. */
  readonly actions: ReadonlyMap<string, Action>;
  readonly fetch: GuardedFetch;
  readonly connect: GuardedConnect;
  readonly hyperdrive?: HyperdriveByName;
  readonly data: D1Database;
  readonly bucket: R2Bucket | undefined;
  readonly sqlite?: ActionContext['sqlite'];
  readonly queues?: ActionContext['queues'];
  readonly now: () => number;
  /** The address of a decision; a fault where links cannot be signed here. */
  linkTo(what: Decidable): Promise<Result<string>>;
  /** Sends a message to an application. @param key the same key twice is one message */
  sendMessage(application: string, message: OutgoingMessage, key: string): Promise<Result<unknown>>;
  /** A connection with its secrets in the clear; for an action without one, `NO_CONNECTION`. */
  open(
    ref: ConnectionRef | undefined,
    attempt: Pick<Attempt, 'run' | 'frame' | 'step'>,
  ): Result<OpenConnection> | Promise<Result<OpenConnection>>;
  /** The same for a connection to any object store. @param path as `connectionPath` writes it */
  openStore(path: string, attempt: Pick<Attempt, 'run' | 'frame' | 'step'>): Promise<Result<StoreConnection>>;
}

/** A connection, and how the store behind it is reached from an attempt. */
export interface StoreConnection {
  readonly connection: OpenConnection;
  open(context: StoreContext): Result<ObjectStore>;
}

export const NO_CONNECTION: OpenConnection = { name: '', settings: undefined, secrets: undefined };

/** What is rarely asked for is made only then: contexts are made for every attempt. */
export class AttemptContext implements ActionContext {
  readonly data: D1Database;
  readonly bucket: R2Bucket | undefined;
  readonly now: () => number;
  readonly connection: OpenConnection;
  // Not `#private`: a context may be extended by `Object.create`.
  private readonly attempt: Attempt;
  private readonly host: ActionHost;

  constructor(attempt: Attempt, host: ActionHost, connection: OpenConnection) {
    this.data = host.data;
    this.bucket = host.bucket;
    this.now = host.now;
    this.connection = connection;
    this.attempt = attempt;
    this.host = host;
  }

  get fetch(): typeof fetch {
    const { host, connection } = this;
    const sender = { hops: this.attempt.run.start.event.hops, origins: connection.origins };
    return (input, init) => host.fetch(input, init, sender);
  }

  get connect(): GuardedConnect {
    return connectOnlyTo(this.host.connect, this.connection.sockets ?? []);
  }

  get hyperdrive(): HyperdriveByName | undefined {
    return this.host.hyperdrive;
  }

  get sqlite(): ActionContext['sqlite'] {
    return this.host.sqlite;
  }

  get queues(): ActionContext['queues'] {
    return this.host.queues;
  }

  get tenant(): string | undefined {
    return this.attempt.run.start.event.identity?.tenant;
  }

  get input(): unknown {
    return this.attempt.run.start.input;
  }

  get written(): unknown {
    return this.attempt.step.written;
  }

  template(field: string): ReturnType<ActionContext['template']> {
    const { frame, step } = this.attempt;
    const template = step.own[field];
    const scope: Record<string, unknown> = { ...frame.scope };
    // Rows are many: one scope serves them all.
    return template && ((roots) => template.evaluate(Object.assign(scope, roots)));
  }

  get idempotencyKey(): string {
    const { run, frame, step } = this.attempt;
    return idempotencyKeyOf(run, frame, step);
  }

  get signal(): AbortSignal | undefined {
    return this.attempt.signal();
  }

  sendMessage(application: string, message: OutgoingMessage): Promise<Result<unknown>> {
    return this.host.sendMessage(application, message, this.idempotencyKey);
  }

  async openStore(name: string): Promise<Result<ObjectStore>> {
    const { attempt, host } = this;
    const opened = await host.openStore(name, attempt);
    if (!opened.ok) return opened;
    const { connection } = opened.value;
    const store = opened.value.open(new AttemptContext(attempt, host, connection));
    const guard = attempt.guard?.(connection.name);
    return store.ok && guard !== undefined ? ok(guardedStore(store.value, guard)) : store;
  }

  async approvalLink(id: string, to: string | undefined): Promise<Result<string>> {
    const { run, frame } = this.attempt;
    const waiting = frame.graph.find((step) => step.id === id && step.action.control === 'wait');
    if (waiting === undefined) return fail('step.params', `There is no flow.wait step "${id}" beside this one.`);
    const what = { run: run.start.id, step: keyOf(frame, waiting) };
    return this.host.linkTo(to === undefined ? what : { ...what, to });
  }
}
