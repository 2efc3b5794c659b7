/**
 * Mail submission (RFC 5321, 6409) over a guarded socket.
 *
 * Not by a library: worker-mailer opens sockets past the guard, and the transport of nodemailer wants node:net.
 *
 * Guarantees: credentials leave over TLS only, unless the owner switched TLS off; no fault quotes a login; a message
 * of which it is unknown whether the server took it is `step.ambiguous`, and not sent again by itself.
 */

import { Buffer } from 'node:buffer';
import { isUnicode } from './address.ts';
import { LineSocket, type SmtpAddress, type SocketWire } from './line-socket.ts';
import { sizeOf, type Message } from './message.ts';
import { isPositive, refusalFault, shownReply, type Reply } from './reply.ts';
import { fault, FaultError, faultOf, ok, type Fault, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

export type { SmtpAddress, SocketWire };

export type Login =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  /** XOAUTH2. */
  | { readonly kind: 'token'; readonly username: string; readonly token: string };

export interface SmtpServer extends SmtpAddress {
  /** How the gateway calls itself: a host name, or an address in brackets. */
  readonly clientName: string;
  readonly login: Login | undefined;
}

export interface Envelope {
  readonly from: string;
  /** At least one. */
  readonly recipients: readonly string[];
}

export interface RefusedRecipient {
  readonly address: string;
  readonly code: number;
  readonly status?: string;
  readonly reason: string;
  /** Whether the server may take it later. */
  readonly temporary: boolean;
}

export interface Receipt {
  readonly accepted: readonly string[];
  readonly rejected: readonly RefusedRecipient[];
  /** The server's last word, which often names the message in its queue. */
  readonly response: string;
}

/** Logs in, and leaves. */
export const verify = (server: SmtpServer, wire: SocketWire): Promise<Result<{ readonly extensions: string[] }>> =>
  inSession(server, wire, (session) => Promise.resolve({ extensions: [...session.extensions.keys()].toSorted() }));

/**
 * Sends one message to those whom the server accepts.
 *
 * Faults: `upstream.rejected` or `upstream.unavailable` where it accepts none, or refuses the sender or the message;
 * `upstream.unauthorized`; `step.ambiguous` where the answer to the message did not come.
 */
export const send = (
  server: SmtpServer,
  envelope: Envelope,
  message: Message,
  wire: SocketWire,
): Promise<Result<Receipt>> => inSession(server, wire, (session) => session.send(envelope, message));

async function inSession<T>(
  server: SmtpServer,
  wire: SocketWire,
  use: (session: Session) => Promise<T>,
): Promise<Result<T>> {
  let socket: LineSocket | undefined;
  try {
    socket = LineSocket.open(server, wire);
    const session = new Session(socket, server);
    await session.open();
    const value = await use(session);
    await session.quit();
    return ok(value);
  } catch (thrown) {
    return { ok: false, fault: faultOf(thrown) };
  } finally {
    socket?.close();
  }
}

const broken = (reason: Fault): never => {
  throw new FaultError(reason);
};

class Session {
  /** By keyword in capitals; what follows it in capitals too. */
  extensions: ReadonlyMap<string, string> = new Map();
  readonly #socket: LineSocket;
  readonly #server: SmtpServer;
  /** In the forms in which a server could repeat them. */
  #secrets: readonly string[] = [];

  constructor(socket: LineSocket, server: SmtpServer) {
    this.#socket = socket;
    this.#server = server;
  }

  async open(): Promise<void> {
    const { hostname, tls, login } = this.#server;
    if (tls === 'implicit') await this.#socket.secured();
    const greeting = await this.#reply(LIMITS.mailConnectMilliseconds);
    if (greeting.code !== 220) broken(refusalFault(hostname, greeting, 'the connection'));
    await this.#hello();
    if (tls === 'starttls') {
      if (!this.extensions.has('STARTTLS')) {
        broken(fault('connection.invalid', `${hostname} offers no STARTTLS at this port; use \`tls: "implicit"\`.`));
      }
      await this.#ask('STARTTLS', 'to start TLS', [220]);
      await this.#socket.startTls();
      // What was offered in the clear may have been put there by somebody else.
      await this.#hello();
    }
    if (login !== undefined) await this.#login(login);
  }

  async #hello(): Promise<void> {
    const reply = await this.#ask(`EHLO ${this.#server.clientName}`, 'EHLO', [250]);
    const lines = reply.lines.slice(1).map((line) => line.trim().toUpperCase());
    this.extensions = new Map(
      lines.map((line) => {
        // Old servers write AUTH=PLAIN.
        const [, keyword = '', rest = ''] = /^([A-Z0-9-]+)[ =]?(.*)$/.exec(line) ?? [];
        return [keyword, rest];
      }),
    );
  }

  async #login(login: Login): Promise<void> {
    const { hostname } = this.#server;
    const offered = new Set((this.extensions.get('AUTH') ?? '').split(/ +/));
    const encode = (text: string): string => Buffer.from(text).toString('base64');
    const secret = login.kind === 'token' ? login.token : login.password;
    const bearer = encode(`user=${login.username}\x01auth=Bearer ${secret}\x01\x01`);
    const plain = encode(`\0${login.username}\0${secret}`);
    this.#secrets = [bearer, plain, encode(secret), secret];
    let reply: Reply;
    if (login.kind === 'token') {
      reply = await this.#tell(`AUTH XOAUTH2 ${bearer}`);
      // The reason is in the challenge, and the refusal follows an empty answer.
      if (reply.code === 334) reply = await this.#tell('');
    } else if (offered.has('PLAIN') || !offered.has('LOGIN')) {
      reply = await this.#tell(`AUTH PLAIN ${plain}`);
    } else {
      reply = await this.#tell('AUTH LOGIN');
      if (reply.code === 334) reply = await this.#tell(encode(login.username));
      if (reply.code === 334) reply = await this.#tell(encode(login.password));
    }
    if (reply.code === 235) return;
    const refused = refusalFault(hostname, reply, 'the login', false);
    // 5xx to AUTH, whatever the number: a way of authentication that is not there, or off for the account.
    broken(reply.code >= 500 ? { ...refused, code: 'upstream.unauthorized', retryable: false } : refused);
  }

  async send({ from, recipients }: Envelope, message: Message): Promise<Receipt> {
    const { hostname } = this.#server;
    const size = sizeOf(message);
    const unicode = message.unicode || isUnicode(from) || recipients.some(isUnicode);
    const most = Number(this.extensions.get('SIZE') ?? 0);
    if (most > 0 && size > most) {
      broken(fault('upstream.rejected', `The message has ${size} bytes; ${hostname} takes ${most}.`));
    }
    if (unicode && !(this.extensions.has('SMTPUTF8') && this.extensions.has('8BITMIME'))) {
      broken(fault('upstream.rejected', `An address has letters beyond ASCII, which ${hostname} does not take.`));
    }
    const parameters =
      (this.extensions.has('SIZE') ? ` SIZE=${size}` : '') + (unicode ? ' BODY=8BITMIME SMTPUTF8' : '');
    const commands = [`MAIL FROM:<${from}>${parameters}`, ...recipients.map((each) => `RCPT TO:<${each}>`)];
    const [sender, ...replies] = await this.#tellAll(commands);
    if (sender === undefined || !isPositive(sender))
      return broken(refusalFault(hostname, sender ?? NONE, 'the sender'));
    const accepted = recipients.filter((_, index) => isPositive(replies[index] ?? NONE));
    const rejected = recipients.flatMap((address, index) => refusedOf(address, replies[index] ?? NONE));
    if (accepted.length === 0) broken(nobodyFault(hostname, replies, rejected));
    const response = await this.#data(message);
    return { accepted, rejected, response };
  }

  async #data(message: Message): Promise<string> {
    const { hostname } = this.#server;
    await this.#ask('DATA', 'the message', [354]);
    // Without its end no server takes it, so what fails before may be tried again.
    for (const piece of stuffed([...message.fields, '\r\n', ...message.body])) await this.#socket.write(piece);
    const reply = await this.#answerTo(() => this.#socket.write(END));
    if (!isPositive(reply)) broken(refusalFault(hostname, reply, 'the message'));
    return shownReply(reply);
  }

  /** From the end of the message on, a server may have it, whatever becomes of its answer. */
  async #answerTo(end: () => Promise<void>): Promise<Reply> {
    try {
      await end();
      return await this.#reply(LIMITS.mailAcceptMilliseconds);
    } catch (thrown) {
      const { code, detail } = faultOf(thrown);
      const message = `${this.#server.hostname} did not say whether it took the message, so it may be on its way.`;
      throw new FaultError(fault('step.ambiguous', message, { detail, data: { cause: code } }));
    }
  }

  async #reply(withinMilliseconds: number): Promise<Reply> {
    const reply = await this.#socket.reply(withinMilliseconds);
    const clean = (text: string): string =>
      this.#secrets.reduce((rest, secret) => rest.replaceAll(secret, '[secret]'), text);
    return { ...reply, lines: reply.lines.map(clean) };
  }

  async quit(): Promise<void> {
    // Politeness: what was to be done is done.
    await this.#socket.write(Buffer.from('QUIT\r\n')).catch(() => undefined);
  }

  async #ask(command: string, asked: string, expected: readonly number[]): Promise<Reply> {
    const reply = await this.#tell(command);
    if (!expected.includes(reply.code)) broken(refusalFault(this.#server.hostname, reply, asked));
    return reply;
  }

  async #tell(command: string): Promise<Reply> {
    await this.#socket.write(Buffer.from(`${command}\r\n`));
    return this.#reply(LIMITS.mailReplyMilliseconds);
  }

  /** The replies in order; after a refusal of the first the others are not asked, but where they were sent with it. */
  async #tellAll(commands: readonly string[]): Promise<Reply[]> {
    const replies: Reply[] = [];
    if (this.extensions.has('PIPELINING')) {
      await this.#socket.write(Buffer.from(commands.map((command) => `${command}\r\n`).join('')));
      for (const _ of commands) replies.push(await this.#reply(LIMITS.mailReplyMilliseconds));
      return replies;
    }
    for (const command of commands) {
      replies.push(await this.#tell(command));
      if (replies.length === 1 && !replies.every(isPositive)) break;
    }
    return replies;
  }
}

const NONE: Reply = { code: 421, status: undefined, lines: ['no answer'] };
const END = Buffer.from('.\r\n');

function refusedOf(address: string, reply: Reply): RefusedRecipient[] {
  if (isPositive(reply)) return [];
  const { code, status } = reply;
  const reason = shownReply(reply);
  return [{ address, code, ...(status !== undefined && { status }), reason, temporary: code < 500 }];
}

/** It may pass as soon as it may for one of them. */
function nobodyFault(host: string, replies: readonly Reply[], rejected: readonly RefusedRecipient[]): Fault {
  const reply = replies.find(({ code }) => code < 500) ?? replies[0] ?? NONE;
  const who = rejected.length === 1 ? 'the recipient' : 'every recipient';
  return { ...refusalFault(host, reply, who), data: { code: reply.code, rejected } };
}

const PIECE_BYTES = 64 * 1024;

/** In pieces of a size that sockets like, with a dot before each line that begins with one (section 4.5.2). */
export function* stuffed(texts: Iterable<string>): Iterable<Uint8Array> {
  for (const text of texts) {
    // Each text begins a line.
    const dotted = text.replace(/(^|\r\n)\./g, '$1..');
    const bytes = Buffer.from(dotted);
    for (let start = 0; start < bytes.length; start += PIECE_BYTES) yield bytes.subarray(start, start + PIECE_BYTES);
  }
}
