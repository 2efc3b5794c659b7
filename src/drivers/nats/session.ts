/**
 * A session with NATS for one step: a socket cannot be used across requests, so it is opened for the step and
 * closed at its end in every case.
 *
 * Not through @nats-io/nats-core: with JetStream's it is 60 KB of the bundle, it chooses servers and comes back to
 * them by itself, its way out is one for all sessions, and it writes to the console.
 */

import * as v from 'valibot';
import { errorFault } from './faults.ts';
import { framesOf, type Frame, type NatsHeaders, type NatsMessage } from './frames.ts';
import { openLine, type Line, type NatsWire } from './line.ts';
import { signerOf } from './nkeys.ts';
import { FaultError, fault, type Fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

export interface NatsCredentials {
  readonly user?: string | undefined;
  readonly password?: string | undefined;
  readonly token?: string | undefined;
  /** The seed of an nkey: `SU…`. */
  readonly seed?: string | undefined;
  /** A file of creds: a JWT and its seed. */
  readonly creds?: string | undefined;
}

export interface NatsTarget {
  /** `wss://`, `ws://`, `tls://` or `nats://`, with a host. */
  readonly url: string;
  readonly credentials: NatsCredentials;
  /** Begins the subjects on which replies come, where the account may listen on no others. */
  readonly inboxPrefix?: string | undefined;
  /** What a session may receive; `Infinity` for one that goes on forever. */
  readonly maximumBytes?: number | undefined;
}

const serverInfo = v.object({
  server_name: v.optional(v.string()),
  version: v.optional(v.string()),
  jetstream: v.optional(v.boolean(), false),
  max_payload: v.number(),
  tls_required: v.optional(v.boolean(), false),
  nonce: v.optional(v.string()),
});
type ServerInfo = v.InferOutput<typeof serverInfo>;

interface Sending {
  readonly headers?: NatsHeaders;
  readonly reply?: string;
}

export class NatsSession {
  readonly info: ServerInfo;
  /** Rejects with a FaultError once the session is over for whatever reason. */
  readonly over: Promise<never>;
  readonly #line: Line;
  readonly #inbox: string;
  readonly #over = Promise.withResolvers<never>();
  readonly #listeners = new Map<number, (message: NatsMessage) => void>();
  #replies: Map<string, (message: NatsMessage) => void> | undefined;
  #pongs: (() => void)[] = [];
  #count = 0;

  private constructor(line: Line, info: ServerInfo, inboxPrefix: string) {
    this.#line = line;
    this.info = info;
    this.#inbox = `${inboxPrefix}.${crypto.randomUUID().replaceAll('-', '')}`;
    this.over = this.#over.promise;
    // Whoever waits for something hears of it.
    this.over.catch(() => undefined);
  }

  /** @throws FaultError of the line, `upstream.unauthorized`, `upstream.timeout`, `upstream.invalid` … */
  static async open(target: NatsTarget, wire: NatsWire, opened: (line: Line) => void): Promise<NatsSession> {
    const line = await openLine(target.url, wire).catch(asFault(UNREACHABLE));
    opened(line);
    const frames = framesOf(line.chunks, target.maximumBytes ?? LIMITS.responseBodyBytes);
    const first = await frames.next().catch(asFault(LOST));
    if (first.done === true || first.value.kind !== 'info') throw new FaultError(NO_SERVER);
    const info = infoIn(first.value.text);
    // Not to be left to the server, which would say so once the credentials are on their way.
    if (info.tls_required && target.url.startsWith('nats:')) throw new FaultError(NEEDS_TLS);
    const session = new NatsSession(line, info, target.inboxPrefix ?? '_INBOX');
    void session.#listen(frames);
    const connect = JSON.stringify(await introduction(target.credentials, info, line));
    // In one piece: a server that refuses the one would reset the line for the other, and its reason would be lost.
    await session.flush(`CONNECT ${connect}\r\n`);
    return session;
  }

  /** Resolves once the server has seen all that was sent before: a refusal of it has come by then. */
  flush(before = ''): Promise<void> {
    const pong = Promise.withResolvers<void>();
    this.#pongs.push(pong.resolve);
    this.#send(`${before}PING\r\n`);
    return this.#within(LIMITS.natsReplyMilliseconds, pong.promise);
  }

  /** @throws FaultError `step.params` where it is more than the server takes */
  publish(subject: string, payload: Uint8Array, { headers = [], reply }: Sending = {}): void {
    const head = new TextEncoder().encode(
      headers.length === 0 ? '' : `NATS/1.0\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
    );
    const bytes = head.length + payload.length;
    if (bytes > this.info.max_payload) {
      const message = `The message has ${bytes} bytes; the server takes ${this.info.max_payload}.`;
      throw new FaultError(fault('step.params', message));
    }
    const to = reply === undefined ? subject : `${subject} ${reply}`;
    this.#send(
      head.length === 0 ? `PUB ${to} ${bytes}\r\n` : `HPUB ${to} ${head.length} ${bytes}\r\n`,
      head,
      payload,
      END,
    );
  }

  listen(subject: string, listener: (message: NatsMessage) => void, queue?: string): void {
    this.#count += 1;
    this.#listeners.set(this.#count, listener);
    this.#send(`SUB ${subject} ${queue === undefined ? '' : `${queue} `}${this.#count}\r\n`);
  }

  /** A subject of this session alone, for what keeps its own subject on the way, as the messages of a stream do. */
  inbox(listener: (message: NatsMessage) => void): Inbox {
    const subject = this.#nextInbox('messages');
    this.listen(subject, listener);
    const subscription = this.#count;
    return { subject, close: () => this.#send(`UNSUB ${subscription}\r\n`) };
  }

  /** @throws FaultError `upstream.unavailable` where nobody listens, `upstream.timeout` */
  async request(subject: string, payload: Uint8Array, options: RequestOptions): Promise<NatsMessage> {
    const answer = Promise.withResolvers<NatsMessage>();
    if (this.#replies === undefined) {
      const replies = new Map<string, (message: NatsMessage) => void>();
      this.#replies = replies;
      this.listen(`${this.#inbox}.replies.*`, (message) => replies.get(message.subject)?.(message));
    }
    const reply = this.#nextInbox('replies');
    this.#replies.set(reply, answer.resolve);
    try {
      this.publish(subject, payload, { reply, ...(options.headers !== undefined && { headers: options.headers }) });
      const message = await this.#within(options.timeoutMilliseconds, answer.promise);
      if (message.status?.code === 503) throw new FaultError(NOBODY);
      return message;
    } finally {
      this.#replies.delete(reply);
    }
  }

  #nextInbox(kind: 'messages' | 'replies'): string {
    this.#count += 1;
    return `${this.#inbox}.${kind}.${this.#count}`;
  }

  #end(reason: Fault): void {
    this.#over.reject(new FaultError(reason));
    this.#line.close();
  }

  async #listen(frames: AsyncGenerator<Frame>): Promise<void> {
    try {
      for await (const frame of frames) this.#take(frame);
      this.#end(LOST);
    } catch (thrown) {
      this.#end(thrown instanceof FaultError ? thrown.fault : LOST);
    }
  }

  #take(frame: Frame): void {
    if (frame.kind === 'message') this.#listeners.get(frame.subscription)?.(frame.message);
    else if (frame.kind === 'ping') this.#send('PONG\r\n');
    else if (frame.kind === 'pong') this.#pongs.shift()?.();
    else if (frame.kind === 'error') this.#end(errorFault(frame.text));
  }

  async #within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => late.reject(new FaultError(LATE)), milliseconds);
    try {
      return await Promise.race([work, this.over, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #send(line: string, ...parts: readonly Uint8Array[]): void {
    const frame = new Uint8Array(line.length * 3 + parts.reduce((bytes, part) => bytes + part.length, 0));
    let at = new TextEncoder().encodeInto(line, frame).written;
    for (const part of parts) {
      frame.set(part, at);
      at += part.length;
    }
    this.#line.send(frame.subarray(0, at));
  }
}

export interface Inbox {
  readonly subject: string;
  /** The server sends nothing more there; what was on its way still comes. */
  close(): void;
}

interface RequestOptions {
  readonly timeoutMilliseconds: number;
  readonly headers?: NatsHeaders;
}

const END = new TextEncoder().encode('\r\n');

const LOST = fault('upstream.unreachable', 'NATS broke off the connection.');
const UNREACHABLE = fault('upstream.unreachable', 'NATS could not be reached; check the `url` of the connection.');
const NEEDS_TLS = fault('connection.invalid', 'NATS: The server asks for TLS; write `tls:` in the `url`.');
const LATE = fault('upstream.timeout', 'NATS: No answer came in time.');
const NOBODY = fault('upstream.unavailable', 'NATS: Nobody listens on the subject.');
const NO_SERVER = fault('upstream.invalid', 'What answered is no server of NATS; check the `url` of the connection.');

/** For what the platform throws, which tells nothing of use. */
const asFault =
  (other: Fault) =>
  (thrown: unknown): never => {
    throw thrown instanceof FaultError ? thrown : new FaultError(other);
  };

function infoIn(text: string): ServerInfo {
  try {
    return v.parse(serverInfo, JSON.parse(text));
  } catch {
    throw new FaultError(NO_SERVER);
  }
}

async function introduction(credentials: NatsCredentials, { nonce = '' }: ServerInfo, line: Line) {
  const { user, password, token, creds } = credentials;
  const [, jwt] = /BEGIN NATS USER JWT-+\s+(\S+)/.exec(creds ?? '') ?? [];
  const [, seed = credentials.seed] = /BEGIN USER NKEY SEED-+\s+(\S+)/.exec(creds ?? '') ?? [];
  const signer = seed === undefined ? undefined : await signerOf(seed);
  return {
    ...{
      verbose: false,
      pedantic: false,
      tls_required: line.isEncrypted,
      name: 'tidegate',
      lang: 'tidegate',
      version: '1',
    },
    ...{ protocol: 1, headers: true, no_responders: true },
    ...{ user, pass: password, auth_token: token, jwt },
    ...(signer !== undefined && { nkey: signer.publicKey, sig: await signer.sign(nonce) }),
  };
}
