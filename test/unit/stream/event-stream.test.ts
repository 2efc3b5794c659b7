import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EventStreamParser, type ServerSentEvent } from '../../../src/core/stream/event-stream.ts';
import { LineParser } from '../../../src/core/stream/line-stream.ts';

/** `type|data|id|lastId` of each event. */
function eventsOf(pieces: readonly string[], lastId?: string): string[] {
  const parser = new EventStreamParser(lastId);
  return pieces.flatMap((piece) => parser.push(piece)).map(shown);
}

const shown = ({ type, data, id, lastId }: ServerSentEvent): string => [type, data, id ?? '-', lastId].join('|');

/** What a stream gives, and the same for every way to cut it in two, and into single characters. */
function parse(text: string, lastId?: string): string[] {
  const whole = eventsOf([text], lastId);
  for (let at = 0; at <= text.length; at++) {
    expect(eventsOf([text.slice(0, at), '', text.slice(at)], lastId), `cut at ${at}`).toEqual(whole);
  }
  expect(eventsOf(text.split(''), lastId)).toEqual(whole);
  return whole;
}

/** The examples of WHATWG HTML, section 9.2. */
describe('the examples of the standard', () => {
  it('give three messages, the second of two lines', () => {
    const text = 'data: This is the first message.\n\ndata: This is the second message, it\ndata: has two lines.\n\n';
    expect(parse(`${text}data: This is the third message.\n\n`)).toEqual([
      'message|This is the first message.|-|',
      'message|This is the second message, it\nhas two lines.|-|',
      'message|This is the third message.|-|',
    ]);
  });

  it('give events of several types', () => {
    const text = 'event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n';
    expect(parse(text)).toEqual(['add|73857293|-|', 'remove|2153|-|', 'add|113411|-|']);
  });

  it('give one event for the stock ticker', () => {
    expect(parse('data: YHOO\ndata: +2\ndata: 10\n\n')).toEqual(['message|YHOO\n+2\n10|-|']);
  });

  it('reset the last id by an empty one, and keep the space of a line that has two', () => {
    const text = ': test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n';
    expect(parse(text)).toEqual(['message|first event|1|1', 'message|second event|-|', 'message| third event|-|']);
  });

  it('give empty data and a lone line feed, and nothing for what no empty line ends', () => {
    expect(parse('data\n\ndata\ndata\n\ndata:')).toEqual(['message||-|', 'message|\n|-|']);
  });

  it('ignore the one space after a colon', () => {
    expect(parse('data:test\n\ndata: test\n\n')).toEqual(['message|test|-|', 'message|test|-|']);
  });
});

describe('a stream of events', () => {
  it('takes all three line ends, mixed, for what they are', () => {
    expect(parse('data: a\r\ndata: b\rdata: c\n\r\ndata: d\r\r')).toEqual(['message|a\nb\nc|-|', 'message|d|-|']);
  });

  it('makes no empty line of a carriage return and a line feed that come apart', () => {
    expect(eventsOf(['data: a\r', '\ndata: b\r', '\n\r', '\n'])).toEqual(['message|a\nb|-|']);
  });

  it('keeps the last id for events that have none, and begins with that of the stream before', () => {
    expect(parse('data: a\n\nid: 8\ndata: b\n\ndata: c\n\n', '7')).toEqual([
      'message|a|-|7',
      'message|b|8|8',
      'message|c|-|8',
    ]);
  });

  it('moves the last id by a block without data, which is no event', () => {
    expect(parse('id: 9\n\ndata: a\n\n')).toEqual(['message|a|-|9']);
  });

  it('ignores an id with a NUL, a retry that is no number, fields that it does not know, and comments', () => {
    const parser = new EventStreamParser();
    const text = 'id: 1\0\nretry: 1s\nretry: -1\nretry:\nnonsense: 1\n:\n: x\ndata: a\n\n';
    expect(parser.push(text).map(shown)).toEqual(['message|a|-|']);
    expect(parser.retryMilliseconds).toBeUndefined();
    parser.push('retry: 1500\n');
    expect(parser.retryMilliseconds).toBe(1500);
  });

  it('forgets the type and the id of a block without data', () => {
    expect(parse('event: odd\nid: 3\n\ndata: a\n\n')).toEqual(['message|a|-|3']);
  });

  it('tells what it holds, so that an event without an end can be refused', () => {
    const parser = new EventStreamParser();
    for (let piece = 0; piece < 10; piece++) parser.push('data: 12345678');
    expect(parser.heldCharacters).toBe(140);
    parser.push('\ndata: 1');
    expect(parser.heldCharacters).toBe(135 + 7);
    parser.push('\n\n');
    expect(parser.heldCharacters).toBe(0);
  });

  it('is the same however it is cut', () => {
    const line = fc.constantFrom('data: x', 'data', 'id: 1', 'id', 'event: e', ': c', 'retry: 5', '', 'x');
    const end = fc.constantFrom('\n', '\r\n', '\r');
    fc.assert(
      fc.property(fc.array(fc.tuple(line, end)), fc.array(fc.nat(60)), (lines, cuts) => {
        const text = lines.flat().join('');
        const places = [...new Set([0, ...cuts.filter((cut) => cut < text.length), text.length])].sort((a, b) => a - b);
        const pieces = places.slice(1).map((to, index) => text.slice(places[index], to));
        expect(eventsOf(pieces)).toEqual(eventsOf([text]));
      }),
    );
  });
});

describe('a stream of lines', () => {
  const text = '{"a":1}\r\n\n  \n{"b":2}\n3';

  it('gives each line that is not empty, however it is cut, and the last at the end', () => {
    for (let at = 0; at <= text.length; at++) {
      const parser = new LineParser();
      const lines = [...parser.push(text.slice(0, at)), ...parser.push(text.slice(at))];
      expect(lines).toEqual(['{"a":1}', '{"b":2}']);
      expect(parser.heldCharacters).toBe(1);
      expect(parser.end()).toEqual(['3']);
      expect(parser.end()).toEqual([]);
    }
  });
});
