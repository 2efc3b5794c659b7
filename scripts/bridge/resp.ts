/** The part of the Redis protocol (RESP2) that a bridge needs: pipelined commands over one connection. */

import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** An error as Redis wrote it, e.g. `WRONGTYPE Operation against a key…`. */
export class RedisError extends Error {}

/** A status (`OK`) is a text, a value is bytes: the bridge encodes them differently. */
export type Reply = string | Buffer | number | bigint | null | RedisError | readonly Reply[];

const CARRIAGE_RETURN = 13;
const LINE_END_BYTES = 2;

/** Turns bytes into replies as they arrive; keeps what is incomplete. */
export class ReplyParser {
  #chunks: Buffer[] = [];
  #bytes = 0;
  /** Bytes without which the next step cannot succeed: spares joining the chunks of a long value again and again. */
  #needed = 1;
  /** Arrays under way, outermost first. */
  readonly #open: { readonly items: Reply[]; readonly length: number }[] = [];

  /** Bytes that wait for the rest of their reply. */
  get pendingBytes(): number {
    return this.#bytes;
  }

  push(chunk: Buffer): Reply[] {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    const complete: Reply[] = [];
    if (this.#bytes < this.#needed) return complete;
    const buffer = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    let at = 0;
    for (;;) {
      const next = this.#element(buffer, at);
      if (next === undefined) break;
      at = next.end;
      if (next.value !== undefined) this.#place(next.value, complete);
    }
    this.#chunks = [buffer.subarray(at)];
    this.#bytes = buffer.length - at;
    this.#needed -= at;
    return complete;
  }

  #element(buffer: Buffer, at: number): { readonly value: Reply | undefined; readonly end: number } | undefined {
    const lineEnd = buffer.indexOf(CARRIAGE_RETURN, at);
    if (lineEnd < 0 || lineEnd + 1 >= buffer.length) {
      this.#needed = buffer.length + 1;
      return undefined;
    }
    const type = buffer.toString('latin1', at, at + 1);
    const line = buffer.toString('utf8', at + 1, lineEnd);
    const end = lineEnd + LINE_END_BYTES;
    if (type === '+') return { value: line, end };
    if (type === '-') return { value: new RedisError(line), end };
    if (type === ':') return { value: Number.isSafeInteger(Number(line)) ? Number(line) : BigInt(line), end };
    const length = Number(line);
    if ((type !== '$' && type !== '*') || !Number.isInteger(length)) throw new Error('This is not the Redis protocol.');
    if (length < 0) return { value: null, end };
    if (type === '*') {
      if (length === 0) return { value: [], end };
      this.#open.push({ items: [], length });
      return { value: undefined, end };
    }
    if (buffer.length < end + length + LINE_END_BYTES) {
      this.#needed = end + length + LINE_END_BYTES;
      return undefined;
    }
    return { value: buffer.subarray(end, end + length), end: end + length + LINE_END_BYTES };
  }

  #place(reply: Reply, complete: Reply[]): void {
    let value: Reply = reply;
    for (;;) {
      const open = this.#open.at(-1);
      if (open === undefined) {
        complete.push(value);
        return;
      }
      open.items.push(value);
      if (open.items.length < open.length) return;
      this.#open.pop();
      value = open.items;
    }
  }
}

export function encodeCommand(command: readonly string[]): string {
  return command.reduce((text, part) => `${text}$${Buffer.byteLength(part)}\r\n${part}\r\n`, `*${command.length}\r\n`);
}

export interface RedisOptions {
  /** `redis[s]://[user][:password]@host[:port][/database]` */
  readonly url: string;
  /** A connection that stays silent so long with commands under way is given up. */
  readonly timeoutMilliseconds: number;
  /** Replies that wait to be complete; more means that somebody reads a whole database. */
  readonly replyBytes: number;
}

export interface RedisConnection {
  /** The replies, in order. Commands of one call follow each other without another's between. */
  send(commands: readonly (readonly string[])[]): Promise<readonly Reply[]>;
  close(): void;
}

interface Waiting {
  readonly replies: Reply[];
  readonly count: number;
  resolve(replies: readonly Reply[]): void;
  reject(error: Error): void;
}

/** Connects on first use and again after a failure. */
export function createRedisConnection(options: RedisOptions): RedisConnection {
  const url = new URL(options.url);
  let socket: Socket | undefined;
  let waiting: Waiting[] = [];

  function open(): Socket {
    const parser = new ReplyParser();
    const address = { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 6379) };
    const opened =
      url.protocol === 'rediss:' ? connectTls({ ...address, servername: address.host }) : connectTcp(address);
    const drop = (error: Error): void => {
      opened.destroy();
      if (socket !== opened) return;
      socket = undefined;
      const lost = waiting;
      waiting = [];
      for (const each of lost) each.reject(error);
    };
    opened.setNoDelay(true);
    opened.setTimeout(options.timeoutMilliseconds, () => {
      if (waiting.length > 0) drop(new Error('Redis did not answer in time.'));
    });
    opened.on('error', () => drop(new Error('Redis cannot be reached.')));
    opened.on('close', () => drop(new Error('Redis closed the connection.')));
    opened.on('data', (chunk: Buffer) => {
      try {
        for (const reply of parser.push(chunk)) settle(reply);
      } catch (error) {
        drop(error instanceof Error ? error : new Error('The reply of Redis cannot be read.'));
      }
      if (parser.pendingBytes > options.replyBytes) drop(new Error('The reply of Redis is too large.'));
    });
    return opened;
  }

  function settle(reply: Reply): void {
    const first = waiting[0];
    if (first === undefined) throw new Error('Redis sent a reply that nobody asked for.');
    first.replies.push(reply);
    if (first.replies.length < first.count) return;
    waiting.shift();
    first.resolve(first.replies);
  }

  function write(to: Socket, commands: readonly (readonly string[])[]): Promise<readonly Reply[]> {
    return new Promise((resolve, reject) => {
      waiting.push({ replies: [], count: commands.length, resolve, reject });
      to.write(commands.map(encodeCommand).join(''));
    });
  }

  /** Redis refuses later commands by itself where one of these fails; its error then says why. */
  function greeting(): string[][] {
    const password = decodeURIComponent(url.password);
    const user = decodeURIComponent(url.username);
    const database = url.pathname.slice(1);
    return [
      ...(password === '' ? [] : [['AUTH', ...(user === '' ? [] : [user]), password]]),
      ...(database === '' || database === '0' ? [] : [['SELECT', database]]),
    ];
  }

  return {
    async send(commands) {
      if (commands.length === 0) return [];
      const first = socket === undefined ? greeting() : [];
      socket ??= open();
      const replies = await write(socket, [...first, ...commands]);
      const refused = replies.slice(0, first.length).find((reply) => reply instanceof RedisError);
      if (refused !== undefined) {
        socket?.destroy();
        throw refused;
      }
      return replies.slice(first.length);
    },
    close: () => {
      socket?.destroy();
    },
  };
}
