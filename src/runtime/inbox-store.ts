/**
 * The tables of an inbox. An event is one row; the entry of its delivery id in the index is another, and what
 * became of it is written into its row once: three rows in all, and two when it is pruned.
 */

import {
  nextSequence,
  sequenceAt,
  type EventContent,
  type EventOutcome,
  type EventRun,
  type EventStatus,
  type EventSummary,
} from '../core/inbox/event.ts';
import { LIMITS } from '../core/limits.ts';

/** A verified delivery on its way to its inbox. */
export interface Delivery extends EventContent {
  readonly deliveryId: string;
  readonly type: string | null;
  /** Unix milliseconds. */
  readonly receivedAt: number;
  /** Size of the body. */
  readonly bytes: number;
  /** Where the body is in R2; `body` is then empty. */
  readonly blob: string | null;
}

/** A delivery that was refused. */
export interface Refused extends EventContent {
  readonly receivedAt: number;
  readonly bytes: number;
  readonly refusal: string;
}

export interface StoredEvent extends Delivery {
  readonly sequence: number;
}

export interface EventFilter {
  /** `duplicate`: came more than once; `pending`: its runs are not started yet. */
  readonly status?: EventStatus | 'duplicate' | 'pending';
  readonly type?: string;
  /** A part of the body. */
  readonly query?: string;
  /** Sequence numbers, both exclusive. */
  readonly after?: number;
  readonly before?: number;
  readonly limit: number;
}

/** Newest first. `next` goes on where it ends, as `before`; undefined where there is nothing more. */
export interface EventPage {
  readonly items: readonly EventSummary[];
  readonly next: number | undefined;
}

/** `state` of a row: the place of the status in this list. */
const STATES = ['pending', 'accepted', 'ignored', 'failed'] as const;
type State = (typeof STATES)[number];

/** What lists look at stands before what they need not read. */
const SCHEMA = `
  create table if not exists events (
    sequence integer primary key, state integer not null, received_at integer not null, type text,
    delivery text not null, bytes integer not null, duplicates integer not null default 0, outcome text,
    scheme text not null, query text not null, headers text not null, blob text, body blob
  );
  create unique index if not exists events_by_delivery on events (delivery);
  create table if not exists rejected (
    slot integer primary key, sequence integer not null, received_at integer not null, bytes integer not null,
    refusal text not null, scheme text not null, query text not null, headers text not null, body blob not null
  );
  create table if not exists meta (name text primary key, value integer not null) without rowid;
`;

const LISTED = 'sequence, state, received_at, type, delivery, bytes, duplicates, outcome';
const WHOLE = 'sequence, received_at, type, delivery, bytes, scheme, query, headers, blob, body';
const NOTHING: EventOutcome = { runs: [], errors: [] };

type Row = Record<string, SqlStorageValue>;

export class InboxStore {
  readonly #sql: SqlStorage;
  #last: number;
  #slot: number;

  constructor({ sql }: DurableObjectStorage) {
    this.#sql = sql;
    sql.exec(SCHEMA);
    const newest = sql
      .exec(
        `select (select max(sequence) from events) as event, (select max(sequence) from rejected) as refused,
          (select value from meta where name = 'last') as kept`,
      )
      .one();
    this.#last = Math.max(Number(newest['event']), Number(newest['refused']), Number(newest['kept']));
    this.#slot = Number(
      sql.exec('select slot from rejected order by sequence desc limit 1').toArray()[0]?.['slot'] ?? 0,
    );
  }

  /** The sequence number of the event, or undefined where the delivery is known already. One statement: all or nothing. */
  insert(delivery: Delivery, now: number): number | undefined {
    const sequence = nextSequence(this.#last, now);
    const { receivedAt, type, deliveryId, bytes, scheme, query, headers, blob, body } = delivery;
    const { rowsWritten } = this.#sql.exec(
      `insert into events (sequence, state, received_at, type, delivery, bytes, scheme, query, headers, blob, body)
       values (?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (delivery) do nothing`,
      ...[sequence, receivedAt, type, deliveryId, bytes, scheme, query, headers, blob, body],
    );
    if (rowsWritten === 0) return undefined;
    this.#last = sequence;
    return sequence;
  }

  /** The event of a delivery, if it is not older than that. */
  find(deliveryId: string): number | undefined {
    const row = this.#sql.exec('select sequence from events where delivery = ?', deliveryId).toArray()[0];
    return row && Number(row['sequence']);
  }

  /** Lets a delivery that is known since long come once more as a new event. */
  forget(sequence: number): void {
    this.#sql.exec(`update events set delivery = delivery || ' ' || sequence where sequence = ?`, sequence);
  }

  addDuplicates(counts: ReadonlyMap<number, number>): void {
    for (const [sequence, count] of counts) {
      this.#sql.exec('update events set duplicates = duplicates + ? where sequence = ?', count, sequence);
    }
  }

  /** The newest are kept, each in the place of the oldest. */
  reject(refused: Refused, now: number): void {
    this.#last = nextSequence(this.#last, now);
    this.#slot = (this.#slot + 1) % LIMITS.rejectedPerSource;
    const { receivedAt, bytes, refusal, scheme, query, headers, body } = refused;
    this.#sql.exec(
      'insert or replace into rejected values (?, ?, ?, ?, ?, ?, ?, ?, ?)',
      ...[this.#slot, this.#last, receivedAt, bytes, refusal, scheme, query, headers, body],
    );
  }

  /** The number that was given last. */
  get newest(): number {
    return this.#last;
  }

  /** Events whose runs are not started, the oldest first. */
  pending(): number[] {
    const from = this.#sql.exec(`select value from meta where name = 'pending_from'`).toArray()[0]?.['value'] ?? 0;
    return this.#sql
      .exec('select sequence from events where sequence >= ? and state = 0 order by sequence', from)
      .toArray()
      .map((row) => Number(row['sequence']));
  }

  /** All before that are done; and no later event gets a number that was given before, whatever is pruned. */
  mark(pendingFrom: number | undefined): void {
    this.#sql.exec(
      `insert into meta values ('pending_from', ?), ('last', ?)
       on conflict (name) do update set value = excluded.value`,
      pendingFrom ?? this.#last,
      this.#last,
    );
  }

  read(sequence: number): StoredEvent | undefined {
    const row = this.#sql.exec(`select ${WHOLE} from events where sequence = ?`, sequence).toArray()[0];
    return row && storedOf(row);
  }

  /** Events after that one, the oldest first, as many as a chunk takes. */
  readAfter(sequence: number): StoredEvent[] {
    const events: StoredEvent[] = [];
    let bytes = 0;
    const cursor = this.#sql.exec(
      `select ${WHOLE} from events where sequence > ? order by sequence limit ?`,
      sequence,
      LIMITS.listenChunkEvents,
    );
    for (const row of cursor) {
      const event = storedOf(row);
      events.push(event);
      if ((bytes += event.bytes) >= LIMITS.listenChunkBytes) break;
    }
    return events;
  }

  /** Notes what became of an event; runs that it had before, by replay, stay. The errors are those of the last time. */
  settle(sequence: number, state: State, { runs, errors }: EventOutcome): void {
    const before = runs.length === 0 ? NOTHING : this.#outcomeOf(sequence);
    this.#write(sequence, STATES.indexOf(state), { runs: joined(before.runs, runs), errors });
  }

  /** Adds runs that were started by hand: they mend the errors of their triggers. An event that is pending stays so. */
  note(sequence: number, runs: readonly EventRun[]): void {
    const before = this.#outcomeOf(sequence);
    const errors = before.errors.filter(
      (error) => !runs.some((run) => run.chain === error.chain && run.trigger === error.trigger),
    );
    const state = STATES.indexOf(errors.length > 0 ? 'failed' : 'accepted');
    this.#write(sequence, state, { runs: joined(before.runs, runs), errors }, 'case state when 0 then 0 else ? end');
  }

  #write(sequence: number, state: number, outcome: EventOutcome, stateOf = '?'): void {
    const text = outcome.runs.length + outcome.errors.length === 0 ? null : JSON.stringify(outcome);
    this.#sql.exec(`update events set state = ${stateOf}, outcome = ? where sequence = ?`, state, text, sequence);
  }

  #outcomeOf(sequence: number): EventOutcome {
    const [row] = this.#sql.exec('select outcome from events where sequence = ?', sequence).toArray();
    return row === undefined ? NOTHING : outcomeOf(row);
  }

  /** An event, verified or refused, as a list shows it, and its content. */
  show(
    sequence: number,
  ): { readonly summary: EventSummary; readonly content: EventContent; readonly blob: string | null } | undefined {
    const [row] = this.#sql.exec('select * from events where sequence = ?', sequence).toArray();
    if (row !== undefined) return { summary: summaryOf(row), content: contentOf(row), blob: textOrNull(row['blob']) };
    const [refused] = this.#sql.exec('select * from rejected where sequence = ?', sequence).toArray();
    return refused && { summary: refusedOf(refused), content: contentOf(refused), blob: null };
  }

  /** Looks through a bounded number of rows: a page may hold less than its limit, and even nothing, and go on. */
  list(filter: EventFilter): EventPage {
    const { after = 0, before = Number.MAX_SAFE_INTEGER, limit, status, query } = filter;
    const needle = query === undefined ? undefined : new TextEncoder().encode(query);
    const [events, end] = status === 'rejected' ? [[], undefined] : this.#events(filter, after, before, needle);
    const refused =
      status === undefined || status === 'rejected'
        ? this.#refused(after, before, needle).filter(({ type }) => filter.type === undefined || filter.type === type)
        : [];
    // What lies beyond the end of what was looked through comes with the next page.
    const merged = [...events, ...refused.filter(({ sequence }) => end === undefined || sequence >= end)].sort(
      (one, other) => other.sequence - one.sequence,
    );
    const items = merged.slice(0, limit);
    const next = merged.length > limit ? items.at(-1)?.sequence : end;
    return { items, next };
  }

  /** The matching events of a stretch, and where the stretch ended, if not at its natural end. */
  #events(
    { status, type, limit }: EventFilter,
    after: number,
    before: number,
    needle: Uint8Array | undefined,
  ): [EventSummary[], number | undefined] {
    const found: EventSummary[] = [];
    let looked = 0;
    let last = 0;
    const cursor = this.#sql.exec(
      `select ${LISTED}, ${needle === undefined ? '1' : 'blob is null and instr(body, ?3) > 0'} as matches
       from events where sequence > ?1 and sequence < ?2 order by sequence desc`,
      ...[after, before, ...(needle === undefined ? [] : [needle])],
    );
    for (const row of cursor) {
      if (looked === LIMITS.eventsLookedThrough || found.length > limit) return [found, last];
      looked++;
      last = Number(row['sequence']);
      const summary = summaryOf(row);
      const isWanted = status === undefined || hasStatus(summary, status);
      if (isWanted && row['matches'] === 1 && (type === undefined || summary.type === type)) found.push(summary);
    }
    return [found, undefined];
  }

  #refused(after: number, before: number, needle: Uint8Array | undefined): EventSummary[] {
    return this.#sql
      .exec(
        `select * from rejected where sequence > ? and sequence < ? and (? is null or instr(body, ?) > 0)`,
        ...[after, before, needle ?? null, needle ?? null],
      )
      .toArray()
      .map(refusedOf);
  }

  /** What is older than that and done, a bounded number. */
  expired(receivedBefore: number): { readonly sequence: number; readonly blob: string | null }[] {
    return this.#sql
      .exec(
        'select sequence, blob from events where sequence < ? and state <> 0 order by sequence limit ?',
        sequenceAt(receivedBefore),
        LIMITS.inboxPruneEvents,
      )
      .toArray()
      .map((row) => ({ sequence: Number(row['sequence']), blob: textOrNull(row['blob']) }));
  }

  remove(sequences: readonly number[]): void {
    this.#sql.exec('delete from events where sequence in (select value from json_each(?))', JSON.stringify(sequences));
  }

  pruneRejected(receivedBefore: number): void {
    this.#sql.exec('delete from rejected where sequence < ?', sequenceAt(receivedBefore));
  }

  /** When the oldest event came. */
  oldestAt(): number | undefined {
    const at = this.#sql.exec('select received_at from events order by sequence limit 1').toArray()[0]?.['received_at'];
    return at === undefined ? undefined : Number(at);
  }
}

function hasStatus({ status, duplicates, pending }: EventSummary, wanted: NonNullable<EventFilter['status']>): boolean {
  if (wanted === 'duplicate') return duplicates > 0;
  return wanted === 'pending' ? pending : status === wanted;
}

/** Each run once, the newest of them. */
const joined = (before: readonly EventRun[], runs: readonly EventRun[]): readonly EventRun[] =>
  [...before, ...runs.filter(({ run }) => !before.some((known) => known.run === run))].slice(-LIMITS.runsPerEvent);

const textOrNull = (value: SqlStorageValue | undefined): string | null => (typeof value === 'string' ? value : null);

const bytesOf = (value: SqlStorageValue | undefined): Uint8Array =>
  value instanceof ArrayBuffer ? new Uint8Array(value) : new Uint8Array(0);

const contentOf = (row: Row): EventContent => ({
  scheme: String(row['scheme']),
  query: String(row['query']),
  headers: String(row['headers']),
  body: bytesOf(row['body']),
});

const storedOf = (row: Row): StoredEvent => ({
  ...contentOf(row),
  sequence: Number(row['sequence']),
  receivedAt: Number(row['received_at']),
  type: textOrNull(row['type']),
  deliveryId: String(row['delivery']),
  bytes: Number(row['bytes']),
  blob: textOrNull(row['blob']),
});

const outcomeOf = (row: Row): EventOutcome =>
  typeof row['outcome'] === 'string' ? (JSON.parse(row['outcome']) as EventOutcome) : NOTHING;

function summaryOf(row: Row): EventSummary {
  const state = STATES[Number(row['state'])] ?? 'failed';
  return {
    sequence: Number(row['sequence']),
    status: state === 'pending' ? 'accepted' : state,
    pending: state === 'pending',
    receivedAt: Number(row['received_at']),
    deliveryId: String(row['delivery']),
    type: textOrNull(row['type']),
    bytes: Number(row['bytes']),
    duplicates: Number(row['duplicates']),
    outcome: outcomeOf(row),
    refusal: null,
  };
}

const refusedOf = (row: Row): EventSummary => ({
  sequence: Number(row['sequence']),
  status: 'rejected',
  pending: false,
  receivedAt: Number(row['received_at']),
  deliveryId: null,
  type: null,
  bytes: Number(row['bytes']),
  duplicates: 0,
  outcome: NOTHING,
  refusal: String(row['refusal']),
});
