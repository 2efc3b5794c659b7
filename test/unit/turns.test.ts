import { expect, it } from 'vitest';
import { Turns } from '../../src/runtime/turns.ts';

/** A disk that is busy until it is told. */
function disk() {
  const writes: (() => void)[] = [];
  let syncs = 0;
  const turns = new Turns(() => {
    syncs++;
    return new Promise((resolve) => writes.push(resolve));
  });
  return { turns, written: () => writes.shift()?.(), syncs: () => syncs };
}

it('work is done at once while the disk is idle', () => {
  const { turns, syncs } = disk();
  const done: number[] = [];
  expect(turns.do(() => done.push(1))).toBeUndefined();
  expect([done, syncs()]).toEqual([[1], 1]);
});

it('work that comes while the disk is busy is done together, in order, in the next turn', async () => {
  const { turns, written, syncs } = disk();
  const done: number[] = [];
  void turns.do(() => done.push(1));
  const all = [2, 3, 4].map((n) => turns.do(() => done.push(n)));
  expect(done).toEqual([1]);
  written();
  await all.at(-1);
  expect([done, syncs()]).toEqual([[1, 2, 3, 4], 2]);
});

it('work that is added by work comes in a later turn, and none is forgotten', async () => {
  const { turns, written } = disk();
  const done: number[] = [];
  void turns.do(() => {});
  const second = turns.do(() => {
    done.push(1);
    void turns.do(() => done.push(2));
  });
  written();
  await second;
  written();
  await new Promise((resolve) => setTimeout(resolve));
  expect(done).toEqual([1, 2]);
});

it('a write that fails stops nothing', async () => {
  let fails = true;
  const turns = new Turns(() => (fails ? Promise.reject(new Error('full')) : Promise.resolve()));
  void turns.do(() => {});
  fails = false;
  let done = false;
  await turns.do(() => (done = true));
  expect(done).toBe(true);
});

it('work that throws fails for its caller alone, and the turn goes on', async () => {
  const { turns, written } = disk();
  void turns.do(() => {});
  const failing = turns.attempt(() => {
    throw new Error('full');
  });
  const working = turns.attempt(() => 7);
  written();
  await expect(failing).rejects.toThrow('full');
  expect(await working).toBe(7);
});
