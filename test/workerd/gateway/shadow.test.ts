import { describe, expect, it } from 'vitest';
import { answerOf, call, manage, publish, publishNext, receipts, upstream, type Published } from './fixtures.ts';

const output = (mark: string) => ({ output: { mark } });

describe('shadow replay', () => {
  const post = (mark: string, json: unknown) => ({
    use: 'http.post',
    with: { url: `${upstream}/echo?mark=${mark}`, json },
  });
  const shadow = ({ name }: Published, version = 2) => manage(`POST /chains/${name}/shadow`, { version });
  const itemsOf = ({ body }: { body: Record<string, unknown> }) => body['items'];

  it.each(['inline', 'durable'])(
    'of an %s chain sends nothing, and says the same where nothing differs',
    async (mode) => {
      const mark = `shadow-${mode}`;
      const steps = { send: post(mark, '{{ input.n * 2 }}') };
      const chain = await publish({ mode, steps, output: '{{ steps.send.status }}' });
      for (const n of [1, 2, 3]) {
        const { body, status } = await call(chain.route, { n });
        if (status === 202) await answerOf(String(body['id']));
      }
      await publishNext(
        chain,
        { mode, steps: { send: post(mark, '{{ 2 * input.n }}') }, output: '{{ steps.send.status }}' },
        '?activate=false',
      );
      const played = await shadow(chain);
      expect([played.status, played.body]).toMatchObject([200, { same: 3, different: 0, unknown: 0 }]);
      expect(await receipts(`/echo?mark=${mark}`)).toHaveLength(3);
    },
  );

  it('tells what another version would have sent and answered', async () => {
    const mark = 'shadow-differs';
    const chain = await publish({ steps: { send: post(mark, '{{ input.n }}') }, output: { sent: '{{ input.n }}' } });
    await call(chain.route, { n: 4 });
    const next = { steps: { send: post(mark, '{{ input.n + 1 }}') }, output: { sent: '{{ input.n + 1 }}' } };
    await publishNext(chain, next, '?activate=false');
    expect(itemsOf(await shadow(chain))).toMatchObject([
      {
        result: 'different',
        differences: [
          { what: 'parameters', step: 'send', op: 'change', path: 'json', from: 4, to: 5 },
          { what: 'output', op: 'change', path: 'sent', from: 4, to: 5 },
        ],
        ...{ unknown: [], note: null },
      },
    ]);
    expect(await receipts(`/echo?mark=${mark}`)).toHaveLength(1);
  });

  it('reports a step without a recording and what depends on it, and goes on with the others', async () => {
    const mark = 'shadow-new';
    const old = { last: post(mark, 'x') };
    const chain = await publish({ steps: old });
    await call(chain.route, {});
    const steps = {
      first: post(mark, 'new'),
      second: post(mark, '{{ steps.first.status }}'),
      last: post(mark, 'y'),
    };
    await publishNext(chain, { steps, output: '{{ steps.second.status }}' }, '?activate=false');
    expect(itemsOf(await shadow(chain))).toMatchObject([
      {
        result: 'different',
        differences: [
          { what: 'parameters', step: 'last', path: 'json', from: 'x', to: 'y' },
          { what: 'step', step: 'first', op: 'add', to: { use: 'http.post', parameters: { json: 'new' } } },
        ],
        unknown: [
          { step: 'first', reason: 'no-recording' },
          { step: 'second', reason: 'depends' },
          { step: null, reason: 'depends' },
        ],
      },
    ]);
    expect(await receipts(`/echo?mark=${mark}`)).toHaveLength(1);
  });

  it('takes no recording of another action for its own', async () => {
    const mark = 'shadow-action';
    const chain = await publish({ steps: { send: post(mark, 'x') } });
    await call(chain.route, {});
    await publishNext(chain, { steps: { send: { ...post(mark, 'x'), use: 'http.put' } } }, '?activate=false');
    expect(itemsOf(await shadow(chain))).toMatchObject([
      {
        differences: [{ what: 'step', step: 'send', op: 'change', path: 'use', from: 'http.post', to: 'http.put' }],
        unknown: [{ step: 'send', reason: 'no-recording' }, { step: null }],
      },
    ]);
  });

  it('plays recorded failures again, with another version’s answer to them', async () => {
    const broken = { use: 'http.get', with: { url: `${upstream}/status/404?mark=shadow-fails` } };
    const chain = await publish({ steps: { broken } });
    expect((await call(chain.route, {})).status).toBe(502);
    await publishNext(
      chain,
      { steps: { broken: { ...broken, onError: 'continue' } }, output: 'went on' },
      '?activate=false',
    );
    const [item] = itemsOf(await shadow(chain)) as { differences: object[] }[];
    expect(item?.differences).toContainEqual({
      what: 'status',
      op: 'change',
      path: '',
      from: 'failed',
      to: 'succeeded',
    });
    expect(item?.differences).toContainEqual({ what: 'output', op: 'add', path: '', to: 'went on' });
  });

  it('plays fan-outs and waits of a durable run by its journal', async () => {
    const mark = 'shadow-each';
    const document = (factor: number) => ({
      mode: 'durable',
      steps: {
        each: {
          use: 'flow.each',
          with: { in: '{{ input.list }}', steps: { send: post(mark, `{{ item * ${factor} }}`) } },
        },
        pause: { use: 'flow.wait', after: ['each'], with: { for: '20ms' } },
        end: { ...post(mark, 'end'), after: ['pause'] },
      },
    });
    const chain = await publish(document(1));
    const { body } = await call(chain.route, { list: [1, 2] });
    expect(await answerOf(String(body['id']))).toMatchObject({ status: 'succeeded' });
    await publishNext(chain, document(10), '?activate=false');
    expect(itemsOf(await shadow(chain, 2))).toMatchObject([
      {
        result: 'different',
        differences: [
          { what: 'parameters', step: 'each.send[0]', path: 'json', from: 1, to: 10 },
          { what: 'parameters', step: 'each.send[1]', path: 'json', from: 2, to: 20 },
        ],
        unknown: [],
      },
    ]);
    expect(await receipts(`/echo?mark=${mark}`)).toHaveLength(3);
  });

  it('makes the input of the event anew, but leaves one that was edited as it is', async () => {
    const chain = await publish({ mode: 'durable', output: '{{ input }}' }, { input: { n: '{{ trigger.body.n }}' } });
    const first = String((await call(chain.route, { n: 1 })).body['id']);
    await answerOf(first);
    const second = String((await manage(`POST /runs/${first}/replay`, { input: { n: 5 } })).body['id']);
    await answerOf(second);
    const input = { n: '{{ trigger.body.n + 1 }}' };
    await publishNext(chain, { mode: 'durable', output: '{{ input }}' }, '?activate=false', { input });
    const items = itemsOf(await shadow(chain)) as { run: string; result: string }[];
    expect(items.find(({ run }) => run === first)).toMatchObject({
      differences: [
        { what: 'input', path: 'n', from: 1, to: 2 },
        { what: 'output', path: 'n', from: 1, to: 2 },
      ],
    });
    expect(items.find(({ run }) => run === second)).toMatchObject({ result: 'same' });
  });

  it('tells of a run whose input cannot be made, and plays the others', async () => {
    const chain = await publish({ mode: 'durable', ...output('x') });
    for (const body of [{ n: 1 }, {}]) await answerOf(String((await call(chain.route, body)).body['id']));
    await publishNext(chain, { mode: 'durable', ...output('x') }, '?activate=false', {
      input: { n: '{{ trigger.body.n }}' },
    });
    const items = itemsOf(await shadow(chain)) as { note: string | null }[];
    expect(items.map(({ note }) => note)).toEqual(expect.arrayContaining([expect.stringContaining('missing'), null]));
  });

  it('tells that another version refuses the input', async () => {
    const chain = await publish(output('x'));
    await call(chain.route, { n: 1 });
    await publishNext(chain, { ...output('x'), input: { type: 'object', required: ['order'] } }, '?activate=false');
    expect(itemsOf(await shadow(chain))).toMatchObject([
      { differences: [{ what: 'status', from: 'succeeded', to: 'refused' }, { what: 'error' }, { what: 'output' }] },
    ]);
  });

  it.each([
    ['a version that is not there', { version: 9 }, 'chain.version-not-found'],
    ['runs of a version that is not there', { version: 1, from: 9 }, 'chain.version-not-found'],
    ['more runs than it plays', { version: 1, limit: 101 }, 'request.invalid'],
  ])('refuses %s', async (_what, body, code) => {
    const chain = await publish(output('x'));
    expect((await manage(`POST /chains/${chain.name}/shadow`, body)).body['code']).toBe(code);
  });
});
