/** Servers that answer as no good Redis does; each takes any login. */

import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { portOf, type Running } from '../../scripts/servers/process.ts';

/** What comes after a login, if any, by what is asked. */
const ATTACKS = {
  /** Takes what it is sent, and says nothing. */
  silence: () => undefined,
  /** Speaks something else. */
  web: (socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'),
  /** Repeats what it was sent, as old servers do for commands that they do not know. */
  parrot: (socket, words) =>
    socket.write(`-ERR unknown command '${words[0]}', with args beginning with: '${words.slice(1).join("' '")}'\r\n`),
  /** Breaks off in the middle of a reply. */
  cut: (socket, words) => (isLogin(words) ? socket.write('+OK\r\n') : socket.end('$100\r\nhalf of')),
  /** Takes the login, and is silent then. */
  stall: (socket, words) => isLogin(words) && socket.write('+OK\r\n'),
  /** Announces more than there is memory. */
  announcement: (socket, words) => socket.write(isLogin(words) ? '+OK\r\n' : '$4000000000\r\n'),
  /** A list in a list in a list … */
  nest: (socket, words) => socket.write(isLogin(words) ? '+OK\r\n' : '*1\r\n'.repeat(10_000)),
  /** Elements that are small on the wire. */
  swarm: (socket, words) => socket.write(isLogin(words) ? '+OK\r\n' : '*2000000000\r\n*0\r\n'),
  /** A line that does not end. */
  line: (socket, words) => socket.write(isLogin(words) ? '+OK\r\n' : `+${'x'.repeat(1_000_000)}`),
  /** As Redis does with more clients than it takes. */
  full: (socket) => socket.end('-ERR max number of clients reached\r\n'),
} as const satisfies Record<string, (socket: Socket, words: readonly string[]) => unknown>;

export type Attack = keyof typeof ATTACKS;

const isLogin = ([name]: readonly string[]): boolean => name === 'AUTH' || name === 'HELLO' || name === 'SELECT';

export interface HostileRedis extends Running {
  /** `redis://host:port` */
  readonly urls: Readonly<Record<Attack, string>>;
}

export async function start(): Promise<HostileRedis> {
  const sockets = new Set<Socket>();
  const servers = await Promise.all(
    Object.entries(ATTACKS).map(async ([name, attack]) => {
      const server = createServer((socket) => {
        sockets.add(socket);
        socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
        socket.on('data', (chunk) => {
          for (const words of commandsIn(chunk.toString())) {
            // An error of this process: the runner ends on one, where it reads its modules from its cache.
            if (!socket.writableEnded) attack(socket, words);
          }
        });
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      return { name, server };
    }),
  );
  const urls = Object.fromEntries(servers.map(({ name, server }) => [name, `redis://127.0.0.1:${portOf(server)}`]));
  return {
    urls: urls as Record<Attack, string>,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await Promise.all(servers.map(({ server }) => once(server.close(), 'close')));
    },
  };
}

/** The words of each command; those of the tests are small, and come whole. */
const commandsIn = (text: string): string[][] =>
  text
    .split(/(?:^|(?<=\r\n))\*\d+\r\n/)
    .filter((command) => command !== '')
    .map((command) => command.split('\r\n').filter((part, index) => index % 2 === 1 && part !== ''));
