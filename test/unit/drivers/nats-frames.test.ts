import { Buffer } from 'node:buffer';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FaultError } from '../../../src/core/errors.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { framesOf, type Frame } from '../../../src/drivers/nats/frames.ts';

interface Wire {
  readonly bytes: Buffer;
  readonly frame: Frame;
}

const wire = (bytes: string | Buffer, frame: Frame): Wire => ({ bytes: Buffer.from(bytes), frame });

// eslint-disable-next-line no-control-regex
const word = fc
  .string({ unit: 'grapheme', minLength: 1 })
  .filter((text) => !/[\u0000-\u0020\u007f]|\p{Zs}/u.test(text));
const line = fc.stringMatching(/^[!-~]([ -~]*[!-~])?$/);
const payload = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
const headers = fc.array(fc.tuple(fc.stringMatching(/^[A-Za-z-]+$/), line), { maxLength: 4 });

const message = fc
  .record({ subject: word, subscription: fc.nat(), reply: fc.option(word, { nil: undefined }), payload })
  .map(({ subject, subscription, reply, payload: bytes }): Wire => {
    const head = ['MSG', subject, subscription, ...(reply === undefined ? [] : [reply]), bytes.length].join(' ');
    const content = { subject, reply, headers: [], status: undefined, payload: new Uint8Array(bytes) };
    return wire(Buffer.concat([Buffer.from(`${head}\r\n`), bytes, Buffer.from('\r\n')]), {
      kind: 'message',
      subscription,
      message: content,
    });
  });

const messageWithHeaders = fc
  .record({
    subject: word,
    subscription: fc.nat(),
    headers,
    code: fc.option(fc.integer({ min: 100, max: 999 })),
    payload,
  })
  .map(({ subject, subscription, headers: given, code, payload: bytes }): Wire => {
    const status = code === null ? undefined : { code, text: 'No Responders' };
    const first = `NATS/1.0${status === undefined ? '' : ` ${status.code} ${status.text}`}`;
    const head = Buffer.from([first, ...given.map(([name, value]) => `${name}: ${value}`), '', ''].join('\r\n'));
    const words = `HMSG ${subject} ${subscription} ${head.length} ${head.length + bytes.length}\r\n`;
    const content = { subject, reply: undefined, headers: given, status, payload: new Uint8Array(bytes) };
    return wire(Buffer.concat([Buffer.from(words), head, bytes, Buffer.from('\r\n')]), {
      kind: 'message',
      subscription,
      message: content,
    });
  });

const frame = fc.oneof(
  message,
  messageWithHeaders,
  fc.constantFrom(
    wire('PING\r\n', { kind: 'ping' }),
    wire('PONG\r\n', { kind: 'pong' }),
    wire('+OK\r\n', { kind: 'ok' }),
  ),
  line.map((text) => wire(`INFO ${text}\r\n`, { kind: 'info', text })),
  fc.string({ unit: 'grapheme-composite' }).map((text) => {
    const said = `x${text.replaceAll(/[\r\n']/g, '')}x`;
    return wire(`-ERR '${said}'\r\n`, { kind: 'error', text: said });
  }),
);

/** Cuts, as parts of the length. */
const cuts = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => Math.floor(place * bytes.length)).sort((a, b) => a - b), bytes.length];
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end));
}

async function* given(
  chunks: readonly Uint8Array[],
  seen: { bytes: number } = { bytes: 0 },
): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) {
    seen.bytes += chunk.length;
    yield chunk;
  }
}

/** The frames up to the end or the fault, and its code. Throws what is no fault. */
async function read(chunks: AsyncIterable<Uint8Array>, maximumBytes = Infinity) {
  const frames: Frame[] = [];
  try {
    for await (const each of framesOf(chunks, maximumBytes)) frames.push(each);
  } catch (thrown) {
    if (!(thrown instanceof FaultError)) throw thrown;
    return { frames, code: thrown.fault.code };
  }
  return { frames, code: undefined };
}

describe('the frames of a server', () => {
  it('are the same wherever the bytes are cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 6 }), cuts, async (wires, places) => {
        const bytes = Buffer.concat(wires.map((each) => each.bytes));
        const expected = { frames: wires.map((each) => each.frame), code: undefined };
        expect(await read(given(cut(bytes, places)))).toEqual(expected);
        const single = Array.from(bytes, (byte) => Buffer.of(byte));
        expect(await read(given(single))).toEqual(expected);
      }),
    );
  });

  it('end with a fault where the bytes end within one, and never give half of it', async () => {
    await fc.assert(
      fc.asyncProperty(frame, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), async (each, place) => {
        const end = Math.max(1, Math.floor(place * each.bytes.length));
        expect(await read(given([each.bytes.subarray(0, end)]))).toEqual({ frames: [], code: 'upstream.unreachable' });
      }),
    );
  });

  it('take no more than the bound of the session, whatever comes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { minLength: 1, maxLength: 6 }), cuts, async (wires, places) => {
        const bytes = Buffer.concat(wires.map((each) => each.bytes));
        const chunks = cut(bytes, places);
        const seen = { bytes: 0 };
        const { code } = await read(given(chunks, seen), bytes.length - 1);
        expect(code).toBe('upstream.too-large');
        const longest = Math.max(...chunks.map((chunk) => chunk.length));
        expect(seen.bytes).toBeLessThanOrEqual(bytes.length - 1 + longest);
      }),
    );
  });
});

describe('what is no frame', () => {
  it('is a fault of the server and never an error of ours, also where it looks like one', async () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
      fc
        .constantFrom('MSG ', 'HMSG ', 'a 1 ', '0', '5 3', '-1', ' ', '\r\n', '\n', 'NATS/1.0', ' 503', 'x:')
        .map(Buffer.from),
      frame.map((each) => each.bytes),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 12 }), cuts, async (pieces, places) => {
        const { code } = await read(given(cut(Buffer.concat(pieces), places)), 10_000);
        expect([undefined, 'upstream.invalid', 'upstream.unreachable', 'upstream.too-large']).toContain(code);
      }),
      { numRuns: 1_000 },
    );
  });

  it.each([
    ['a size that is none', 'MSG a 1 x\r\n', 'upstream.invalid'],
    ['a negative size', 'MSG a 1 -1\r\n', 'upstream.invalid'],
    ['a size as a power', 'MSG a 1 1e3\r\n', 'upstream.invalid'],
    ['a size in hexadecimal', 'MSG a 1 0x10\r\n', 'upstream.invalid'],
    ['a size beyond all numbers', `MSG a 1 ${'9'.repeat(400)}\r\n`, 'upstream.invalid'],
    ['a size of gigabytes', 'MSG a 1 9999999999\r\n', 'upstream.too-large'],
    ['a size just beyond the bound', `MSG a 1 ${LIMITS.responseBodyBytes + 1}\r\n`, 'upstream.too-large'],
    ['headers that are longer than the message', 'HMSG a 1 12 5\r\nhello\r\n', 'upstream.invalid'],
    ['headers of a negative size', 'HMSG a 1 -5 5\r\nhello\r\n', 'upstream.invalid'],
    ['headers without a size', 'HMSG a 1 5\r\nhello\r\n', 'upstream.invalid'],
    ['no subscription', 'MSG a 5\r\nhello\r\n', 'upstream.invalid'],
    ['a subscription that is no number', 'MSG a b 5\r\nhello\r\n', 'upstream.invalid'],
    ['a word too many', 'MSG a 1 b c 5\r\nhello\r\n', 'upstream.invalid'],
    ['a payload that is longer than it says', 'MSG a 1 4\r\nhello\r\n', 'upstream.invalid'],
    ['a payload that is shorter than it says', 'MSG a 1 8\r\nhello\r\nPING\r\n', 'upstream.invalid'],
    ['a word that the protocol does not have', 'HTTP/1.1 400 Bad Request\r\n', 'upstream.invalid'],
    ['an empty line', '\r\n', 'upstream.invalid'],
    ['a line without an end', 'P'.repeat(LIMITS.natsLineBytes + 1), 'upstream.invalid'],
  ])('as %s ends the session', async (_, text, code) => {
    const bytes = Buffer.from(text);
    expect(await read(given([bytes]))).toEqual({ frames: [], code });
    const half = Math.ceil(bytes.length / 2);
    expect(await read(given([bytes.subarray(0, half), bytes.subarray(half)]))).toEqual({ frames: [], code });
  });

  it('as a line without an end is not waited for beyond its bound', async () => {
    const seen = { bytes: 0 };
    const chunks = Array.from({ length: 10_000 }, () => Buffer.alloc(1_000, 'x'));
    expect((await read(given(chunks, seen))).code).toBe('upstream.invalid');
    expect(seen.bytes).toBeLessThanOrEqual(LIMITS.natsLineBytes + 1_000);
  });

  it('as a size of gigabytes is refused before anything of the message is waited for', async () => {
    const seen = { bytes: 0 };
    const head = Buffer.from('MSG a 1 4294967296\r\n');
    await read(given([head, Buffer.alloc(1_000)], seen));
    expect(seen.bytes).toBe(head.length);
  });
});
