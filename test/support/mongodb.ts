/** What the tests of MongoDB connect to: a real one where `MONGODB_TEST_URI` names it, and servers that attack. */

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import * as standIn from '../../scripts/servers/mongo.ts';
import { portOf, type Running } from '../../scripts/servers/process.ts';

export interface MongodbUnderTest {
  readonly hosts: readonly string[];
  readonly database: string;
  readonly authSource: string;
  readonly tls: 'verify' | 'disable';
  readonly user: string;
  readonly password: string;
  /** Whether it is ours, which has the fail points of MongoDB's tests. */
  readonly isStandIn: boolean;
  /** Addresses of servers that are not what they should be. */
  readonly hostile: Readonly<Record<Attack, string>>;
}

const USER = { user: 'tidegate', password: 'known-to-all' };

/** An answer to the first message that says of itself that it has a gigabyte. */
const gigabyte = (): Buffer => {
  const header = Buffer.alloc(16);
  header.writeInt32LE(2 ** 30, 0);
  header.writeInt32LE(1, 8);
  header.writeInt32LE(2013, 12);
  return header;
};

const SAID = {
  /** Nothing at all. */
  silence: undefined,
  /** Another protocol. */
  web: Buffer.from('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'),
  gigabyte: gigabyte(),
} satisfies Record<string, Buffer | undefined>;

const STAND_INS = {
  /** Does not know the password, and says that all is well. */
  impostor: { impostor: true },
  /** Asks for so few rounds that whoever listens finds the password. */
  weak: { iterations: 1 },
  /** Asks for rounds without end. */
  endless: { iterations: 5_000_000 },
  /** Of a time before OP_MSG. */
  old: { hello: { maxWireVersion: 6 } },
  /** Names a primary that the connection does not. */
  secondary: { hello: { isWritablePrimary: false, msg: '', setName: 'rs0', primary: '169.254.169.254:27017' } },
} satisfies Record<string, standIn.MongoOptions>;

export type Attack = keyof typeof SAID | keyof typeof STAND_INS | 'untrusted';

export async function start(certificate: {
  readonly path: string;
  readonly keyPath: string;
}): Promise<Running & { readonly server: MongodbUnderTest }> {
  const running: Running[] = [];
  const listening = async (options: standIn.MongoOptions): Promise<string> => {
    const server = await standIn.start({ ...USER, ...options });
    running.push(server);
    return `${server.host}:${server.port}`;
  };
  const saying = async (said: Buffer | undefined): Promise<string> => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => (said === undefined ? undefined : socket.write(said)));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    running.push({ stop: async () => void server.close() });
    return `127.0.0.1:${portOf(server)}`;
  };
  const [pem, key] = await Promise.all([readFile(certificate.path, 'utf8'), readFile(certificate.keyPath, 'utf8')]);
  const [silence, web, gigabyte, impostor, weak, endless, old, secondary, untrusted] = await Promise.all([
    saying(SAID.silence),
    saying(SAID.web),
    saying(SAID.gigabyte),
    listening(STAND_INS.impostor),
    listening(STAND_INS.weak),
    listening(STAND_INS.endless),
    listening(STAND_INS.old),
    listening(STAND_INS.secondary),
    listening({ tls: { certificate: pem, key } }),
  ]);
  const hostile = { silence, web, gigabyte, impostor, weak, endless, old, secondary, untrusted };
  const stop = async (): Promise<void> => void (await Promise.all(running.map((each) => each.stop())));
  const given = process.env['MONGODB_TEST_URI'];
  if (given !== undefined) return { server: { ...fromUri(given), hostile }, stop };
  console.log(standIn.STAND_IN_NOTICE);
  const server = await standIn.start();
  running.push(server);
  const { host, port, user, password } = server;
  const ours = {
    hosts: [`${host}:${port}`],
    database: 'shop',
    authSource: 'admin',
    tls: 'disable',
    user,
    password,
  } as const;
  return { server: { ...ours, isStandIn: true, hostile }, stop };
}

function fromUri(text: string): Omit<MongodbUnderTest, 'hostile'> {
  const parts = /^mongodb:\/\/([^:@/]+):([^@/]+)@([^/?]+)\/([^?]*)(?:\?(.*))?$/.exec(text);
  if (parts === null)
    throw new Error('MONGODB_TEST_URI must be mongodb://user:password@host:port,…/database?authSource=…');
  const [, user = '', password = '', hosts = '', database = '', query = ''] = parts;
  const options = new URLSearchParams(query);
  return {
    hosts: hosts.split(','),
    database: database === '' ? 'tidegate_test' : database,
    authSource: options.get('authSource') ?? 'admin',
    tls: options.get('tls') === 'true' ? 'verify' : 'disable',
    user: decodeURIComponent(user),
    password: decodeURIComponent(password),
    isStandIn: false,
  };
}
