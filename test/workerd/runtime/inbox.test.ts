/** What an inbox holds on to: crashes, full run objects, a disk that fails, time. */

import { abortAllDurableObjects, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { answerOf, codeOf, manage, publish, runsOf, type Called } from '../gateway/fixtures.ts';
import { deliver, eventsOf, runsOfEvent, SECRET, settled, type Delivery } from '../gateway/hook-fixtures.ts';
import { sequenceOf } from '../../../src/core/inbox/event.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import { inboxOf, sweepInboxes } from '../../../src/runtime/inbox.ts';
import { InboxObject } from '../../../src/runtime/inbox-object.ts';
import { InboxStore } from '../../../src/runtime/inbox-store.ts';
import { RunObject } from '../../../src/runtime/run-object.ts';
import { BUSY } from '../../../src/runtime/shards.ts';

let source = '';
let chain = '';
let count = 0;
beforeEach(async () => {
  source = `kept-${++count}`;
  await manage(`PUT /sources/${source}`, { scheme: 'standard', secret: SECRET });
  chain = (await publish({ triggers: { hook: { type: 'webhook', source } }, output: '{{ input.n }}' })).name;
});
afterEach(() => vi.restoreAllMocks());

const send = (n: number, more: Delivery = {}): Promise<Called> => deliver({ source, body: `{"n":${n}}`, ...more });
const inside = <T>(work: (sql: SqlStorage, state: DurableObjectState) => T) =>
  runInDurableObject(inboxOf(env, source), (_object: InboxObject, state) => work(state.storage.sql, state));

describe('after a crash', () => {
  it('between the write of an event and the start of its run, the run is started without a request', async () => {
    await send(0);
    await inside((_sql, { storage }) => {
      const common = {
        scheme: 'standard',
        query: '',
        headers: '{}',
        type: null,
        receivedAt: Date.now(),
        bytes: 7,
        blob: null,
      };
      for (const n of [1, 2, 3]) {
        const body = new TextEncoder().encode(`{"n":${n}}`);
        new InboxStore(storage).insert({ ...common, body, deliveryId: `lost-${n}` }, Date.now());
      }
    });
    await abortAllDurableObjects();
    await sweepInboxes(env, [source]);
    await vi.waitFor(async () => expect(await runsOf(chain)).toBe(4));
  });

  it('between the start of a run and its note, no second one is started', async () => {
    const { body } = await send(1);
    const [run] = await runsOfEvent(body, source);
    await inside((sql) => sql.exec('update events set state = 0, outcome = null'));
    await abortAllDurableObjects();
    expect(await runsOfEvent(body, source)).toEqual([run]);
    expect(await runsOf(chain)).toBe(1);
  });

  it('in the middle of a burst, each delivery with a 2xx has one run, and the others may come again', async () => {
    const sending = Array.from({ length: 60 }, async (_, n) => {
      const id = `burst-${source}-${n}`;
      for (;;) {
        const answer = await send(n, { id });
        if (answer.status === 200) return answer.body;
        expect(codeOf(answer)).toEqual([503, 'storage.unavailable']);
      }
    });
    vi.spyOn(console, 'error').mockReturnValue();
    for (let crash = 0; crash < 3; crash++) {
      await scheduler.wait(5);
      await abortAllDurableObjects();
    }
    const receipts = await Promise.all(sending);
    await sweepInboxes(env, [source]);
    const runs = await Promise.all(receipts.map((receipt) => runsOfEvent(receipt, source)));
    expect(new Set(runs.flat()).size).toBe(60);
    const outputs = await Promise.all(runs.map(async ([run]) => (await answerOf(run ?? ''))?.status));
    expect(outputs).toEqual(Array(60).fill('succeeded'));
    await vi.waitFor(async () => expect((await eventsOf(source, '?limit=100')).body['items']).toHaveLength(60));
  });
});

describe('a disk that fails', () => {
  it('is a 503 for the delivery, which is an event once it comes again', async () => {
    await send(0);
    vi.spyOn(console, 'error').mockReturnValue();
    const exec = vi.spyOn(InboxStore.prototype, 'insert').mockImplementation(() => {
      throw new Error('SQLITE_FULL');
    });
    const id = `full-${source}`;
    const refused = await send(1, { id });
    expect(codeOf(refused)).toEqual([503, 'storage.unavailable']);
    expect(refused.text).not.toContain('SQLITE');
    exec.mockRestore();
    const accepted = await send(1, { id });
    expect([accepted.status, accepted.body['duplicate']]).toEqual([200, false]);
    await vi.waitFor(async () => expect(await runsOf(chain)).toBe(2));
  });

  it('when it is to be noted what became of events, loses none of it', async () => {
    vi.spyOn(console, 'error').mockReturnValue();
    const settle = vi.spyOn(InboxStore.prototype, 'settle').mockImplementation(() => {
      throw new Error('SQLITE_FULL');
    });
    const { body } = await send(1);
    await vi.waitFor(() => expect(settle).toHaveBeenCalled());
    settle.mockRestore();
    expect(await settled(body, source)).toMatchObject({ status: 'accepted', runs: [{ chain }] });
  });
});

describe('run objects that have too much to do', () => {
  it('are asked again until they take the runs', async () => {
    const accept = vi.spyOn(RunObject.prototype, 'accept').mockRejectedValue(new Error(BUSY));
    const receipts = await Promise.all(Array.from({ length: 30 }, (_, n) => send(n)));
    expect(receipts.map(({ status }) => status)).toEqual(Array(30).fill(200));
    await vi.waitFor(() => expect(accept.mock.calls.length).toBeGreaterThan(2));
    const { body } = await eventsOf(source);
    expect((body['items'] as { pending: boolean }[]).every(({ pending }) => pending)).toBe(true);
    accept.mockRestore();
    for (const receipt of receipts) expect(await settled(receipt.body, source)).toMatchObject({ status: 'accepted' });
    expect(await runsOf(chain)).toBe(30);
  });

  it('leave an event pending that is replayed meanwhile', async () => {
    const accept = vi.spyOn(RunObject.prototype, 'accept').mockRejectedValue(new Error(BUSY));
    const { body } = await send(1);
    await inboxOf(env, source).note([
      { sequence: sequenceOf(String(body['event'])) ?? 0, runs: [{ chain: 'other', trigger: 'hook', run: 'run_0_1' }] },
    ]);
    accept.mockRestore();
    await abortAllDurableObjects();
    expect(await settled(body, source)).toMatchObject({ status: 'accepted', runs: [{ chain: 'other' }, { chain }] });
  });

  it('hold up later events of an ordered chain, and not those of others', async () => {
    const trigger = { hook: { type: 'webhook', source, events: ['ordered'] } };
    const order = { strategy: 'fifo', key: '{{ chain.name }}' };
    const ordered = await publish({ triggers: trigger, order, output: '{{ input.n }}' });
    const original = RunObject.prototype.accept;
    let refusing = true;
    const taken: number[] = [];
    vi.spyOn(RunObject.prototype, 'accept').mockImplementation(function (this: RunObject, runs) {
      if (refusing && runs.some((run) => run.chain === ordered.name && run.start.includes('"n":0')))
        throw new Error(BUSY);
      taken.push(
        ...runs.filter((run) => run.chain === ordered.name).map(({ start }) => Number(/"n":(\d+)/.exec(start)?.[1])),
      );
      return original.call(this, runs);
    });
    const receipts: Called['body'][] = [];
    for (let n = 0; n < 6; n++) receipts.push((await send(n, { body: JSON.stringify({ type: 'ordered', n }) })).body);
    expect(await settled((await send(9)).body, source)).toMatchObject({ status: 'accepted' });
    expect(taken).toEqual([]);
    refusing = false;
    for (const receipt of receipts) await settled(receipt, source);
    expect([...new Set(taken)]).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('and go on refusing for a day make the event fail, which can be recovered', async () => {
    const accept = vi.spyOn(RunObject.prototype, 'accept').mockRejectedValue(new Error(BUSY));
    const { body } = await send(1);
    await inside((sql) => sql.exec('update events set received_at = received_at - ?', LIMITS.inboxGiveUpMilliseconds));
    await abortAllDurableObjects();
    expect(await settled(body, source)).toMatchObject({ status: 'failed', errors: [{ chain, code: 'run.busy' }] });
    accept.mockRestore();
    await manage(`POST /sources/${source}/events/recover`, { since: '2026-01-01T00:00:00Z' });
    expect(await settled(body, source)).toMatchObject({ status: 'accepted', errors: [], runs: [{ chain }] });
  });
});

describe('an event', () => {
  it('takes three rows: itself, its delivery id, and what became of it', async () => {
    await settled((await send(0)).body, source);
    let rows = 0;
    await inside((sql) => {
      const prototype = Object.getPrototypeOf(sql) as SqlStorage;
      const original = prototype.exec;
      vi.spyOn(prototype, 'exec').mockImplementation(function (
        this: SqlStorage,
        query: string,
        ...bindings: unknown[]
      ) {
        const cursor = original.call(this, query, ...bindings);
        if (/\b(?:into|update|from) events\b/.test(query)) queueMicrotask(() => (rows += cursor.rowsWritten));
        return cursor as never;
      });
    });
    const receipts = await Promise.all(Array.from({ length: 20 }, (_, n) => send(n)));
    for (const { body } of receipts) await settled(body, source);
    expect(rows).toBe(60);
  });

  it('of a delivery that comes after the window is a new one', async () => {
    const inbox = { dedupe: '1h', retention: '1d' };
    await manage(`PUT /sources/${source}`, { scheme: 'standard', secret: SECRET, inbox });
    const id = `window-${source}`;
    const first = await send(1, { id });
    await settled(first.body, source);
    const age = (milliseconds: number) =>
      inside((sql) => sql.exec('update events set sequence = sequence - ?', milliseconds * 1024));
    await age(59 * 60_000);
    expect((await send(1, { id })).body['duplicate']).toBe(true);
    await age(2 * 60_000);
    const later = await send(1, { id });
    expect([later.status, later.body['duplicate']]).toEqual([200, false]);
    expect((await send(1, { id })).body).toMatchObject({ duplicate: true, event: later.body['event'] });
    await vi.waitFor(async () => expect(await runsOf(chain)).toBe(2));
  });

  it('goes when its time is over, with its body in R2, and its number is not given again', async () => {
    const body = JSON.stringify({ n: 1, text: 'x'.repeat(150_000) });
    const sent = [await send(1, { body }), await send(2)];
    for (const receipt of sent) await settled(receipt.body, source);
    const days = LIMITS.eventRetentionMilliseconds + 1_000;
    await inside((sql) => sql.exec('update events set sequence = sequence - ?', days * 1024));
    const blobs = async () => (await env.BLOBS?.list({ prefix: `inbox/${source}/` }))?.objects.length;
    expect(await blobs()).toBe(1);
    await abortAllDurableObjects();
    await inside((_sql, { storage }) => storage.setAlarm(Date.now() + 60_000));
    await runDurableObjectAlarm(inboxOf(env, source));
    expect([(await eventsOf(source)).body['items'], await blobs()]).toEqual([[], 0]);
    await abortAllDurableObjects();
    const next = String((await send(3)).body['event']);
    expect(next > String(sent[1]?.body['event'])).toBe(true);
  });

  it('that is not done yet does not go', async () => {
    vi.spyOn(RunObject.prototype, 'accept').mockRejectedValue(new Error(BUSY));
    await send(1);
    const days = LIMITS.eventRetentionMilliseconds + 1_000;
    await inside((sql) => sql.exec('update events set sequence = sequence - ?', days * 1024));
    await abortAllDurableObjects();
    await sweepInboxes(env, [source]);
    expect((await eventsOf(source)).body['items']).toHaveLength(1);
  });
});
