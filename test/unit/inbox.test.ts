import { describe, expect, it } from 'vitest';
import {
  eventId,
  keptHeaders,
  nextSequence,
  readCursor,
  refusedHeaders,
  sequenceAt,
  sequenceOf,
  textOf,
  triggerEventOf,
} from '../../src/core/inbox/event.ts';
import { LIMITS } from '../../src/core/limits.ts';

const NOW = Date.parse('2026-05-01T12:00:00Z');
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const bodyOf = (text: string, type = 'application/json'): unknown =>
  triggerEventOf({ query: '', headers: JSON.stringify({ 'content-type': type }), body: bytes(text) }, NOW).body;

describe('a sequence number', () => {
  it('grows with time and with each event, also where the clock goes back', () => {
    const first = nextSequence(0, NOW);
    expect(nextSequence(first, NOW)).toBe(first + 1);
    expect(nextSequence(first, NOW - 60_000)).toBe(first + 1);
    expect(nextSequence(first, NOW + 1)).toBe(sequenceAt(NOW + 1));
    expect(Number.isSafeInteger(nextSequence(0, Date.parse('2200-01-01T00:00:00Z')))).toBe(true);
  });

  it('is read back from the id of its event, from a cursor and from an instant', () => {
    const sequence = nextSequence(0, NOW) + 17;
    expect(sequenceOf(eventId(sequence))).toBe(sequence);
    expect(readCursor(String(sequence))).toBe(sequence);
    expect(readCursor('2026-05-01T12:00:00Z')).toBe(sequenceAt(NOW));
  });

  it.each(['', 'evt_', 'evt_A', 'evt_1.5', 'evt_zzzzzzzzzzz', 'evt_zzzzzzzzzzzz', 'run_1', ' evt_1'])(
    'is in no such id as %j',
    (id) => expect(sequenceOf(id)).toBeUndefined(),
  );

  it.each(['', '-1', '1e3', '0x1', '99999999999999999', '9999999999999999', 'now', '2026-13-01T00:00:00Z'])(
    'is in no such cursor as %j',
    (text) => expect(readCursor(text)).toBeUndefined(),
  );
});

describe('the body that a chain sees', () => {
  it('is JSON, form fields or text', () => {
    expect(bodyOf('{"a":1}')).toEqual({ a: 1 });
    expect(bodyOf('{"a":1}', 'text/plain')).toEqual({ a: 1 });
    expect(bodyOf('a=1&b=x+y', 'application/x-www-form-urlencoded; charset=utf-8')).toEqual({ a: '1', b: 'x y' });
    expect(bodyOf('{"a":')).toBe('{"a":');
    expect(bodyOf('')).toBe('');
  });

  it('stays text where it is nested too deep to work on', () => {
    const deep = '['.repeat(100_000) + ']'.repeat(100_000);
    expect(bodyOf(deep)).toBe(deep);
  });
});

describe('the query that a chain sees', () => {
  it('holds no member that was not sent', () => {
    const { query } = triggerEventOf({ query: 'a=1&a=2&__proto__=x', headers: '{}', body: bytes('') }, NOW);
    expect({ ...query }).toEqual({ a: '2', ['__proto__']: 'x' });
    expect('toString' in query).toBe(false);
  });
});

describe('headers that are kept', () => {
  it('hold no value with a secret of the source in it, under whatever name', () => {
    const kept = keptHeaders({ 'x-a': 'Token s3cret', 'x-b': 'b' }, (value) => value.includes('s3cret'));
    expect(kept).toBe('{"x-b":"b"}');
  });

  it('of a refused delivery hold nothing that may be a credential, and are few', () => {
    const names = [
      'authorization',
      'x-gitlab-token',
      'x-api-key',
      'apikey',
      'x-webhook-secret',
      'cookie',
      'x-password',
    ];
    const given = Object.fromEntries(names.map((name) => [name, 'hidden']));
    expect(refusedHeaders({ ...given, 'x-hub-signature-256': 'sha256=00' })).toBe(
      '{"x-hub-signature-256":"sha256=00"}',
    );
    const many = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`x-${n}`, 'y'.repeat(100)]));
    expect(refusedHeaders(many).length).toBeLessThan(2 * LIMITS.rejectedHeaderCharacters);
  });
});

describe('a body that is shown', () => {
  it('is text only where that tells every byte of it', () => {
    expect(textOf(bytes('\ufeff{}'), 'application/json')).toBe('\ufeff{}');
    expect(textOf(bytes('a'), null)).toBe('a');
    expect(textOf(new Uint8Array([0xff, 0x00]), 'application/json')).toBeUndefined();
    expect(textOf(bytes('a'), 'application/octet-stream')).toBeUndefined();
    expect(textOf(bytes('<a/>'), 'application/atom+xml')).toBe('<a/>');
  });
});
