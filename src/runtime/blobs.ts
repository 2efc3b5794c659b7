/**
 * Outputs that are too large for a row: they go to R2 under `runs/<run>/`, and the journal and the record
 * refer to them.
 *
 * Guarantee: what a row refers to was stored before the row was written.
 * Accepted weakness: an attempt that is given up while its output is being stored leaves that output behind,
 * until the bucket's own rule deletes it.
 */

import { gunzip, gzip } from './gzip.ts';
import type { BlobReference, StepEvent } from '../core/engine/journal.ts';
import type { RunRecord, RunSummary } from '../core/engine/record.ts';
import { fault, FaultError, faultOf, type Fault } from '../core/errors.ts';
import { fits } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';

/** A record as its row holds it. */
export interface StoredRecord extends RunRecord {
  /** Of the run's output, and of those of its steps by their place in `steps`. */
  readonly blobs?: { readonly output?: BlobReference; readonly steps: Readonly<Record<string, BlobReference>> };
}

/** Loaded outputs, by the key of their blob. */
export type Loaded = ReadonlyMap<string, unknown>;

const WORTHWHILE = 0.9;
const FIRST_PAUSE_MILLISECONDS = 100;

export class Blobs {
  readonly #bucket: R2Bucket;

  constructor(bucket: R2Bucket) {
    this.#bucket = bucket;
  }

  /** A failure of the storage is none of the step, so it is tried again here. Rejects with `storage.unavailable`. */
  async put(key: string, json: string): Promise<BlobReference> {
    const plain = new TextEncoder().encode(json);
    const packed = await gzip([plain]);
    const isPacked = packed.byteLength < plain.byteLength * WORTHWHILE;
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#bucket.put(key, isPacked ? packed : plain);
        return { key, bytes: plain.byteLength, ...(isPacked && { gzip: true }) };
      } catch (thrown) {
        if (attempt < LIMITS.blobTries) await scheduler.wait(FIRST_PAUSE_MILLISECONDS * 4 ** (attempt - 1));
        else throw unavailable(`An output of ${plain.byteLength} bytes could not be stored.`, thrown);
      }
    }
  }

  /** Rejects with `storage.unavailable`, also where one is gone, unless it is said what stands for it then. */
  async load(references: readonly BlobReference[], gone?: string): Promise<Map<string, unknown>> {
    const loaded = new Map<string, unknown>();
    // One by one: each takes its memory twice while it is parsed.
    for (const { key, gzip: isPacked } of references) {
      const stored = await this.#bucket.get(key).catch((thrown: unknown) => {
        throw unavailable(`The output ${key} could not be read.`, thrown);
      });
      if (stored === null && gone === undefined) throw unavailable(`The output ${key} is gone.`, undefined);
      if (stored === null) loaded.set(key, gone);
      else loaded.set(key, isPacked === true ? await new Response(gunzip(stored.body)).json() : await stored.json());
    }
    return loaded;
  }
}

const unavailable = (message: string, detail: unknown): FaultError =>
  new FaultError(fault('storage.unavailable', message, { detail }));

const made = new WeakMap<R2Bucket, Blobs>();

/** Undefined where no bucket is bound. */
export function blobsOf({ BLOBS: bucket }: { readonly BLOBS?: R2Bucket }): Blobs | undefined {
  if (bucket === undefined) return undefined;
  const known = made.get(bucket) ?? new Blobs(bucket);
  made.set(bucket, known);
  return known;
}

/** What the journal of one run keeps outside of its rows. */
export class Keeper {
  readonly #blobs: Blobs | undefined;
  readonly #run: string;
  /** By the output itself. */
  readonly #kept = new Map<unknown, BlobReference>();
  #bytes = 0;

  constructor(blobs: Blobs | undefined, run: string) {
    this.#blobs = blobs;
    this.#run = run;
  }

  /** A fault where an output cannot be kept; a promise while it is being stored; undefined once it may be recorded. */
  check(output: unknown, name: string | undefined): Fault | Promise<Fault | undefined> | undefined {
    if (this.#kept.has(output)) return undefined;
    const json = JSON.stringify(output ?? null);
    if (fits(json, LIMITS.blobFromBytes)) return undefined;
    if (this.#blobs === undefined || name === undefined) return fits(json, LIMITS.rowOutputBytes) ? undefined : NO_ROOM;
    if (!fits(json, LIMITS.stepOutputBytes)) return TOO_LARGE;
    return this.#store(this.#blobs, output, json, name);
  }

  async #store(blobs: Blobs, output: unknown, json: string, name: string): Promise<Fault | undefined> {
    try {
      const reference = await blobs.put(`runs/${this.#run}/${name}`, json);
      if (this.#bytes + reference.bytes > LIMITS.runOutputsBytes) return TOO_MUCH;
      this.#keep(output, reference);
      return undefined;
    } catch (thrown) {
      return faultOf(thrown);
    }
  }

  #keep(output: unknown, reference: BlobReference): void {
    this.#kept.set(output, reference);
    this.#bytes += reference.bytes;
  }

  /** An event as the journal holds it. */
  stored(event: StepEvent): StepEvent {
    if (event.type !== 'succeeded') return event;
    const blob = event.blob ?? this.#kept.get(event.output);
    return blob === undefined ? event : { ...event, output: null, blob };
  }

  /** An event of the journal with its output, which is kept from now on; as it is where it refers to nothing. */
  whole(event: StepEvent, loaded: Loaded): StepEvent {
    const blob = referenceOf(event);
    if (blob === undefined || !loaded.has(blob.key)) return event;
    const output = loaded.get(blob.key);
    this.#keep(output, blob);
    return { ...event, output } as StepEvent;
  }

  /** A record as its row holds it. */
  record(record: RunRecord): StoredRecord {
    const output = this.#kept.get(record.output);
    const places = record.steps.flatMap((step, index) => {
      const blob = this.#kept.get(step.output);
      return blob === undefined ? [] : [[String(index), blob] as const];
    });
    if (output === undefined && places.length === 0) return record;
    const steps = Object.fromEntries(places);
    return {
      ...record,
      output: output === undefined ? record.output : undefined,
      steps: record.steps.map((step, index) => (index in steps ? { ...step, output: undefined } : step)),
      blobs: { steps, ...(output !== undefined && { output }) },
    };
  }
}

const referenceOf = (event: StepEvent): BlobReference | undefined =>
  event.type === 'succeeded' ? event.blob : undefined;

/** What events refer to and is not loaded yet. */
export const missingOf = (events: readonly StepEvent[], loaded: Loaded): BlobReference[] =>
  events.flatMap((event) => referenceOf(event) ?? []).filter(({ key }) => !loaded.has(key));

/** The events with their outputs. Rejects with `storage.unavailable`. */
export async function wholeEvents(blobs: Blobs | undefined, events: readonly StepEvent[]): Promise<StepEvent[]> {
  const loaded = (await blobs?.load(missingOf(events, new Map()))) ?? new Map<string, unknown>();
  return events.map((event) => {
    const blob = referenceOf(event);
    return blob === undefined ? event : ({ ...event, output: loaded.get(blob.key) } as StepEvent);
  });
}

/** The record, as JSON text of a row, with its outputs. Rejects with `storage.unavailable`. */
export async function wholeRecord(blobs: Blobs | undefined, text: string): Promise<RunRecord> {
  const { blobs: references, ...record } = JSON.parse(text) as StoredRecord;
  if (references === undefined || blobs === undefined) return record;
  const { output, steps } = references;
  const loaded = await blobs.load([...(output === undefined ? [] : [output]), ...Object.values(steps)], GONE);
  return {
    ...record,
    ...(output && { output: loaded.get(output.key) }),
    steps: record.steps.map((step, index) => {
      const reference = steps[String(index)];
      return reference === undefined ? step : { ...step, output: loaded.get(reference.key) };
    }),
  };
}

/** What lists show of a record that is JSON text of a row. */
export function summaryOfRecord(text: string): RunSummary {
  const { input: _input, output: _output, steps: _steps, blobs: _blobs, ...summary } = JSON.parse(text) as StoredRecord;
  return summary;
}

/** Shown in the place of an output that the bucket has deleted. */
const GONE = '[not kept any more]';

const TOO_LARGE = fault(
  'step.output-too-large',
  `The output is too large as JSON; a durable run keeps up to ${LIMITS.stepOutputBytes} bytes of one.`,
);

const NO_ROOM = fault(
  'step.output-too-large',
  `The output is too large as JSON; without an R2 bucket bound as BLOBS, a durable run keeps up to ` +
    `${LIMITS.rowOutputBytes} bytes of one, and of an event. Bind the bucket (docs/deployment.md), or ask for less.`,
);

const TOO_MUCH = fault(
  'step.output-too-large',
  `The outputs are too large together; a durable run keeps up to ${LIMITS.runOutputsBytes} bytes of large ones.`,
);
