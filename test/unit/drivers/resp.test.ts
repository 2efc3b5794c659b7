import { createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import * as fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import {
  createRedisConnection,
  encodeCommand,
  RedisError,
  ReplyParser,
  type Reply,
} from '../../../scripts/bridge/resp.ts';
import { portOf } from '../../../scripts/servers/process.ts';

function encodeReply(reply: Reply): Buffer {
  if (reply === null) return Buffer.from('$-1\r\n');
  if (typeof reply === 'string') return Buffer.from(`+${reply}\r\n`);
  if (typeof reply === 'number' || typeof reply === 'bigint') return Buffer.from(`:${reply}\r\n`);
  if (reply instanceof RedisError) return Buffer.from(`-${reply.message}\r\n`);
  if (Buffer.isBuffer(reply)) return Buffer.concat([Buffer.from(`$${reply.length}\r\n`), reply, Buffer.from('\r\n')]);
  return Buffer.concat([Buffer.from(`*${reply.length}\r\n`), ...(reply as readonly Reply[]).map(encodeReply)]);
}

const line = fc.stringMatching(/^[a-zA-Z0-9 ]*$/);
const { reply } = fc.letrec<{ reply: Reply }>((tie) => ({
  reply: fc.oneof(
    { maxDepth: 4 },
    line,
    line.map((text) => new RedisError(text)),
    fc.maxSafeInteger(),
    fc.constant(9223372036854775807n),
    fc.constant(null),
    fc.uint8Array().map((bytes) => Buffer.from(bytes)),
    fc.array(tie('reply'), { maxLength: 5 }),
  ),
}));

describe('the reply parser', () => {
  it('reads the same replies however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(reply, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 20 }), (replies, cuts) => {
        const bytes = Buffer.concat(replies.map(encodeReply));
        const points = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
        const parser = new ReplyParser();
        const read = points.slice(1).flatMap((end, index) => parser.push(bytes.subarray(points[index], end)));
        expect(read).toEqual(replies);
        expect(parser.pendingBytes).toBe(0);
      }),
    );
  });

  it.each(['?what\r\n', '$x\r\n', 'HTTP/1.1 400 Bad Request\r\n'])('refuses %j', (text) => {
    expect(() => new ReplyParser().push(Buffer.from(text))).toThrow();
  });

  it('encodes by bytes, so that no value can pose as a command', () => {
    expect(encodeCommand(['SET', 'ü', 'a\r\n*1\r\n$8\r\nFLUSHALL'])).toBe(
      '*3\r\n$3\r\nSET\r\n$2\r\nü\r\n$19\r\na\r\n*1\r\n$8\r\nFLUSHALL\r\n',
    );
  });
});

describe('a connection to Redis', () => {
  let server: Server | undefined;
  afterEach(() => server?.close());

  async function redisThat(onData: (socket: Socket, text: string) => void): Promise<string> {
    server = createServer((socket) => {
      socket.on('error', () => undefined).on('data', (chunk) => onData(socket, chunk.toString()));
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `redis://user:p%40ss@127.0.0.1:${portOf(server)}/3`;
  }
  const connect = (url: string, more = {}) =>
    createRedisConnection({ url, timeoutMilliseconds: 1_000, replyBytes: 1_000, ...more });

  it('signs in and selects its database before the first command', async () => {
    const seen: string[] = [];
    const url = await redisThat((socket, text) => {
      seen.push(text);
      socket.write('+OK\r\n'.repeat(3));
    });
    const connection = connect(url);
    expect(await connection.send([['PING']])).toEqual(['OK']);
    expect(seen.join('')).toBe([['AUTH', 'user', 'p@ss'], ['SELECT', '3'], ['PING']].map(encodeCommand).join(''));
    connection.close();
  });

  it('fails all commands under way when it breaks, and connects again for the next', async () => {
    let connections = 0;
    const url = await redisThat((socket) => {
      connections += 1;
      if (connections === 1) socket.destroy();
      else socket.write('+OK\r\n+OK\r\n$1\r\nx\r\n');
    });
    const connection = connect(url);
    const both = await Promise.allSettled([connection.send([['GET', 'a']]), connection.send([['GET', 'b']])]);
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    expect(await connection.send([['GET', 'c']])).toEqual([Buffer.from('x')]);
    connection.close();
  });

  it.each([
    ['a refused password', '-WRONGPASS invalid\r\n+OK\r\n-NOAUTH\r\n', 'WRONGPASS'],
    ['something that is not Redis', 'HTTP/1.1 400 Bad Request\r\n\r\n', 'protocol'],
    ['a reply over the bound', `+OK\r\n+OK\r\n$5000\r\n${'x'.repeat(2_000)}`, 'too large'],
    ['more replies than commands', '+OK\r\n'.repeat(4), ''],
  ])('gives up on %s', async (_, answer, reason) => {
    const url = await redisThat((socket) => socket.write(answer));
    const connection = connect(url);
    if (reason === '') expect(await connection.send([['PING']])).toEqual(['OK']);
    else await expect(connection.send([['PING']])).rejects.toThrow(reason);
    connection.close();
  });

  it('gives up on a server that stays silent', async () => {
    const url = await redisThat(() => undefined);
    await expect(connect(url, { timeoutMilliseconds: 50 }).send([['PING']])).rejects.toThrow('in time');
  });
});
