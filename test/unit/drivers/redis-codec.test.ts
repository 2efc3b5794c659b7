import { Buffer } from 'node:buffer';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LIMITS } from '../../../src/core/limits.ts';
import { encodeCommand, Push, RedisError, ReplyParser, type Reply } from '../../../src/drivers/redis/resp.ts';

interface Wire {
  readonly bytes: Buffer;
  readonly reply: Reply;
}

const line = fc.stringMatching(/^[a-zA-Z0-9 :$*-]*$/);
const block = (sign: string, bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.from(`${sign}${bytes.length}\r\n`), bytes, Buffer.from('\r\n')]);
const wire = (text: string | Buffer, reply: Reply): Wire => ({ bytes: Buffer.from(text), reply });
const list = (sign: string, items: readonly Wire[], length: number, reply: Reply): Wire => ({
  bytes: Buffer.concat([Buffer.from(`${sign}${length}\r\n`), ...items.map(({ bytes }) => bytes)]),
  reply,
});

/** Every type of the protocol, nested. */
const { reply } = fc.letrec<{ reply: Wire }>((tie) => {
  const items = fc.array(tie('reply'), { maxLength: 4 });
  const even = fc.array(fc.tuple(tie('reply'), tie('reply')), { maxLength: 2 }).map((pairs) => pairs.flat());
  const replies = (of: readonly Wire[]): Reply[] => of.map((each) => each.reply);
  const bytes = fc.uint8Array().map((each) => Buffer.from(each));
  return {
    reply: fc.oneof(
      { maxDepth: 4 },
      line.map((text) => wire(`+${text}\r\n`, text)),
      line.map((text) => wire(`-${text}\r\n`, new RedisError(text))),
      fc.maxSafeInteger().map((value) => wire(`:${value}\r\n`, value)),
      fc.constant(wire(':9223372036854775807\r\n', 9223372036854775807n)),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => wire(`,${value}\r\n`, Number(`${value}`))),
      fc.constantFrom(wire(',inf\r\n', Infinity), wire(',-inf\r\n', -Infinity)),
      fc.boolean().map((value) => wire(`#${value ? 't' : 'f'}\r\n`, value)),
      fc.bigInt().map((value) => wire(`(${value}\r\n`, value)),
      fc.constantFrom(wire('_\r\n', null), wire('$-1\r\n', null), wire('*-1\r\n', null)),
      bytes.map((value) => wire(block('$', value), value)),
      bytes.map((value) => wire(block('=', Buffer.concat([Buffer.from('txt:'), value])), value)),
      line.map((text) => wire(block('!', Buffer.from(text)), new RedisError(text))),
      items.map((of) => list('*', of, of.length, replies(of))),
      items.map((of) => list('~', of, of.length, replies(of))),
      items.map((of) => list('>', of, of.length, new Push(replies(of)))),
      even.map((of) => list('%', of, of.length / 2, replies(of))),
      fc.tuple(even, tie('reply')).map(([about, of]) => ({
        bytes: Buffer.concat([list('|', about, about.length / 2, null).bytes, of.bytes]),
        reply: of.reply,
      })),
    ),
  };
});

const bytesOf = (replies: readonly Wire[]): Buffer => Buffer.concat(replies.map(({ bytes }) => bytes));
const plain = (replies: readonly Reply[]): unknown[] =>
  replies.map((each) =>
    Array.isArray(each) ? plain(each as readonly Reply[]) : each instanceof Push ? { push: plain(each.items) } : each,
  );

describe('the parser of replies', () => {
  it('reads the same however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(reply, { maxLength: 6 }), fc.array(fc.nat(), { maxLength: 20 }), (replies, cuts) => {
        const bytes = bytesOf(replies);
        const points = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
        const parser = new ReplyParser();
        const read = points.slice(1).flatMap((end, index) => parser.push(bytes.subarray(points[index], end)));
        expect(plain(read)).toEqual(plain(replies.map((each) => each.reply)));
      }),
    );
  });

  it('reads the same at every single cut, and byte by byte', () => {
    fc.assert(
      fc.property(fc.array(reply, { maxLength: 3 }), (replies) => {
        const bytes = bytesOf(replies);
        const expected = plain(replies.map((each) => each.reply));
        for (let cut = 0; cut <= bytes.length; cut += 1) {
          const parser = new ReplyParser();
          expect(plain([...parser.push(bytes.subarray(0, cut)), ...parser.push(bytes.subarray(cut))])).toEqual(
            expected,
          );
        }
        const parser = new ReplyParser();
        expect(plain([...bytes].flatMap((byte) => parser.push(Uint8Array.of(byte))))).toEqual(expected);
      }),
      { numRuns: 40 },
    );
  });

  it('gives a reply as soon as it is complete, and not before', () => {
    fc.assert(
      fc.property(reply, ({ bytes }) => {
        const parser = new ReplyParser();
        expect(parser.push(bytes.subarray(0, -1))).toEqual([]);
        expect(parser.push(bytes.subarray(-1))).toHaveLength(1);
      }),
    );
  });

  it.each([
    ...['?what\r\n', '$x\r\n', '$-2\r\n', '$+1\r\n', '$ 1\r\n', '*1.5\r\n', '$?\r\n', '*?\r\n', '\r\n', '$\r\n'],
    ...[
      'HTTP/1.1 400 Bad Request\r\n',
      ':\r\n',
      ':1a\r\n',
      ':1e3\r\n',
      '#x\r\n',
      ',\r\n',
      ',x\r\n',
      '(1.5\r\n',
      '+a\rb\r\n',
    ],
    ...['$1\r\nabc\r\n', '$1\r\na\n\n', `(${'9'.repeat(2_000)}\r\n`, '*1\r\n'.repeat(LIMITS.jsonDepth + 1)],
    ...[`+${'x'.repeat(LIMITS.redisLineBytes + 2)}`],
  ])('refuses %j', (text) => {
    expect(() => new ReplyParser().push(Buffer.from(text))).toThrow('not its protocol');
  });

  it.each([
    ['announced', '$11\r\n'],
    ['announced in a list', '*2\r\n$4\r\nabcd\r\n$3\r\n'],
    ['of many elements together', '*9\r\n:1\r\n:2\r\n:3\r\n'],
  ])('refuses more bytes than its bound where they are %s', (_, text) => {
    expect(() => new ReplyParser(10).push(Buffer.from(text))).toThrow('more than 10 bytes');
  });

  it('takes each reply up to the bound, however many follow', () => {
    const parser = new ReplyParser(10);
    expect(parser.push(Buffer.from('$4\r\nabcd\r\n')).length).toBe(1);
    expect(Array.from({ length: 10 }, () => parser.push(Buffer.from(':1\r\n'))).flat()).toHaveLength(10);
  });

  it('refuses more elements than its bound before it holds them', () => {
    expect(() => new ReplyParser().push(Buffer.from(`*${LIMITS.redisReplyItems + 1}\r\n`))).toThrow('elements');
    const nested = `*2\r\n*${LIMITS.redisReplyItems - 3}\r\n:1\r\n%2\r\n`;
    expect(() => new ReplyParser().push(Buffer.from(nested))).toThrow('elements');
  });

  it('reads a long value in many pieces without joining them again and again', () => {
    const parser = new ReplyParser();
    const value = Buffer.alloc(7 * 1024 * 1024, 1);
    const bytes = block('$', value);
    const replies: Reply[] = [];
    for (let at = 0; at < bytes.length; at += 1024) replies.push(...parser.push(bytes.subarray(at, at + 1024)));
    expect(replies).toHaveLength(1);
    expect((replies[0] as Buffer).equals(value)).toBe(true);
  }, 5_000);
});

describe('a command', () => {
  it('is encoded by bytes, so that no value can pose as another', () => {
    expect(encodeCommand(['SET', 'ü', 'a\r\n*1\r\n$8\r\nFLUSHALL']).toString()).toBe(
      '*3\r\n$3\r\nSET\r\n$2\r\nü\r\n$19\r\na\r\n*1\r\n$8\r\nFLUSHALL\r\n',
    );
  });

  it('of any words is read back as these words', () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(fc.string({ unit: 'binary' }), fc.uint8Array(), fc.integer())), (words) => {
        const [read] = new ReplyParser().push(encodeCommand(words));
        const expected = words.map((word) => Buffer.from(typeof word === 'object' ? word : String(word)));
        expect((read as Buffer[]).map(String)).toEqual(expected.map(String));
      }),
    );
  });
});
