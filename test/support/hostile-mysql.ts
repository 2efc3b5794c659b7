/** Servers that speak just enough of MySQL's protocol to attack whoever connects, each in one way. */

import { generateKeyPairSync } from 'node:crypto';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import type { Running } from '../../scripts/servers/process.ts';

const PROTOCOL_41 = 0x200;
const SSL = 0x800;
const SECURE_CONNECTION = 0x8000;
const PLUGIN_AUTH = 0x80000;

const packet = (sequence: number, ...parts: readonly (Buffer | number[] | string)[]): Buffer => {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.from(part))));
  const header = Buffer.alloc(4);
  header.writeUIntLE(body.length, 0, 3);
  header.writeUInt8(sequence, 3);
  return Buffer.concat([header, body]);
};

const OK = [0, 0, 0, 2, 0, 0, 0];
/** Who has the other half reads what is encrypted for it. */
const PUBLIC_KEY = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({
  type: 'spki',
  format: 'pem',
});
const SCRAMBLE = 'abcdefghijklmnopqrst';

function greeting(flags: number): Buffer {
  const flagBytes = Buffer.alloc(4);
  flagBytes.writeUInt32LE(flags | PROTOCOL_41 | SECURE_CONNECTION | PLUGIN_AUTH);
  return packet(
    0,
    [10],
    '8.0.0\0',
    [1, 0, 0, 0],
    `${SCRAMBLE.slice(0, 8)}\0`,
    flagBytes.subarray(0, 2),
    [45, 2, 0],
    flagBytes.subarray(2),
    [21, ...Array<number>(10).fill(0)],
    `${SCRAMBLE.slice(8)}\0mysql_native_password\0`,
  );
}

type Answer = (socket: Socket, sequence: number, command: Buffer) => void;

/** What each does with the first packet of the client (its answer to the greeting), and with those after it. */
const ATTACKS = {
  /** Lets everyone in, and answers any statement by asking for a file. */
  file: {
    flags: 0,
    login: (socket, sequence) => socket.write(packet(sequence + 1, OK)),
    // The setup of a session passes, so that it is the statement that is answered.
    command: (socket, _, command) =>
      socket.write(command.includes('set time_zone') ? packet(1, OK) : packet(1, [0xfb], '/etc/passwd')),
  },
  /** Asks for the password in the clear. */
  cleartext: {
    flags: 0,
    login: (socket, sequence) => socket.write(packet(sequence + 1, [0xfe], 'mysql_clear_password\0')),
    command: (socket, _, command) => socket.write(packet(9, [0xff, 0x15, 0x04], '#28000', command)),
  },
  /** Asks for the password, encrypted for a key of its own. */
  key: {
    flags: 0,
    login: (socket, sequence) => socket.write(packet(sequence + 1, [0xfe], `caching_sha2_password\0${SCRAMBLE}\0`)),
    command: (socket, sequence, command) =>
      socket.write(command.length > 1 ? packet(sequence + 1, [1, 4]) : packet(sequence + 1, [1], PUBLIC_KEY)),
  },
  /** Hangs up instead of an answer to a statement. */
  hangUp: {
    flags: 0,
    login: (socket, sequence) => socket.write(packet(sequence + 1, OK)),
    command: (socket, _, command) =>
      command.includes('set time_zone') ? socket.write(packet(1, OK)) : socket.destroy(),
  },
  /** Lets its greeting be followed by what looks like a reply from within TLS. */
  injection: { flags: SSL, more: packet(2, OK), login: () => undefined, command: () => undefined },
  /** Says nothing at all. */
  silence: { flags: 0, silent: true, login: () => undefined, command: () => undefined },
} satisfies Record<string, { flags: number; more?: Buffer; silent?: boolean; login: Answer; command: Answer }>;

export type Attack = keyof typeof ATTACKS;

export async function start(): Promise<Running & { readonly ports: Readonly<Record<Attack, number>> }> {
  const servers: Server[] = [];
  const sockets = new Set<Socket>();
  const portOf = async (attack: Attack): Promise<number> => {
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
      attackOn(socket, attack);
    }).listen(0, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  };
  const [file, cleartext, key, hangUp, injection, silence] = await Promise.all([
    portOf('file'),
    portOf('cleartext'),
    portOf('key'),
    portOf('hangUp'),
    portOf('injection'),
    portOf('silence'),
  ]);
  return {
    ports: { file, cleartext, key, hangUp, injection, silence },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await Promise.all(servers.map((server) => once(server.close(), 'close')));
    },
  };
}

function attackOn(socket: Socket, name: Attack): void {
  const attack: { flags: number; more?: Buffer; silent?: boolean; login: Answer; command: Answer } = ATTACKS[name];
  if (attack.silent === true) return;
  socket.write(Buffer.concat([greeting(attack.flags), attack.more ?? Buffer.alloc(0)]));
  let loggedIn = false;
  let pending = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    for (;;) {
      if (pending.length < 4) return;
      const end = pending.readUIntLE(0, 3) + 4;
      if (pending.length < end) return;
      const sequence = pending.readUInt8(3);
      const body = pending.subarray(4, end);
      pending = pending.subarray(end);
      if (loggedIn) attack.command(socket, sequence, body);
      else attack.login(socket, sequence, body);
      loggedIn = true;
    }
  });
}
