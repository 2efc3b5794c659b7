import { expect, it } from 'vitest';
import { fail, ok, type Result } from '../../src/core/errors.ts';
import { LIMITS } from '../../src/core/limits.ts';
import { partsOfList, type ObjectStore, type Parts } from '../../src/drivers/kit/objects.ts';
import { guardedStore } from '../../src/runtime/guarded-store.ts';
import { Providers, type OutageNews } from '../../src/runtime/providers.ts';

const NAME = { key: 'a' };
const away = fail('upstream.unavailable', 'Not now.');
const unused = () => Promise.reject(new Error('not used here'));

function world() {
  let now = 0;
  const news: OutageNews[] = [];
  const providers = new Providers(
    () => undefined,
    (each) => news.push(each),
  );
  let answer: Result<undefined> = ok(undefined);
  let calls = 0;
  const store: ObjectStore = {
    get: () =>
      Promise.resolve(
        ok({
          ...{ contentType: undefined, sizeBytes: 0, etag: undefined, lastModified: undefined, metadata: {} },
          ...{ stream: new Blob([]).stream(), streamBytes: 0 },
        }),
      ),
    head: unused,
    put: unused,
    async putParts(_name, parts) {
      const part = await parts.next();
      if (!part.ok) return part;
      return answer.ok ? ok({ etag: 'e' }) : answer;
    },
    delete() {
      calls++;
      return Promise.resolve(answer);
    },
    list: unused,
    copy: unused,
    presign: () => Promise.resolve(ok({ url: 'https://example.com/', headers: {} })),
  };
  const open = (connection = 'mine') =>
    guardedStore(
      store,
      providers.guard(connection, () => now, 1_000),
    );
  return {
    open,
    news,
    calls: () => calls,
    is: (next: Result<undefined>) => (answer = next),
    pass: (milliseconds: number) => (now += milliseconds),
    async fails(times: number, store = open()) {
      answer = away;
      for (let time = 0; time < times; time++) await store.delete(NAME);
      answer = ok(undefined);
    },
  };
}

it('a store that fails again and again is called no more, and the fault says when to come back', async () => {
  const { open, fails, calls, news } = world();
  await fails(LIMITS.breakerFailuresInARow);
  const refused = await open().delete(NAME);
  expect(refused).toMatchObject({ ok: false, fault: { code: 'upstream.unavailable', retryable: true } });
  expect(refused.ok ? 0 : refused.fault.retryAfterMilliseconds).toBeGreaterThan(0);
  expect(calls()).toBe(LIMITS.breakerFailuresInARow);
  expect(news).toMatchObject([{ connection: 'mine', news: 'opened' }]);
});

it('one call finds out when it is back, and then all go through', async () => {
  const { open, fails, pass, calls, news } = world();
  await fails(LIMITS.breakerFailuresInARow);
  pass(LIMITS.breakerPauseLongestMilliseconds * 2);
  expect((await open().delete(NAME)).ok).toBe(true);
  expect((await open().delete(NAME)).ok).toBe(true);
  expect(calls()).toBe(LIMITS.breakerFailuresInARow + 2);
  expect(news.map((each) => each.news)).toEqual(['opened', 'closed']);
});

it('a store of another connection is not paused with it', async () => {
  const { open, fails } = world();
  await fails(LIMITS.breakerFailuresInARow);
  expect((await open('other').delete(NAME)).ok).toBe(true);
});

it('an answer that refuses is one of a store that works', async () => {
  const { open, is, calls } = world();
  is(fail('upstream.rejected', 'No.'));
  for (let time = 0; time < 3 * LIMITS.breakerFailuresInARow; time++) await open().delete(NAME);
  expect(calls()).toBe(3 * LIMITS.breakerFailuresInARow);
});

it('a body that breaks off is a failure of the store that it came from, not of the one that is written to', async () => {
  const { open } = world();
  const lost: Parts = { totalBytes: 9, next: () => Promise.resolve(fail('upstream.unreachable', 'Broke off.')) };
  for (let time = 0; time < LIMITS.breakerFailuresInARow; time++) {
    const source = await open('source').get(NAME);
    if (source.ok) source.value?.brokeOff?.(away.fault);
    await open('target').putParts(NAME, lost);
  }
  expect((await open('source').delete(NAME)).ok, 'source').toBe(true);
  expect((await open('target').delete(NAME)).ok, 'target').toBe(true);
  // Without answers in between, which begin the count anew.
  const source = await open('source').get(NAME);
  for (let time = 0; time < LIMITS.breakerFailuresInARow; time++) {
    if (source.ok) source.value?.brokeOff?.(away.fault);
    await open('target').putParts(NAME, lost);
  }
  await Promise.resolve();
  expect((await open('source').delete(NAME)).ok, 'source').toBe(false);
  expect((await open('target').delete(NAME)).ok, 'target').toBe(true);
});

it('a write that fails by itself counts, and a link is made without a call', async () => {
  const { open, is } = world();
  is(away);
  for (let time = 0; time < LIMITS.breakerFailuresInARow; time++) {
    await open().putParts(NAME, partsOfList([new Uint8Array(1)]));
  }
  is(ok(undefined));
  expect((await open().delete(NAME)).ok).toBe(false);
  expect((await open().presign(NAME, { method: 'GET', expiresSeconds: 1 })).ok).toBe(true);
});
