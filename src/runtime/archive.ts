/**
 * Ended runs leave their object for R2: many in one object of the bucket, since each costs as much as four rows.
 * Which run is in which is known here: a row for each batch holds the ids of its runs.
 *
 * Guarantee: a row is given up only when its run's summary is in D1 and its batch is stored and known. A crash
 * at any instant leaves a batch that nobody knows, or rows that are archived and still there; never less.
 * Accepted weakness: a batch that nobody knows stays until the bucket's own rule deletes it.
 */

import { gunzip, gzip } from './gzip.ts';
import type { StoredRecord } from './blobs.ts';
import type { Ended, StoredStart } from './run-store.ts';
import type { StepEvent } from '../core/engine/journal.ts';
import { fault, FaultError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';

/** A run as a line of its batch; all but the id is JSON as it was in its rows. */
export interface ArchivedRun {
  readonly id: string;
  readonly start: StoredStart;
  readonly record: StoredRecord;
  readonly journal: readonly (readonly StepEvent[])[];
}

export interface ArchiveOptions {
  readonly sql: SqlStorage;
  readonly bucket: R2Bucket;
  /** Of the object. */
  readonly name: string;
  /** Up to when the summaries of ended runs are in D1. */
  savedUntil(): number;
  readonly retentionMilliseconds: number;
}

export class Archive {
  readonly #options: ArchiveOptions;
  /** What ended before is archived. */
  #until: number;
  /** What ended and is not archived, the oldest first; not all of it where it is not `#isComplete`. */
  #ended: Ended[] = [];
  #isComplete = false;
  /** What is archived and may be asked for once more, by a caller who got no answer. */
  #leaving: Ended[] = [];
  /** Ids of rows that nobody needs. */
  #spare: string[] = [];
  #sweptAt = 0;
  /** Not before then, after a failure. */
  #passAt = 0;
  #passing: Promise<void> | undefined;

  constructor(options: ArchiveOptions) {
    this.#options = options;
    const [row] = options.sql.exec('select max(until) as until from archives').toArray();
    this.#until = Number(row?.['until'] ?? 0);
  }

  /** A row for a new run to take over: to write one anew costs one row, to delete it and insert another two. */
  spareRow(): string | undefined {
    return this.#spare.pop();
  }

  /** To be told of each end, in their order. */
  note(run: Ended): void {
    if (this.#ended.length < 2 * LIMITS.endedRuns && this.#isComplete) this.#ended.push(run);
    else this.#isComplete = false;
    const isDue = this.#ended.length >= LIMITS.endedRuns && Date.now() >= this.#passAt;
    if (isDue) void this.#pass(this.#options.savedUntil());
  }

  /** Archives what ended a while ago, once in that while. */
  async sweep(): Promise<void> {
    const now = Date.now();
    const before = now - LIMITS.archiveMilliseconds;
    if (this.#sweptAt > before) return;
    await this.#pass(Math.min(before, this.#options.savedUntil()), async () => {
      this.#findSpare(now);
      await this.#prune(now - this.#options.retentionMilliseconds);
      this.#sweptAt = now;
    });
  }

  #pass(before: number, then?: () => Promise<void>): Promise<void> {
    return (this.#passing ??= this.#archive(before)
      .then(then)
      .catch((thrown: unknown) => {
        this.#passAt = Date.now() + PAUSE_MILLISECONDS;
        console.error('ended runs could not be archived', thrown);
      })
      .finally(() => (this.#passing = undefined)));
  }

  async #archive(before: number): Promise<void> {
    for (let batch = this.#next(before); batch.length > 0; batch = this.#next(before)) {
      await this.#store(batch);
      this.#ended.splice(0, batch.length);
      this.#leaving.push(...batch.filter(({ mayRepeat }) => !mayRepeat));
    }
    const gone = this.#leaving.findIndex(({ endedAt }) => endedAt >= Date.now() - LIMITS.repeatMilliseconds);
    const room = Math.max(0, LIMITS.spareRows - this.#spare.length);
    // Where there is no room for all, the sweep finds the others.
    for (const { id } of this.#leaving.splice(0, gone === -1 ? this.#leaving.length : gone).slice(0, room)) {
      this.#options.sql.exec('delete from journal where run = ?', id);
      this.#spare.push(id);
    }
  }

  #next(before: number): readonly Ended[] {
    if (this.#ended.length === 0 && !this.#isComplete) this.#fill();
    let [count, characters] = [0, 0];
    for (const run of this.#ended) {
      const isFull = count >= LIMITS.archiveBatchRuns || characters >= LIMITS.archiveBatchCharacters;
      // What ended within one millisecond stays together, since that is how it is known what is archived.
      if (run.endedAt >= before || (isFull && this.#ended[count - 1]?.endedAt !== run.endedAt)) break;
      const query = 'select length(start) + length(events) + length(record) as characters from runs where id = ?';
      characters += Number(this.#options.sql.exec(query, run.id).toArray()[0]?.['characters'] ?? 0);
      count++;
    }
    return this.#ended.slice(0, count);
  }

  #fill(): void {
    const limit = LIMITS.endedRuns;
    const query = 'select id, ended_at, remembered from runs where ended_at >= ? order by ended_at limit ?';
    const found = this.#options.sql.exec(query, this.#until, limit).toArray();
    this.#ended = found.map((row) => ({
      id: String(row['id']),
      endedAt: Number(row['ended_at']),
      mayRepeat: row['remembered'] === 1,
    }));
    this.#isComplete = found.length < limit;
    // The last millisecond may not be there as a whole.
    const last = this.#ended.at(-1)?.endedAt;
    if (!this.#isComplete) this.#ended = this.#ended.filter(({ endedAt }) => endedAt !== last);
  }

  async #store(batch: readonly Ended[]): Promise<void> {
    const { sql, bucket, name } = this.#options;
    const until = (batch.at(-1)?.endedAt ?? 0) + 1;
    const key = `archive/${name}/${until}-${crypto.randomUUID().slice(0, 8)}.ndjson.gz`;
    await bucket.put(key, await gzip(this.#lines(batch)));
    sql.exec('insert into archives values (?, ?, ?)', key, until, idsOf(batch.map(({ id }) => id)));
    this.#until = until;
  }

  *#lines(batch: readonly Ended[]): Generator<Uint8Array> {
    const { sql } = this.#options;
    const encoder = new TextEncoder();
    for (const { id } of batch) {
      const [row] = sql.exec('select start, record, events from runs where id = ?', id).toArray();
      if (row === undefined) continue;
      const more = sql.exec('select events from journal where run = ? order by sequence', id).toArray();
      const journal = [row, ...more].flatMap((part) => String(part['events']).split('\n')).filter(Boolean);
      const line = `{"id":"${id}","start":${String(row['start'])},"record":${String(row['record'])},"journal":[${journal.join(',')}]}\n`;
      yield encoder.encode(line);
    }
  }

  /** Also those that an instance before knew of, and what need not be remembered any more. */
  #findSpare(now: number): void {
    const { sql } = this.#options;
    const [repeatable, forgotten] = [now - LIMITS.repeatMilliseconds, now - LIMITS.deliveryMemoryMilliseconds];
    const where = 'where ended_at < ? and (remembered = 0 or ended_at < ?)';
    const before = [Math.min(this.#until, repeatable), forgotten];
    sql.exec(`delete from journal where run in (select id from runs ${where})`, ...before);
    const rows = sql.exec(`select id from runs ${where}`, ...before).toArray();
    const ids = rows.map((row) => String(row['id']));
    for (const id of ids.splice(LIMITS.spareRows)) sql.exec('delete from runs where id = ?', id);
    this.#spare = ids;
    this.#leaving = this.#leaving.filter(({ endedAt }) => endedAt >= repeatable);
  }

  async #prune(endedBefore: number): Promise<void> {
    const { sql, bucket } = this.#options;
    for (;;) {
      const rows = sql.exec('select key from archives where until < ? limit 1000', endedBefore).toArray();
      if (rows.length === 0) return;
      const keys = rows.map((row) => String(row['key']));
      await bucket.delete(keys);
      for (const key of keys) sql.exec('delete from archives where key = ?', key);
    }
  }

  /** Rejects with `storage.unavailable`. */
  async find(id: string): Promise<ArchivedRun | undefined> {
    const { sql, bucket } = this.#options;
    const query = 'select key from archives where instr(runs, ?) > 0 order by key desc';
    for (const row of sql.exec(query, idsOf([id])).toArray()) {
      const key = String(row['key']);
      const stored = await bucket.get(key).catch((thrown: unknown) => {
        throw new FaultError(fault('storage.unavailable', `The run ${id} could not be read.`, { detail: thrown }));
      });
      if (stored === null) continue;
      const text = `\n${await new Response(gunzip(stored.body)).text()}`;
      const start = text.indexOf(`\n{"id":"${id}"`) + 1;
      if (start > 0) return JSON.parse(text.slice(start, text.indexOf('\n', start))) as ArchivedRun;
    }
    return undefined;
  }
}

/** The digits at the end of each id, which are enough to tell them apart. */
function idsOf(ids: readonly string[]): ArrayBuffer {
  const bytes = new Uint8Array(ids.length * ID_BYTES);
  for (const [index, id] of ids.entries()) {
    const digits = id.slice(-2 * ID_BYTES);
    for (let n = 0; n < ID_BYTES; n++) {
      bytes[index * ID_BYTES + n] = Number.parseInt(digits.slice(2 * n, 2 * n + 2), 16);
    }
  }
  return bytes.buffer;
}

const ID_BYTES = 16;

const PAUSE_MILLISECONDS = 60_000;
