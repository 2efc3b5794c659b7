/**
 * The Redis protocol, RESP3 and RESP2 (https://redis.io/docs/latest/develop/reference/protocol-spec/).
 *
 * Guarantee: the same replies come out however the bytes are cut; a reply that is larger, longer or deeper than its
 * bounds ends in a fault before it is in memory. Streamed texts and lists, which no server sends, are refused.
 */

import { Buffer } from 'node:buffer';
import { FaultError, fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

/** An error as Redis wrote it, e.g. `WRONGTYPE Operation against a key…`. It is data: others may follow it. */
export class RedisError extends Error {}

/** What the server sends unasked (RESP3). */
export class Push {
  readonly items: readonly Reply[];
  constructor(items: readonly Reply[]) {
    this.items = items;
  }
}

/** A status (`OK`) is a text, a value is bytes. A map is the list of its keys and values, as in RESP2; a set a list. */
export type Reply = string | Uint8Array | number | bigint | boolean | null | RedisError | Push | readonly Reply[];

export type Word = string | number | Uint8Array;
export type Command = readonly Word[];

/** By bytes, so that no value can pose as a command. */
export const encodeCommand = (command: Command): Buffer =>
  Buffer.concat([
    Buffer.from(`*${command.length}\r\n`),
    ...command.flatMap((word) => {
      const bytes = typeof word === 'object' ? word : Buffer.from(String(word));
      return [Buffer.from(`$${bytes.length}\r\n`), bytes, LINE_END];
    }),
  ]);

/** The same memory. */
export const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const LINE_END = Buffer.from('\r\n');
const CARRIAGE_RETURN = 13;

const unreadable = (): FaultError =>
  new FaultError(fault('upstream.invalid', 'Redis sent something that is not its protocol; check `url`.'));

function integer(line: string): number | bigint {
  if (!/^[+-]?\d{1,19}$/.test(line)) throw unreadable();
  return Number.isSafeInteger(Number(line)) ? Number(line) : BigInt(line);
}

function double(line: string): number {
  const special: Readonly<Record<string, number>> = { inf: Infinity, '-inf': -Infinity, nan: Number.NaN };
  const value = special[line] ?? Number(line);
  if (line.trim() === '' || (Number.isNaN(value) && line !== 'nan')) throw unreadable();
  return value;
}

function bigNumber(line: string): bigint {
  // Longer ones cost more than their length to read; the largest in use have 4,096 bits.
  if (!/^[+-]?\d{1,1300}$/.test(line)) throw unreadable();
  return BigInt(line.replace('+', ''));
}

function boolean(line: string): boolean {
  if (line !== 't' && line !== 'f') throw unreadable();
  return line === 't';
}

/** What is on one line, by its first byte. */
const LINES: Readonly<Record<string, (line: string) => Reply>> = {
  '+': (line) => line,
  '-': (line) => new RedisError(line),
  ':': integer,
  ',': double,
  '#': boolean,
  '(': bigNumber,
  _: () => null,
};

/** What has its length in bytes before it. */
const BLOCKS: Readonly<Record<string, (bytes: Buffer) => Reply>> = {
  $: (bytes) => bytes,
  '!': (bytes) => new RedisError(bytes.toString()),
  // After three letters for its kind and a colon.
  '=': (bytes) => bytes.subarray(4),
};

interface List {
  readonly items: number;
  /** Undefined for what is about the reply, and no reply. */
  make(items: readonly Reply[]): Reply | undefined;
}

/** What has the number of its elements before it. */
const LISTS: Readonly<Record<string, List>> = {
  '*': { items: 1, make: (items) => items },
  '~': { items: 1, make: (items) => items },
  '%': { items: 2, make: (items) => items },
  '>': { items: 1, make: (items) => new Push(items) },
  '|': { items: 2, make: () => undefined },
};

interface OpenList {
  readonly items: Reply[];
  readonly length: number;
  readonly make: List['make'];
}

/** One element; `value` is undefined for one that leaves none, or that others complete. */
interface Element {
  readonly value: Reply | undefined;
  readonly end: number;
}

/** Turns bytes into replies as they arrive; keeps what is incomplete. */
export class ReplyParser {
  readonly #maximumBytes: number;
  #chunks: Buffer[] = [];
  #pendingBytes = 0;
  /** Bytes without which nothing more can be read: spares joining the chunks of a long value again and again. */
  #neededBytes = 1;
  /** Of the reply under way. */
  #replyBytes = 0;
  #replyItems = 0;
  /** Lists under way, outermost first. */
  readonly #open: OpenList[] = [];

  constructor(maximumBytes: number = LIMITS.responseBodyBytes) {
    this.#maximumBytes = maximumBytes;
  }

  /** @throws FaultError `upstream.invalid`, `upstream.too-large`; nothing can be read afterwards */
  push(chunk: Uint8Array): Reply[] {
    this.#chunks.push(bufferOf(chunk));
    this.#pendingBytes += chunk.length;
    const complete: Reply[] = [];
    if (this.#pendingBytes >= this.#neededBytes) {
      const [only, ...others] = this.#chunks;
      const bytes = only !== undefined && others.length === 0 ? only : Buffer.concat(this.#chunks);
      const at = this.#read(bytes, complete);
      this.#chunks = at === bytes.length ? [] : [bytes.subarray(at)];
      this.#pendingBytes = bytes.length - at;
      this.#neededBytes -= at;
    }
    this.#mustFit(this.#replyBytes + this.#pendingBytes);
    return complete;
  }

  /** Returns where it stopped. */
  #read(bytes: Buffer, complete: Reply[]): number {
    let at = 0;
    for (let element = this.#element(bytes, at); element !== undefined; element = this.#element(bytes, at)) {
      this.#replyBytes += element.end - at;
      at = element.end;
      if (element.value !== undefined) this.#place(element.value, complete);
    }
    return at;
  }

  #element(bytes: Buffer, at: number): Element | undefined {
    const lineEnd = bytes.indexOf(CARRIAGE_RETURN, at);
    if (lineEnd < 0 || lineEnd + 1 >= bytes.length) {
      if (bytes.length - at > LIMITS.redisLineBytes) throw unreadable();
      this.#neededBytes = bytes.length + 1;
      return undefined;
    }
    const end = lineEnd + LINE_END.length;
    if (bytes[end - 1] !== LINE_END[1]) throw unreadable();
    const type = bytes.toString('latin1', at, at + 1);
    const line = bytes.toString('utf8', at + 1, lineEnd);
    const ofLine = LINES[type];
    if (ofLine !== undefined) return { value: ofLine(line), end };
    if (!/^(?:-1|\d{1,10})$/.test(line)) throw unreadable();
    const length = Number(line);
    if (length < 0) return { value: null, end };
    const ofBlock = BLOCKS[type];
    if (ofBlock !== undefined) return this.#block(bytes, end, length, ofBlock);
    const list = LISTS[type];
    if (list === undefined) throw unreadable();
    return { value: this.#begin(list, length * list.items), end };
  }

  #block(bytes: Buffer, start: number, length: number, make: (bytes: Buffer) => Reply): Element | undefined {
    this.#mustFit(this.#replyBytes + length);
    const end = start + length + LINE_END.length;
    if (bytes.length < end) {
      this.#neededBytes = end;
      return undefined;
    }
    if (bytes.compare(LINE_END, 0, LINE_END.length, end - LINE_END.length, end) !== 0) throw unreadable();
    return { value: make(bytes.subarray(start, start + length)), end };
  }

  #begin({ make }: List, length: number): Reply | undefined {
    this.#replyItems += length;
    if (this.#replyItems > LIMITS.redisReplyItems) throw tooLarge(`${LIMITS.redisReplyItems} elements`);
    if (length === 0) return make([]);
    if (this.#open.length >= LIMITS.jsonDepth) throw unreadable();
    this.#open.push({ items: [], length, make });
    return undefined;
  }

  #place(reply: Reply, complete: Reply[]): void {
    let value: Reply | undefined = reply;
    while (value !== undefined) {
      const open = this.#open.at(-1);
      if (open === undefined) {
        complete.push(value);
        this.#replyBytes = 0;
        this.#replyItems = 0;
        return;
      }
      open.items.push(value);
      if (open.items.length < open.length) return;
      this.#open.pop();
      value = open.make(open.items);
    }
  }

  #mustFit(bytes: number): void {
    if (bytes > this.#maximumBytes) throw tooLarge(`${this.#maximumBytes} bytes`);
  }
}

export const tooLarge = (bound: string): FaultError =>
  new FaultError(fault('upstream.too-large', `Redis sent more than ${bound}; ask for fewer elements.`));
