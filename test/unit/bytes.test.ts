import { expect, test } from 'vitest';
import { joinChunks, readChunks } from '../../src/core/bytes.ts';

test('chunks within the limit are one body, in their order', async () => {
  async function* chunks() {
    yield* [Uint8Array.of(1, 2), Uint8Array.of(), Uint8Array.of(3)];
  }
  expect(await readChunks(chunks(), 3)).toEqual(Uint8Array.of(1, 2, 3));
  expect(joinChunks([])).toEqual(new Uint8Array(0));
});

test('no stream is an empty body', async () => {
  expect(await readChunks(null, 0)).toEqual(new Uint8Array(0));
});

test('one byte too many gives nothing, and the rest is not asked for', async () => {
  let asked = 0;
  let isCancelled = false;
  const endless = new ReadableStream<Uint8Array>(
    {
      pull: (controller) => controller.enqueue(new Uint8Array(++asked)),
      cancel: () => void (isCancelled = true),
    },
    { highWaterMark: 0 },
  );
  expect(await readChunks(endless, 2)).toBeUndefined();
  expect([asked, isCancelled]).toEqual([2, true]);
});

test('a stream that breaks off rejects', async () => {
  const broken = new ReadableStream<Uint8Array>({ start: (controller) => controller.error(new Error('gone')) });
  await expect(readChunks(broken, 9)).rejects.toThrow('gone');
});
