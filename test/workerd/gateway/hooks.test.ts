import { env } from 'cloudflare:workers';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { answerOf, call, codeOf, manage, publish, runsOf } from './fixtures.ts';
import { BODY, deliver, runsOfEvent, SECRET, settled, type Delivery } from './hook-fixtures.ts';
import { reloadConfiguration } from '../../../src/runtime/configuration.ts';
import { saveSource } from '../../../src/store/sources.ts';

let paid: string;
let all: string;
beforeAll(async () => {
  await manage('PUT /sources/shop', { scheme: 'standard', secret: SECRET });
  const on = (events?: string[]) => ({ order: { type: 'webhook', source: 'shop', ...(events && { events }) } });
  paid = (await publish({ triggers: on(['order.paid']), output: '{{ input.data.id }}' })).name;
  all = (await publish({ triggers: on(), output: '{{ trigger.type }}' })).name;
});

describe('a delivery', () => {
  it('with the right signature starts one run of each chain that wants it', async () => {
    const { status, body } = await deliver({});
    expect([status, body['accepted'], body['duplicate']]).toEqual([200, true, false]);
    const [first, second] = await runsOfEvent(body);
    expect(await answerOf(first ?? '')).toMatchObject({ status: 'succeeded', output: '"A1"' });
    expect(await answerOf(second ?? '')).toMatchObject({ status: 'succeeded', output: '"webhook"' });
  });

  it('of an event that a chain does not want starts only the others', async () => {
    const before = await runsOf(paid);
    const { body } = await deliver({ body: '{"type":"order.lost"}' });
    expect(await runsOfEvent(body)).toHaveLength(1);
    expect(await runsOf(paid)).toBe(before);
  });

  it('that comes ten times at once, and once more, is one run', async () => {
    const before = await runsOf(paid);
    const answers = await Promise.all(Array.from({ length: 10 }, () => deliver({ id: 'msg_same' })));
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(200));
    expect(answers.filter(({ body }) => body['duplicate'] === false)).toHaveLength(1);
    expect(new Set(answers.map(({ body }) => body['event'])).size).toBe(1);
    const again = await deliver({ id: 'msg_same' });
    expect([again.status, again.body['duplicate'], again.body['event']]).toEqual([
      200,
      true,
      answers[0]?.body['event'],
    ]);
    expect(await settled(again.body)).toMatchObject({ status: 'accepted', duplicates: 10 });
    expect(await runsOf(paid)).toBe(before + 1);
  });
});

describe('refused with 401 and no run is', () => {
  it.each<[string, Delivery]>([
    ['another secret', { secret: `whsec_${btoa('x'.repeat(32))}` }],
    ['a body that was changed', { sent: BODY.replace('A1', 'A2') }],
    ['a body that was added to', { sent: `${BODY} ` }],
    ['a timestamp that is too old', { ageSeconds: 301 }],
    ['a timestamp of the future', { ageSeconds: -310 }],
    ['no signature', { without: 'webhook-signature' }],
    ['no timestamp', { without: 'webhook-timestamp' }],
    ['no id', { without: 'webhook-id' }],
  ])('%s', async (_what, delivery) => {
    const before = await runsOf(all);
    expect(codeOf(await deliver(delivery))).toEqual([401, 'webhook.unverified']);
    expect(await runsOf(all)).toBe(before);
  });

  it('anything for a source whose secret cannot be opened', async () => {
    vi.spyOn(console, 'error').mockReturnValue();
    const row = { name: 'sealed', scheme: 'standard', settings: {}, sealed: 'v1.1.AAAA.AAAA' };
    await saveSource(env.DB, row, 'test', Date.now());
    await reloadConfiguration(env);
    expect(codeOf(await deliver({ source: 'sealed' }))).toEqual([401, 'webhook.unverified']);
    expect(JSON.stringify(await deliver({ source: 'sealed' }))).not.toContain('AAAA');
  });
});

describe('an address', () => {
  it.each(['nothing', 'SHOP', 'shop/more', '', '..%2fshop'])('/hooks/%s is not a source', async (source) => {
    expect(codeOf(await deliver({ source }))).toEqual([404, 'source.not-found']);
  });

  it('of a source takes POST only, and says so', async () => {
    const refused = await call('GET /hooks/shop');
    expect(codeOf(refused)).toEqual([405, 'request.method']);
    expect(refused.headers.get('allow')).toBe('POST');
  });

  it('takes no body over the limit, signed or not', async () => {
    const body = JSON.stringify({ type: 'order.paid', text: 'x'.repeat(1024 * 1024) });
    expect(codeOf(await deliver({ body }))).toEqual([413, 'request.too-large']);
  });

  it('of a source that was removed is gone at once', async () => {
    await manage('PUT /sources/short', { scheme: 'standard', secret: SECRET });
    expect((await deliver({ source: 'short' })).body).toMatchObject({ accepted: true, duplicate: false });
    await manage('DELETE /sources/short');
    expect(codeOf(await deliver({ source: 'short' }))).toEqual([404, 'source.not-found']);
  });

  it('with a new secret refuses the old one at once', async () => {
    await manage('PUT /sources/rotated', { scheme: 'standard', secret: SECRET });
    expect((await deliver({ source: 'rotated' })).status).toBe(200);
    const next = `whsec_${btoa('n'.repeat(32))}`;
    await manage('PUT /sources/rotated', { scheme: 'standard', secret: next });
    expect((await deliver({ source: 'rotated' })).status).toBe(401);
    expect((await deliver({ source: 'rotated', secret: next })).status).toBe(200);
  });
});
