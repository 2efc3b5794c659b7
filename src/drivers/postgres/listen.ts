/**
 * `LISTEN` on a session of its own.
 *
 * Guarantee: the names of channels are quoted, and what is not delivered yet holds the server back.
 * Accepted weakness: Postgres keeps nothing for who does not listen; what is notified between two sessions, and what
 * was received and not delivered when a session ends, is gone.
 */

import type { GuardedConnect } from '../http/guarded-connect.ts';
import { FaultError, fault, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { inTime } from '../kit/in-time.ts';
import { faultFrom, Line, optionsOf, type TcpConnection } from './tcp.ts';

export interface Notification {
  readonly channel: string;
  readonly payload: string;
}

export interface ListenWire {
  /** The guarded one. */
  readonly connect: GuardedConnect;
  readonly signal: AbortSignal;
  ready(): void;
  /** The next ones come when it has resolved; where it rejects, the session ends. */
  deliver(notifications: readonly Notification[]): Promise<void>;
}

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** Listens until the signal aborts, which is `ok`. Faults as those of the driver. */
export async function listen(
  connection: TcpConnection,
  channels: readonly string[],
  { connect, signal, ready, deliver }: ListenWire,
): Promise<Result<void>> {
  const { promise: over, reject: end } = Promise.withResolvers<never>();
  over.catch(() => undefined);
  const abort = (): void => end(signal.reason);
  signal.addEventListener('abort', abort);
  if (signal.aborted) abort();
  const inbox = new Inbox(deliver, end);
  const line = new Line(connection, connect, {
    maximumBytes: Infinity,
    pace: () => inbox.room,
    lost: (reason) => end(new FaultError(reason)),
  });
  const { default: postgres } = await import('postgres');
  // What the library's own `listen` is made of, which would connect anew by itself; its types leave it out.
  const onnotify = (channel: string, payload: string): void => inbox.add({ channel, payload });
  const options = { ...optionsOf(connection, () => line.open()), onnotify };
  const client = postgres(options);
  const answered = (statement: string): Promise<unknown> => Promise.race([client.unsafe(statement), over]);
  try {
    for (const channel of channels) await answered(`listen ${quoted(channel)}`);
    ready();
    for (;;) {
      await inTime(LIMITS.postgresListenCheckMilliseconds, over);
      // A server that is held back cannot answer.
      if (inbox.delivered !== undefined) continue;
      const answer = await inTime(
        LIMITS.databaseConnectMilliseconds,
        answered('select 1').then(() => true),
      );
      if (answer === undefined && inbox.delivered === undefined) throw SILENT;
    }
  } catch (thrown) {
    const reason = faultFrom(thrown);
    line.close(reason);
    return signal.aborted ? ok(undefined) : { ok: false, fault: reason };
  } finally {
    signal.removeEventListener('abort', abort);
    await client.end({ timeout: 0 });
  }
}

const SILENT = new FaultError(fault('upstream.unreachable', 'Postgres did not answer while it was listened to.'));

/** Notifications in the order of their arrival, as many at a time as have come. */
class Inbox {
  /** While any is not delivered. */
  delivered: Promise<void> | undefined;
  #waiting: Notification[] = [];
  #waitingCharacters = 0;
  readonly #deliver: ListenWire['deliver'];
  readonly #fail: (reason: unknown) => void;

  constructor(deliver: ListenWire['deliver'], fail: (reason: unknown) => void) {
    this.#deliver = deliver;
    this.#fail = fail;
  }

  /** To be awaited before more is read. */
  get room(): Promise<void> | undefined {
    return this.#waitingCharacters < LIMITS.postgresListenHeldCharacters ? undefined : this.delivered;
  }

  add(notification: Notification): void {
    this.#waiting.push(notification);
    this.#waitingCharacters += notification.payload.length;
    this.delivered ??= this.#work();
  }

  async #work(): Promise<void> {
    // All of one chunk are there by then.
    await Promise.resolve();
    try {
      for (let batch = this.#take(); batch.length > 0; batch = this.#take()) await this.#deliver(batch);
      this.delivered = undefined;
    } catch (thrown) {
      // Nothing more is read: `delivered` stays.
      this.#fail(thrown);
    }
  }

  #take(): Notification[] {
    this.#waitingCharacters = 0;
    return this.#waiting.splice(0);
  }
}
