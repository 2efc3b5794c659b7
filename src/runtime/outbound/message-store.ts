/**
 * The tables of an application's messages. A message is one row without an index: its id holds its number.
 * Only an id that the sender gave has a row of its own.
 */

import type { Content, Offer, Operation } from './objects.ts';
import type { BlobReference } from '../../core/engine/journal.ts';
import { LIMITS } from '../../core/limits.ts';

const SCHEMA = `
  create table if not exists messages (
    sequence integer primary key, id text not null, event_type text not null, channels text not null,
    payload text, blob text, targets text not null, created_at integer not null
  );
  create table if not exists ids (id text primary key, sequence integer not null) without rowid;
  create table if not exists operations (
    sequence integer primary key, at integer not null, type text not null, endpoint text not null, data text not null
  );
  create table if not exists meta (name text primary key, value integer not null) without rowid;
`;

export interface StoredMessage extends Omit<Content, 'payload'> {
  /** Null where it is in R2. */
  readonly payload: string | null;
  readonly blob: BlobReference | undefined;
  /** Endpoints that it was for when it was accepted. */
  readonly targets: readonly string[];
}

/** `data` as JSON text. */
export type StoredOperation = Omit<Operation, 'data'> & { readonly sequence: number; readonly data: string };

type Row = Record<string, SqlStorageValue> & {
  sequence: number;
  id: string;
  event_type: string;
  channels: string;
  payload: string | null;
  blob: string | null;
  targets: string;
  created_at: number;
};

const GENERATED = /^msg_([0-9a-z]{1,11})_[0-9a-f]{16}$/;

/** Ids of the gateway begin so, and none that a sender gives does. */
export const MESSAGE_ID = 'msg_';

export class MessageStore {
  readonly #sql: SqlStorage;

  constructor(sql: SqlStorage) {
    this.#sql = sql;
    sql.exec(SCHEMA);
  }

  /** The number of the newest message. The newest is never pruned, so no number is given twice. */
  last(): number {
    return this.#sql.exec<{ last: number | null }>('select max(sequence) as last from messages').one().last ?? 0;
  }

  insert(message: StoredMessage, hasGivenId: boolean): void {
    const { sequence, id, eventType, channels, payload, blob, targets, createdAt } = message;
    const lists = [JSON.stringify(channels), payload, blob === undefined ? null : JSON.stringify(blob)] as const;
    const values = [sequence, id, eventType, ...lists, JSON.stringify(targets), createdAt];
    this.#sql.exec('insert into messages values (?, ?, ?, ?, ?, ?, ?, ?)', ...values);
    if (hasGivenId) this.#sql.exec('insert into ids values (?, ?)', id, sequence);
  }

  read(id: string): StoredMessage | undefined {
    const number = GENERATED.exec(id)?.[1];
    const sequence =
      number === undefined
        ? this.#sql.exec<{ sequence: number }>('select sequence from ids where id = ?', id).toArray()[0]?.sequence
        : parseInt(number, 36);
    const message = sequence === undefined ? undefined : this.at(sequence);
    return message?.id === id ? message : undefined;
  }

  at(sequence: number): StoredMessage | undefined {
    return this.#sql.exec<Row>('select * from messages where sequence = ?', sequence).toArray().map(messageOf)[0];
  }

  /** In ascending order. */
  after(sequence: number, limit: number): StoredMessage[] {
    const rows = this.#sql.exec<Row>(
      'select * from messages where sequence > ? order by sequence limit ?',
      ...[sequence, limit],
    );
    return rows.toArray().map(messageOf);
  }

  /** The newest first. */
  before(sequence: number, limit: number): StoredMessage[] {
    const rows = this.#sql.exec<Row>(
      'select * from messages where sequence < ? order by sequence desc limit ?',
      ...[sequence, limit],
    );
    return rows.toArray().map(messageOf);
  }

  /** The number of the first message of that time or later; numbers rise with time, so it is found by halving. */
  firstSince(createdAt: number): number {
    let [low, high] = [0, this.last() + 1];
    while (low < high) {
      const middle = (low + high) >> 1;
      const [found] = this.after(middle - 1, 1);
      if (found === undefined || found.createdAt >= createdAt) high = middle;
      else low = found.sequence + 1;
    }
    return low;
  }

  /** What an endpoint is to be given next: as many as go into one call. */
  offersFor(endpoint: string, after: number, until: number): Offer[] {
    const rows = this.#sql.exec<Row>(
      `select * from messages where sequence > ? and sequence <= ? and instr(targets, ?) > 0 order by sequence limit ?`,
      ...[after, until, JSON.stringify(endpoint), LIMITS.outboundBatchMessages],
    );
    return withinCall(rows.toArray().map(messageOf)).map(offerOf);
  }

  /** Up to which message all are with their endpoints. */
  handedOver(): number {
    return this.#sql.exec<{ value: number }>("select value from meta where name = 'handed'").toArray()[0]?.value ?? 0;
  }

  setHandedOver(sequence: number): void {
    this.#sql.exec("insert or replace into meta values ('handed', ?)", sequence);
  }

  /** Keys of all payloads in R2. */
  blobs(): string[] {
    return this.#sql
      .exec<{ key: string }>("select blob ->> 'key' as key from messages where blob is not null")
      .toArray()
      .map(({ key }) => key);
  }

  oldestAt(): number | undefined {
    return this.after(0, 1)[0]?.createdAt;
  }

  /** Deletes a part of what is older, but for the newest message; returns what it was. */
  prune(createdBefore: number): StoredMessage[] {
    const last = this.last();
    const old = this.after(0, LIMITS.outboundRowsPerTurn).filter(
      ({ createdAt, sequence }) => createdAt < createdBefore && sequence < last,
    );
    for (const { sequence, id } of old) {
      this.#sql.exec('delete from messages where sequence = ?', sequence);
      if (!GENERATED.test(id)) this.#sql.exec('delete from ids where id = ?', id);
    }
    this.#sql.exec(
      'delete from operations where sequence in (select sequence from operations where at < ? order by sequence limit ?)',
      ...[createdBefore, LIMITS.outboundRowsPerTurn],
    );
    return old;
  }

  note({ type, at, endpoint, data }: Operation): void {
    const values = [at, type, endpoint, JSON.stringify(data)];
    this.#sql.exec('insert into operations (at, type, endpoint, data) values (?, ?, ?, ?)', ...values);
  }

  /** The newest first. */
  operations(before: number, limit: number): StoredOperation[] {
    return this.#sql
      .exec<Record<string, SqlStorageValue> & StoredOperation>(
        'select * from operations where sequence < ? order by sequence desc limit ?',
        ...[before, limit],
      )
      .toArray();
  }
}

export const generatedId = (sequence: number, random: string): string =>
  `${MESSAGE_ID}${sequence.toString(36)}_${random}`;

export const offerOf = ({ blob: _blob, targets: _targets, ...offer }: StoredMessage): Offer => offer;

/** The first of them that fit into one call. */
export function withinCall(messages: readonly StoredMessage[]): StoredMessage[] {
  let characters = 0;
  return messages.filter(({ payload }, index) => {
    characters += payload?.length ?? 0;
    return index === 0 || characters <= LIMITS.outboundBatchCharacters;
  });
}

const messageOf = (row: Row): StoredMessage => ({
  sequence: row.sequence,
  id: row.id,
  eventType: row.event_type,
  channels: JSON.parse(row.channels) as string[],
  payload: row.payload,
  blob: row.blob === null ? undefined : (JSON.parse(row.blob) as BlobReference),
  targets: JSON.parse(row.targets) as string[],
  createdAt: row.created_at,
});
