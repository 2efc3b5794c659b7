import { expect, it } from 'vitest';
import { Frames } from '../../../src/drivers/postgres/frames.ts';

const message = (type: string, body: string): string => {
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, body.length + 4);
  return type + String.fromCharCode(...new Uint8Array(length.buffer)) + body;
};

function statesOf(chunks: readonly string[]): string[] {
  const states: string[] = [];
  const frames = new Frames((status) => states.push(status));
  for (const chunk of chunks) frames.take(Uint8Array.from(chunk, (character) => character.charCodeAt(0)));
  return states;
}

const stream =
  message('Z', 'I') + message('D', `Z${'x'.repeat(300)}Z`) + message('2', '') + message('Z', 'T') + message('Z', 'E');

it('finds the states of the transaction, wherever the bytes are cut', () => {
  for (let size = 1; size <= stream.length; size++) {
    const chunks = Array.from({ length: Math.ceil(stream.length / size) }, (_, n) =>
      stream.slice(n * size, (n + 1) * size),
    );
    expect(statesOf(chunks)).toEqual(['I', 'T', 'E']);
  }
});

it('takes nothing within another message for a state', () => {
  expect(statesOf([message('D', message('Z', 'T'))])).toEqual([]);
});
