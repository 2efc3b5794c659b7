/** Events of a source: filters, order, the inspector, replay and recovery. */

import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import {
  answerOf,
  call,
  codeOf,
  manage,
  publish,
  publishNext,
  receipts,
  runsOf,
  upstream,
  type Called,
} from './fixtures.ts';
import { deliver, eventsOf, runsOfEvent, SECRET, settled, type Delivery } from './hook-fixtures.ts';
import { inboxOf } from '../../../src/runtime/inbox.ts';

let source = '';
let count = 0;
beforeEach(async () => {
  source = `source-${++count}`;
  await manage(`PUT /sources/${source}`, { scheme: 'standard', secret: SECRET });
});

const send = (body: unknown, more: Delivery = {}): Promise<Called> =>
  deliver({ source, body: JSON.stringify(body), ...more });
const made = (chain: object) => publish({ output: 'done', ...chain });
const hook = (more: object = {}) => ({ hook: { type: 'webhook', source, ...more } });
const ids = ({ body }: Called): string[] => (body['items'] as { id: string }[]).map(({ id }) => id);
const event = (receipt: Called): string => String(receipt.body['event']);
const outcome = (receipt: Called) => settled(receipt.body, source);

describe('a filter', () => {
  it('lets through what it is true for, and leaves the rest ignored', async () => {
    const { name } = await made({ triggers: hook({ filter: '{{ trigger.body.total > 100 }}' }) });
    const [small, large] = [await send({ total: 5 }), await send({ total: 500 })];
    expect(await outcome(large)).toMatchObject({ status: 'accepted', errors: [], runs: [{ chain: name }] });
    expect(await outcome(small)).toMatchObject({ status: 'ignored', errors: [], runs: [] });
    expect(await runsOf(name)).toBe(1);
  });

  it('reads query and headers', async () => {
    await made({ triggers: hook({ filter: "{{ trigger.query.shop = 'eu' and trigger.headers.`x-kind` = 'a' }}" }) });
    const sent = await deliver({ source: `${source}?shop=eu`, headers: { 'x-kind': 'a' } });
    expect(await outcome(sent)).toMatchObject({ status: 'accepted', query: 'shop=eu' });
    expect(await outcome(await deliver({ source: `${source}?shop=us`, headers: { 'x-kind': 'a' } }))).toMatchObject({
      status: 'ignored',
    });
  });

  it('that fails is told at the event, and holds up no other chain', async () => {
    const broken = await made({ triggers: hook({ filter: '{{ trigger.body.absent > 1 }}' }) });
    const whole = await made({ triggers: hook() });
    const shown = await outcome(await send({ total: 1 }));
    expect(shown).toMatchObject({ status: 'failed', runs: [{ chain: whole.name, status: 'succeeded' }] });
    expect(shown['errors']).toEqual([
      {
        chain: broken.name,
        trigger: 'hook',
        code: 'expression.missing',
        message: expect.stringContaining('triggers.hook.filter'),
      },
    ]);
  });

  it.each([
    ['total > 1', 'one expression'],
    ['{{ steps.a }}', 'no "steps"'],
    ['{{ run.now }}', 'no "run"'],
    ['{{ trigger. }}', ''],
  ])('%s is refused at publish', async (filter, message) => {
    const chain = { name: 'wrong', triggers: hook({ filter }), steps: {} };
    const refused = await manage('PUT /chains/wrong', chain);
    expect(codeOf(refused)).toEqual([422, 'chain.invalid']);
    expect(JSON.stringify(refused.body['errors'])).toContain('triggers.hook.filter');
    expect(refused.text.replaceAll('\\', '')).toContain(message);
  });
});

describe('an input that cannot be made', () => {
  it('fails the event and not the delivery', async () => {
    const { name } = await made({ triggers: hook({ input: { id: '{{ trigger.body.absent }}' } }) });
    const sent = await send({});
    expect(sent.status).toBe(200);
    expect(await outcome(sent)).toMatchObject({
      status: 'failed',
      errors: [{ chain: name, code: 'expression.missing' }],
    });
  });
});

describe('order by key', () => {
  it('runs the events of one key one after the other, as they came, and those of another beside them', async () => {
    const mark = `order-${source}`;
    const at = (delay: number) => `${upstream}/delay/${delay}?mark=${mark}`;
    await made({
      triggers: hook(),
      order: { strategy: 'fifo', key: '{{ input.customer }}' },
      steps: {
        act: {
          use: 'http.post',
          with: { url: at(50), json: { customer: '{{ input.customer }}', n: '{{ input.n }}' } },
        },
      },
    });
    // Signing takes a different time each; the order is that of arrival.
    for (let n = 0; n < 12; n++) expect((await send({ customer: n % 2 ? 'b' : 'a', n })).status).toBe(200);
    const seen = await vi.waitFor(async () => {
      const all = (await receipts(`/delay/50?mark=${mark}`)).map(
        ({ body }) => JSON.parse(body) as { customer: string; n: number },
      );
      expect(all).toHaveLength(12);
      return all;
    }, 15_000);
    const of = (customer: string) => seen.filter((one) => one.customer === customer).map(({ n }) => n);
    expect([of('a'), of('b')]).toEqual([
      [0, 2, 4, 6, 8, 10],
      [1, 3, 5, 7, 9, 11],
    ]);
  });
});

describe('the list of events', () => {
  it('is paged by a cursor that newer events do not shift', async () => {
    const sent: string[] = [];
    for (let n = 0; n < 5; n++) sent.unshift(event(await send({ n })));
    const first = await eventsOf(source, '?limit=2');
    expect(ids(first)).toEqual(sent.slice(0, 2));
    await send({ n: 'later' });
    const second = await eventsOf(source, `?limit=2&before=${first.body['next']}`);
    expect(ids(second)).toEqual(sent.slice(2, 4));
    const third = await eventsOf(source, `?limit=2&before=${second.body['next']}`);
    expect([ids(third), third.body['next']]).toEqual([sent.slice(4), null]);
  });

  it('gives what came after a cursor or an instant, and nothing else', async () => {
    await send({ n: 1 });
    const [{ cursor }] = (await eventsOf(source)).body['items'] as [{ cursor: string }];
    const later = event(await send({ n: 2 }));
    expect(ids(await eventsOf(source, `?after=${cursor}`))).toEqual([later]);
    expect(ids(await eventsOf(source, `?after=${new Date(Date.now() + 60_000).toISOString()}`))).toEqual([]);
    expect(ids(await eventsOf(source, `?before=${new Date(Date.now() - 60_000).toISOString()}`))).toEqual([]);
  });

  it('is filtered by status, type and a part of the body', async () => {
    await made({ triggers: hook({ events: ['paid'] }) });
    const paid = await send({ type: 'paid', note: 'größe 42' }, { id: `twice-${source}` });
    const lost = await send({ type: 'lost' });
    await send({ type: 'paid', note: 'größe 42' }, { id: `twice-${source}` });
    await Promise.all([outcome(paid), outcome(lost)]);
    const filtered = async (query: string) => ids(await eventsOf(source, `?${query}`));
    expect(await filtered('status=accepted')).toEqual([event(paid)]);
    expect(await filtered('status=ignored')).toEqual([event(lost)]);
    expect(await filtered('status=duplicate')).toEqual([event(paid)]);
    expect(await filtered('status=failed')).toEqual([]);
    expect(await filtered('type=lost')).toEqual([event(lost)]);
    expect(await filtered(`query=${encodeURIComponent('größe')}`)).toEqual([event(paid)]);
    expect(await filtered('query=GRÖSSE')).toEqual([]);
  });

  it.each(['after=yesterday', 'before=-1', 'status=new', 'limit=0', 'limit=101', 'sort=asc', 'query='])(
    'refuses ?%s',
    async (query) => {
      expect(codeOf(await eventsOf(source, `?${query}`))).toEqual([400, 'request.invalid']);
    },
  );

  it('of a source that is not there is a 404, and needs the admin key', async () => {
    expect(codeOf(await eventsOf('nowhere'))).toEqual([404, 'source.not-found']);
    expect((await call(`GET /_/api/v1/sources/${source}/events`)).status).toBe(401);
  });
});

describe('an event', () => {
  it('is shown with headers, body, verification and runs, and without credentials', async () => {
    const { name } = await made({ triggers: hook(), output: '{{ input.n }}' });
    const headers = { authorization: 'Bearer hidden', cookie: 'hidden', 'x-sent': SECRET, 'x-kind': 'a' };
    const sent = await send({ n: 1 }, { id: `shown-${source}`, headers });
    const [run] = await runsOfEvent(sent.body, source);
    expect(await answerOf(run ?? '')).toMatchObject({ output: '1' });
    const shown = await outcome(sent);
    expect(shown).toMatchObject({
      deliveryId: `shown-${source}`,
      status: 'accepted',
      body: '{"n":1}',
      bytes: 7,
      duplicates: 0,
      verification: { ok: true, scheme: 'standard', reason: null },
      headers: { 'x-kind': 'a', 'webhook-id': `shown-${source}` },
      runs: [{ run, chain: name, trigger: 'hook', status: 'succeeded' }],
    });
    expect(JSON.stringify(shown)).not.toMatch(/hidden|whsec_/);
  });

  it('whose body is no text is shown in base64', async () => {
    const shown = await outcome(
      await send({}, { body: '\u{1F600}', headers: { 'content-type': 'application/octet-stream' } }),
    );
    expect([shown['body'], shown['bodyBase64']]).toEqual([undefined, btoa('\xf0\x9f\x98\x80')]);
  });

  it('over 100 KB has its body in R2, whole, and only once', async () => {
    const { name } = await made({ triggers: hook(), output: '{{ $length(input.text) }}' });
    const text = 'x'.repeat(300_000);
    const [sent] = await Promise.all([1, 2].map(() => send({ text }, { id: `large-${source}` })));
    const [run] = await runsOfEvent(sent?.body ?? {}, source);
    expect(await answerOf(run ?? '')).toMatchObject({ output: '300000' });
    expect(JSON.parse(String((await outcome(sent as Called))['body']))).toEqual({ text });
    await vi.waitFor(async () => {
      expect((await env.BLOBS?.list({ prefix: `inbox/${source}/` }))?.objects).toHaveLength(1);
    });
    expect(await runsOf(name)).toBe(1);
  });

  it.each(['evt_0', 'evt_zzzzzzzzzzzz', 'run_0_1', 'evt_-1'])('%s is not there', async (id) => {
    expect((await manage(`GET /sources/${source}/events/${id}`)).status).toBe(404);
  });
});

describe('a delivery that is refused', () => {
  const rejected = async (atLeast = 1) =>
    vi.waitFor(
      async () => {
        const listed = await eventsOf(source, '?status=rejected&limit=100');
        expect(ids(listed).length).toBeGreaterThanOrEqual(atLeast);
        return listed;
      },
      { timeout: 15_000, interval: 100 },
    );

  it('is kept with its reason, the beginning of its body and no credential', async () => {
    const before = Date.now();
    const refused = await send(
      { text: 'x'.repeat(10_000) },
      {
        ageSeconds: 400,
        headers: { 'x-gitlab-token': 'hidden', authorization: 'hidden', 'x-kind': 'a' },
      },
    );
    expect(refused.status).toBe(401);
    // It was not written while the sender waited.
    expect(ids(await eventsOf(source))).toEqual([]);
    expect(Date.now() - before).toBeLessThan(2_000);
    const [id] = ids(await rejected());
    const { body } = await manage(`GET /sources/${source}/events/${id}`);
    expect(body).toMatchObject({
      status: 'rejected',
      bytes: 10_011,
      truncated: true,
      runs: [],
      verification: { ok: false, scheme: 'standard', reason: expect.stringContaining('tolerance') },
      headers: { 'x-kind': 'a', 'webhook-signature': expect.any(String) },
    });
    expect([String(body['body']).length, JSON.stringify(body).includes('hidden')]).toEqual([4096, false]);
    expect(codeOf(await manage(`POST /sources/${source}/events/${id}/replay`))).toEqual([409, 'event.rejected']);
  });

  it('in masses leaves the newest of a moment, and 200 in all, and no event goes', async () => {
    const kept = event(await send({ n: 'kept' }));
    await Promise.all(Array.from({ length: 60 }, (_, n) => send({ n }, { without: 'webhook-signature' })));
    expect(ids(await rejected()).length).toBeLessThanOrEqual(20);
    const one = {
      receivedAt: Date.now(),
      bytes: 0,
      refusal: 'no',
      scheme: 'standard',
      query: '',
      headers: '{}',
      body: new Uint8Array(0),
    };
    for (let batch = 0; batch < 15; batch++) await inboxOf(env, source).reject(Array.from({ length: 20 }, () => one));
    let total = 0;
    for (let next = ''; ;) {
      const page = await eventsOf(source, `?status=rejected&limit=100${next}`);
      total += ids(page).length;
      if (page.body['next'] === null) break;
      next = `&before=${page.body['next']}`;
    }
    expect(total).toBe(200);
    expect(ids(await eventsOf(source, '?status=ignored'))).toEqual([kept]);
  });
});

describe('a replay', () => {
  it('starts a new run of each chain that wants the event, or of the one that is named', async () => {
    const [one, other] = [await made({ triggers: hook() }), await made({ triggers: hook({ events: ['never'] }) })];
    const sent = await send({ n: 1 });
    const [first] = await runsOfEvent(sent.body, source);
    const replay = async (body?: object) => {
      const { status, body: answer } = await manage(`POST /sources/${source}/events/${event(sent)}/replay`, body);
      expect(status).toBe(202);
      return answer['runs'] as { run: string; chain: string }[];
    };
    const [again] = await replay();
    expect([again?.chain, again?.run === first]).toEqual([one.name, false]);
    expect(await replay({ chain: other.name })).toMatchObject([{ chain: other.name }]);
    expect((await outcome(sent))['runs']).toHaveLength(3);
    expect(await answerOf(again?.run ?? '')).toMatchObject({ status: 'succeeded' });
  });

  it('with the same Idempotency-Key is one', async () => {
    const { name } = await made({ triggers: hook() });
    const sent = await send({});
    const replay = (key: string) =>
      call(`POST /_/api/v1/sources/${source}/events/${event(sent)}/replay`, undefined, {
        authorization: 'Bearer test-admin-key',
        'idempotency-key': key,
      });
    const answers = await Promise.all([replay('a'), replay('a'), replay('b')]);
    const runs = answers.map(({ body }) => (body['runs'] as { run: string }[])[0]?.run);
    expect([runs[0] === runs[1], runs[0] === runs[2]]).toEqual([true, false]);
    await outcome(sent);
    await vi.waitFor(async () => expect(await runsOf(name)).toBe(3));
    expect((await replay('a b')).status).toBe(400);
  });

  it('to one chain leaves the failure of another as it is, until that is mended', async () => {
    const broken = await made({ triggers: hook({ filter: '{{ trigger.body.absent > 1 }}' }) });
    const whole = await made({ triggers: hook() });
    const sent = await send({});
    await outcome(sent);
    const replay = (chain: string) => manage(`POST /sources/${source}/events/${event(sent)}/replay`, { chain });
    await replay(whole.name);
    expect(await outcome(sent)).toMatchObject({ status: 'failed', errors: [{ chain: broken.name }] });
    await replay(broken.name);
    expect(await outcome(sent)).toMatchObject({ status: 'accepted', errors: [], runs: [{}, {}, {}] });
  });

  it('of nothing, or to nobody, is refused', async () => {
    const sent = await send({});
    await outcome(sent);
    const path = `POST /sources/${source}/events`;
    expect(codeOf(await manage(`${path}/evt_1/replay`))).toEqual([404, 'event.not-found']);
    expect(codeOf(await manage(`${path}/${event(sent)}/replay`))).toEqual([409, 'event.unwanted']);
    expect(codeOf(await manage(`${path}/${event(sent)}/replay`, { chain: 'nobody' }))).toEqual([409, 'event.unwanted']);
    expect(codeOf(await manage(`POST /sources/nowhere/events/${event(sent)}/replay`))).toEqual([
      404,
      'source.not-found',
    ]);
  });
});

describe('recovery', () => {
  const recover = async (body: object) => {
    const answer = await manage(`POST /sources/${source}/events/recover`, body);
    expect(answer.status).toBe(200);
    return answer.body as {
      looked: number;
      recovered: number;
      items: { id: string; runs: { run: string }[] }[];
      next: string | null;
    };
  };

  it('makes up for failed runs and ignored events once, however often it is asked', async () => {
    const since = new Date(Date.now() - 1_000).toISOString();
    const failing = { no: { use: 'flow.fail', with: { message: 'no' } } };
    const trigger = hook({ events: ['paid'] });
    const chain = await made({ triggers: trigger, steps: failing });
    const [failed, ignored] = [await send({ type: 'paid' }), await send({ type: 'lost' })];
    const [run] = await runsOfEvent(failed.body, source);
    expect(await answerOf(run ?? '')).toMatchObject({ status: 'failed' });
    await outcome(ignored);
    const first = await recover({ since });
    expect(first.items.map(({ id }) => id)).toEqual([event(failed)]);
    expect(await answerOf(first.items[0]?.runs[0]?.run ?? '')).toMatchObject({ status: 'failed' });

    await publishNext(chain, { triggers: hook(), output: 'done' });
    const second = await recover({ since });
    expect(second).toMatchObject({ looked: 2, recovered: 2, next: null });
    expect(second.items.map(({ id }) => id)).toEqual([event(ignored), event(failed)]);
    for (const { runs } of second.items)
      expect(await answerOf(runs[0]?.run ?? '')).toMatchObject({ status: 'succeeded' });
    expect(await outcome(failed)).toMatchObject({ status: 'accepted', runs: [{}, {}, { status: 'succeeded' }] });
    expect(await recover({ since })).toMatchObject({ looked: 2, recovered: 0, items: [] });
  });

  it('asked twice at once starts each run once', async () => {
    const chain = await made({ triggers: hook(), steps: { no: { use: 'flow.fail', with: { message: 'no' } } } });
    const [run] = await runsOfEvent((await send({})).body, source);
    await answerOf(run ?? '');
    await publishNext(chain, { output: 'done', triggers: hook(), steps: {} });
    const since = new Date(Date.now() - 60_000).toISOString();
    await Promise.all([recover({ since }), recover({ since })]);
    await vi.waitFor(async () => expect(await runsOf(chain.name)).toBe(2));
  });

  it('goes on where the call before came to', async () => {
    for (let n = 0; n < 3; n++) await outcome(await send({ n }));
    const { name } = await made({ triggers: hook() });
    const since = '2026-01-01T00:00:00Z';
    const first = await recover({ since, limit: 2 });
    expect([first.looked, first.recovered]).toEqual([2, 2]);
    const second = await recover({ since, limit: 2, before: first.next });
    expect([second.looked, second.recovered, second.next]).toEqual([1, 1, null]);
    await vi.waitFor(async () => expect(await runsOf(name)).toBe(3));
  });

  it.each([{}, { since: 'now' }, { since: '2026-01-01T00:00:00Z', limit: 101 }])('refuses %j', async (body) => {
    expect((await manage(`POST /sources/${source}/events/recover`, body)).status).toBe(400);
  });
});

describe('how long events are kept', () => {
  it('is said by the source, and checked', async () => {
    const put = (inbox: object) => manage(`PUT /sources/${source}`, { scheme: 'standard', secret: SECRET, inbox });
    expect((await put({ dedupe: '1h', retention: '2h' })).body['inbox']).toEqual({ dedupe: '1h', retention: '2h' });
    expect((await put({})).body['inbox']).toEqual({ dedupe: '7d', retention: '7d' });
    for (const inbox of [
      { retention: '1h' },
      { dedupe: '2h', retention: '1h' },
      { dedupe: '1s' },
      { dedupe: '91d', retention: '91d' },
    ]) {
      expect(codeOf(await put(inbox))).toEqual([422, 'source.invalid']);
    }
  });
});
