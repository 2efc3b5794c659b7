/** Servers that speak just enough of SMTP to attack, or to let down, whoever connects, each in one way. */

import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { portOf, type Running } from '../../scripts/servers/process.ts';

type Answer = (line: string, socket: Socket) => string | undefined;

const EHLO = '250-hostile\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n';

function gone(socket: Socket): string {
  socket.destroy();
  return '';
}

/** What each answers to a line; undefined: what an obliging server would. */
const ATTACKS = {
  /** Lets its consent to TLS be followed by what looks like a reply from within. */
  injection: (line) => (line === 'STARTTLS' ? '220 go on\r\n250-hostile\r\n250 AUTH PLAIN\r\n' : undefined),
  /** Offers no TLS, as somebody on the way who takes the offer out. */
  stripping: (line) => (line.startsWith('EHLO') ? '250-hostile\r\n250 AUTH PLAIN\r\n' : undefined),
  /** Repeats what it is told in its refusal. */
  echo: (line) => (line.startsWith('AUTH') ? `535 5.7.8 Refused: ${line}\r\n` : undefined),
  /** Takes the login, and repeats it later. */
  laterEcho: (line, socket) => {
    if (line.startsWith('AUTH')) logins.set(socket, line);
    return line.startsWith('MAIL') ? `550 5.7.1 ${logins.get(socket)} ${decoded(logins.get(socket))}\r\n` : undefined;
  },
  /** Hangs up when the message has ended. */
  hangUp: (line, socket) => (line === '.' ? gone(socket) : undefined),
  /** Hangs up within the message. */
  hangUpEarly: (line, socket) => (line.startsWith('MIME-Version') ? gone(socket) : undefined),
  /** Does not answer to the end of the message. */
  silenceAtEnd: (line) => (line === '.' ? '' : undefined),
  silence: () => '',
  /** A reply without end. */
  flood: (line, socket) => {
    if (!line.startsWith('EHLO')) return undefined;
    const more = (): void => {
      if (!socket.destroyed) socket.write('250-more and more\r\n'.repeat(1_000), more);
    };
    more();
    return '';
  },
  /** A line without end. */
  longLine: (line) => (line.startsWith('EHLO') ? '250-' + 'x'.repeat(1_000_000) : undefined),
  http: () => 'HTTP/1.1 400 Bad Request\r\n\r\n',
  /** Is about to go. */
  closing: () => '421 4.3.2 Shutting down\r\n',
} satisfies Record<string, Answer>;

export type Attack = keyof typeof ATTACKS;
const NAMES = Object.keys(ATTACKS) as Attack[];

const logins = new WeakMap<Socket, string>();
const decoded = (login = ''): string =>
  Buffer.from(login.split(' ').at(-1) ?? '', 'base64')
    .toString('latin1')
    .replaceAll('\0', ' ');

function obliging(line: string): string {
  if (line === '') return '220 hostile ESMTP\r\n';
  if (line.startsWith('EHLO')) return EHLO;
  if (line.startsWith('AUTH')) return '235 2.7.0 Welcome\r\n';
  if (line === 'DATA') return '354 Go on\r\n';
  return '250 2.0.0 OK\r\n';
}

export async function start(): Promise<Running & { readonly ports: Readonly<Record<Attack, number>> }> {
  const sockets = new Set<Socket>();
  const servers: Server[] = [];
  const portFor = async (attack: Attack): Promise<readonly [Attack, number]> => {
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
      attackOn(socket, ATTACKS[attack]);
    }).listen(0, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    return [attack, portOf(server)];
  };
  const ports = Object.fromEntries(await Promise.all(NAMES.map(portFor))) as Record<Attack, number>;
  return {
    ports,
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await Promise.all(servers.map((server) => once(server.close(), 'close')));
    },
  };
}

function attackOn(socket: Socket, attack: Answer): void {
  let pending = '';
  let inMessage = false;
  const answer = (line: string): void => {
    const own = attack(line, socket);
    const reply = own ?? (inMessage && line !== '.' ? '' : obliging(line));
    if (line === '.') inMessage = false;
    if (line === 'DATA') inMessage = true;
    if (reply !== '' && !socket.destroyed) socket.write(reply);
  };
  answer('');
  socket.on('data', (chunk: Buffer) => {
    const lines = (pending + chunk.toString('latin1')).split('\r\n');
    pending = lines.pop() ?? '';
    for (const line of lines) if (inMessage || line !== '') answer(line);
  });
}
