/**
 * A stand-in for MongoDB, as there is none that could be installed here: the wire protocol (OP_MSG), SCRAM-SHA-256,
 * sessions, transactions and the fail points of MongoDB's own tests, over documents in memory. What it answers is
 * what we believe that MongoDB answers: it proves nothing about a real one. MongoDB's own driver works with it.
 */

import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { Binary, deserialize, EJSON, serialize } from 'bson';
import { COMMANDS, type State } from './mongo-commands.ts';
import { MongoError, Store, type Doc, type Transaction } from './mongo-store.ts';
import { portOf, type Running } from './process.ts';

export interface MongoOptions {
  /** Of who logs in; by default both are made up. */
  readonly user?: string;
  readonly password?: string;
  /** With it the server speaks TLS. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** Fields of its `hello` that are to be others, e.g. of a secondary. */
  readonly hello?: Doc;
  /** Rounds of SCRAM. */
  readonly iterations?: number;
  /** Ends the login without a proof that it knows the password. */
  readonly impostor?: boolean;
}

export interface MongoServer extends Running {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
}

export const STAND_IN_NOTICE =
  'MongoDB: a stand-in of ours, not a MongoDB. Set MONGODB_TEST_URI to test against a real one.';

const HEADER_BYTES = 16;
const OP_MSG = 2013;
const MORE_TO_COME = 2;
const WIRE_VERSION = 21;

interface FailPoint {
  readonly commands: readonly string[];
  readonly data: Doc;
  times: number;
}

interface Server {
  readonly options: Required<Pick<MongoOptions, 'user' | 'password'>> & MongoOptions;
  readonly state: State;
  failPoint: FailPoint | undefined;
  /** Ends what a killed session waits for. */
  readonly waiting: Map<string, (killed: boolean) => void>;
}

export async function start(given: MongoOptions = {}): Promise<MongoServer> {
  const options = { user: 'tidegate', password: randomBytes(12).toString('hex'), ...given };
  const state: State = { store: new Store(), cursors: new Map(), sessions: new Map(), cursorId: 0 };
  const server: Server = { options, state, failPoint: undefined, waiting: new Map() };
  const sockets = new Set<Socket>();
  const accept = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
    serve(socket, server);
  };
  const { tls } = options;
  const listener =
    tls === undefined ? createServer(accept) : createTlsServer({ cert: tls.certificate, key: tls.key }, accept);
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  const { user, password } = options;
  return {
    host: '127.0.0.1',
    port: portOf(listener),
    user,
    password,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await once(listener.close(), 'close');
    },
  };
}

function serve(socket: Socket, server: Server): void {
  const connection = new Connection(server);
  let pending = Buffer.alloc(0);
  let turn = Promise.resolve();
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= HEADER_BYTES) {
      // Before its length is believed: what begins a session of TLS is told at once that there is none.
      if (pending.readInt32LE(12) !== OP_MSG) {
        socket.destroy();
        return;
      }
      if (pending.length < pending.readInt32LE(0)) return;
      const message = pending.subarray(0, pending.readInt32LE(0));
      pending = pending.subarray(message.length);
      turn = turn.then(async () => {
        const reply = await connection.answer(commandOf(message));
        if (reply === undefined) socket.destroy();
        else if ((message.readUInt32LE(HEADER_BYTES) & MORE_TO_COME) === 0)
          socket.write(framed(reply, message.readInt32LE(4)));
      });
    }
  });
}

/** The document of kind 0, with the lists of kind 1 put into it. */
function commandOf(message: Buffer): Doc {
  let command: Doc = {};
  const lists: Doc = {};
  for (let at = HEADER_BYTES + 4; at < message.length;) {
    const kind = message[at];
    const length = message.readInt32LE(at + 1);
    const body = message.subarray(at + 1, at + 1 + length);
    if (kind === 0) command = deserialize(body, { bsonRegExp: false });
    else {
      const nameEnd = body.indexOf(0, 4);
      const documents: Doc[] = [];
      for (let from = nameEnd + 1; from < body.length; from += body.readInt32LE(from)) {
        documents.push(deserialize(body.subarray(from, from + body.readInt32LE(from))));
      }
      lists[body.toString('utf8', 4, nameEnd)] = documents;
    }
    at += 1 + length;
  }
  return { ...command, ...lists };
}

function framed(reply: Doc, responseTo: number): Buffer {
  const body = serialize(reply);
  const prefix = Buffer.alloc(HEADER_BYTES + 5);
  prefix.writeInt32LE(prefix.length + body.length, 0);
  prefix.writeInt32LE(responseTo, 8);
  prefix.writeInt32LE(OP_MSG, 12);
  return Buffer.concat([prefix, body]);
}

class Connection {
  readonly #server: Server;
  #scram: Scram | undefined;
  #isKnown = false;

  constructor(server: Server) {
    this.#server = server;
  }

  /** Undefined where the connection is to end instead. */
  async answer(command: Doc): Promise<Doc | undefined> {
    try {
      const [name = ''] = Object.keys(command);
      const failed = await this.#failPoint(name, command);
      if (failed !== 'passed') return failed;
      return { ...this.#run(name, command), ok: 1 };
    } catch (thrown) {
      if (!(thrown instanceof MongoError)) return { ok: 0, code: 1, codeName: 'InternalError', errmsg: String(thrown) };
      const { code, codeName, message, labels } = thrown;
      return { ok: 0, code, codeName, errmsg: message, ...(labels.length > 0 && { errorLabels: labels }) };
    }
  }

  #run(name: string, command: Doc): Doc {
    const { state } = this.#server;
    if (name === 'hello' || name === 'ismaster' || name === 'isMaster') return this.#hello(command);
    if (name === 'saslStart' || name === 'saslContinue') return this.#login(name, command);
    if (!this.#isKnown) throw new MongoError(13, 'Unauthorized', `Command ${name} requires authentication`);
    if (name === 'configureFailPoint') return this.#configure(command);
    if (name === 'endSessions' || name === 'killSessions') return this.#end(command[name]);
    const lsid = lsidOf(command['lsid']);
    const transaction = this.#transactionOf(lsid, command);
    if (name === 'commitTransaction' || name === 'abortTransaction') {
      if (transaction === undefined) throw noTransaction();
      if (name === 'commitTransaction') state.store.commit(transaction);
      this.#forget(lsid);
      return {};
    }
    const run = COMMANDS[name];
    if (run === undefined) throw new MongoError(59, 'CommandNotFound', `no such command: '${name}'`);
    try {
      return run({ state, command, database: String(command['$db']), transaction });
    } catch (thrown) {
      // An error within a transaction aborts it.
      if (transaction !== undefined) this.#forget(lsid);
      throw thrown;
    }
  }

  #hello(command: Doc): Doc {
    const { options } = this.#server;
    const speculative = this.#speculative(command['speculativeAuthenticate']);
    return {
      helloOk: true,
      isWritablePrimary: true,
      ismaster: true,
      msg: 'isdbgrid',
      maxBsonObjectSize: 16 * 1024 * 1024,
      maxMessageSizeBytes: 48_000_000,
      maxWriteBatchSize: 100_000,
      localTime: new Date(),
      logicalSessionTimeoutMinutes: 30,
      minWireVersion: 0,
      maxWireVersion: WIRE_VERSION,
      ...options.hello,
      ...(speculative !== undefined && { speculativeAuthenticate: speculative }),
    };
  }

  /** Left out where it fails: the client is told when it logs in. */
  #speculative(start: unknown): Doc | undefined {
    try {
      return start === undefined ? undefined : this.#login('saslStart', Object(start) as Doc);
    } catch {
      return undefined;
    }
  }

  #login(name: string, { payload }: Doc): Doc {
    const text = payload instanceof Binary ? Buffer.from(payload.buffer).toString() : '';
    const { user, password, iterations, impostor } = this.#server.options;
    if (name === 'saslStart') this.#scram = new Scram(user, password, iterations, impostor);
    const scram = this.#scram;
    if (scram === undefined) throw new MongoError(18, 'AuthenticationFailed', 'Authentication failed.');
    const answer = name === 'saslStart' ? scram.challenge(text) : scram.outcome(text);
    if (name === 'saslContinue') this.#isKnown = true;
    return { conversationId: 1, done: name === 'saslContinue', payload: new Binary(Buffer.from(answer)) };
  }

  #transactionOf(lsid: string, command: Doc): Transaction | undefined {
    const { sessions, store } = this.#server.state;
    if (command['autocommit'] !== false) return undefined;
    const txnNumber = String(command['txnNumber']);
    if (command['startTransaction'] === true) sessions.set(lsid, { number: txnNumber, transaction: store.begin() });
    const session = sessions.get(lsid);
    if (session === undefined || session.number !== txnNumber) throw noTransaction();
    return session.transaction;
  }

  #forget(lsid: string): void {
    const { sessions, store } = this.#server.state;
    const transaction = sessions.get(lsid)?.transaction;
    if (transaction !== undefined) store.abort(transaction);
    sessions.delete(lsid);
  }

  #end(ids: unknown): Doc {
    for (const id of Array.isArray(ids) ? ids : []) {
      this.#forget(lsidOf(id));
      this.#server.waiting.get(lsidOf(id))?.(true);
    }
    return {};
  }

  #configure({ mode, data }: Doc): Doc {
    const commands = Object(data)['failCommands'] as unknown;
    const times = Number(Object(mode)['times'] ?? (mode === 'alwaysOn' ? Infinity : 0));
    const isOn = mode !== 'off' && Array.isArray(commands);
    this.#server.failPoint = isOn ? { commands: commands.map(String), data: Object(data) as Doc, times } : undefined;
    return {};
  }

  /** The fail point `failCommand` of MongoDB's test commands. */
  async #failPoint(name: string, command: Doc): Promise<Doc | undefined | 'passed'> {
    const point = this.#server.failPoint;
    if (point === undefined || point.times <= 0 || !point.commands.includes(name)) return 'passed';
    point.times--;
    const { blockConnection, blockTimeMS, closeConnection, errorCode, errorLabels } = point.data;
    if (blockConnection === true) {
      const lsid = lsidOf(command['lsid']);
      const killed = await new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => resolve(false), Number(blockTimeMS));
        this.#server.waiting.set(lsid, (isKilled) => {
          clearTimeout(timer);
          resolve(isKilled);
        });
      });
      this.#server.waiting.delete(lsid);
      if (killed) throw new MongoError(11601, 'Interrupted', 'operation was interrupted');
    }
    if (closeConnection === true) return undefined;
    if (errorCode === undefined) return 'passed';
    const labels = Array.isArray(errorLabels) ? errorLabels.map(String) : [];
    throw new MongoError(
      Number(errorCode),
      `Location${String(errorCode)}`,
      "Failing command via 'failCommand' failpoint",
      labels,
    );
  }
}

const lsidOf = (lsid: unknown): string => EJSON.stringify({ lsid });
const noTransaction = (): MongoError =>
  new MongoError(251, 'NoSuchTransaction', 'Given transaction number does not match any in-progress transactions.', [
    'TransientTransactionError',
  ]);

/** RFC 5802, the server's side. */
class Scram {
  readonly #user: string;
  readonly #salted: Buffer;
  readonly #salt = randomBytes(28);
  readonly #iterations: number;
  readonly #impostor: boolean;
  #first = '';
  #nonce = '';
  #challenge = '';

  constructor(user: string, password: string, iterations = 15_000, impostor = false) {
    this.#user = user;
    this.#iterations = iterations;
    this.#impostor = impostor;
    this.#salted = pbkdf2Sync(password, this.#salt, iterations, 32, 'sha256');
  }

  challenge(first: string): string {
    this.#first = first.slice('n,,'.length);
    const { n = '', r = '' } = attributesOf(this.#first);
    if (n.replaceAll('=2C', ',').replaceAll('=3D', '=') !== this.#user && !this.#impostor) throw refused();
    this.#nonce = r + randomBytes(18).toString('base64');
    this.#challenge = `r=${this.#nonce},s=${this.#salt.toString('base64')},i=${this.#iterations}`;
    return this.#challenge;
  }

  outcome(final: string): string {
    if (this.#impostor) return `v=${randomBytes(32).toString('base64')}`;
    const { c, r, p = '' } = attributesOf(final);
    const signed = `${this.#first},${this.#challenge},c=${c},r=${r}`;
    const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();
    const storedKey = createHash('sha256').update(hmac(this.#salted, 'Client Key')).digest();
    const signature = hmac(storedKey, signed);
    const clientKey = Uint8Array.from(
      Buffer.from(p, 'base64'),
      (byte: number, index: number) => byte ^ (signature[index] ?? 0),
    );
    const shown = createHash('sha256').update(clientKey).digest();
    if (r !== this.#nonce || c !== 'biws' || !timingSafeEqual(shown, storedKey)) throw refused();
    return `v=${hmac(hmac(this.#salted, 'Server Key'), signed).toString('base64')}`;
  }
}

const refused = (): MongoError => new MongoError(18, 'AuthenticationFailed', 'Authentication failed.');

const attributesOf = (message: string): Readonly<Record<string, string | undefined>> =>
  Object.fromEntries(message.split(',').map((part) => [part.slice(0, 1), part.slice(2)]));
