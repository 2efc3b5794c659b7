import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileChain } from '../../../src/core/chain/compile.ts';
import type { Plan } from '../../../src/core/chain/plan.ts';
import { buildCatalogue } from '../../../src/connectors/kit/catalogue.ts';
import { connectors } from '../../../src/connectors/index.ts';
import { compileJsonSchema } from '../../../src/core/data/json-schema.ts';

const catalogue = buildCatalogue(connectors);

function plan(document: object): Plan {
  const compiled = compileChain({ name: 'x', ...document }, catalogue);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.fault.issues));
  return compiled.value;
}

const map = { use: 'data.map', with: { x: 1 } };
/** The example of the design, in the parts that there are. */
const EVERYTHING = {
  $schema: 'https://tidegate.dev/schema/chain.json',
  name: 'order-paid',
  triggers: {
    paid: { type: 'webhook', source: 'stripe', events: ['checkout.session.completed'] },
    api: { type: 'http', method: 'POST', path: '/orders/{id}/paid', auth: 'key' },
    nightly: { type: 'schedule', cron: '0 3 * * *', timezone: 'Europe/Berlin', missed: 'latest' },
  },
  input: { type: 'object', required: ['orderId'], properties: { orderId: { type: 'string' } } },
  mode: 'durable',
  steps: {
    order: {
      use: 'postgres.query',
      connection: 'shop-db',
      with: { sql: 'select * from orders where id = $1', params: ['{{ input.orderId }}'] },
      timeout: '5s',
      retries: { limit: 3, delay: '200ms', backoff: 'exponential', jitter: true, cap: '10s' },
    },
    charge: {
      use: 'http.post',
      after: ['order'],
      with: { url: 'https://pay.example/capture', json: { id: '{{ steps.order.rows[0].intent }}' } },
    },
    tell: {
      use: 'http.post',
      if: '{{ steps.order.rows[0].vip }}',
      onError: 'continue',
      with: { url: 'https://chat.example/post', json: { text: 'Paid: {{ input.orderId }}' } },
    },
  },
  output: { charged: '{{ steps.charge.body.amount }}' },
};

const ids = (of: Plan, indexes: readonly number[]): (string | undefined)[] =>
  indexes.map((index) => of.steps[index]?.id);
const step = (of: Plan, id: string) => {
  const found = of.steps.find((each) => each.id === id);
  if (found === undefined) throw new Error(id);
  return found;
};

const templates = readdirSync('templates').filter((file) => file.endsWith('.json') && !file.endsWith('.sample.json'));
const examples = connectors.flatMap(({ name, connection, actions }) =>
  Object.entries(actions).map(([action, { example, connection: own }]) => ({
    use: `${name}.${action}`,
    with: example,
    ...(connection?.required === true && own !== 'none' ? { connection: 'mine' } : {}),
  })),
);

describe('a good document', () => {
  it.each(examples)('compiles with the example of $use', (example) => {
    // The steps that examples refer to.
    const others = { order: map, approve: map, book: map };
    expect(step(plan({ steps: { ...others, example } }), 'example').action.name).toBe(example.use);
  });

  it('compiles where it shows everything at once', () => {
    const made = plan(EVERYTHING);
    expect(made).toMatchObject({ name: 'order-paid', mode: 'durable', timeoutMilliseconds: 86_400_000 });
    expect(made.triggers).toMatchObject([
      { type: 'webhook', name: 'paid', source: 'stripe', events: ['checkout.session.completed'] },
      { type: 'http', name: 'api', policies: { auth: { mode: 'any', rules: [{ type: 'key' }] } }, respond: 'accepted' },
      { type: 'schedule', name: 'nightly', timezone: 'Europe/Berlin', missed: 'latest' },
    ]);
    expect(made.validateInput?.({})[0]?.message).toContain('orderId');
    expect(made.validateInput?.({ orderId: 'o-1' })).toEqual([]);
    expect(made.steps.map((each) => each.id)).toEqual(['order', 'charge', 'tell']);
    expect(step(made, 'order')).toMatchObject({
      connection: { constant: { tenant: '', name: 'shop-db' } },
      timeoutMilliseconds: 5_000,
      retries: { limit: 3, delayMilliseconds: 200, backoff: 'exponential', jitter: true, capMilliseconds: 10_000 },
    });
    expect(step(made, 'tell').onError).toEqual({ kind: 'continue' });
    expect(made.document).toEqual({ ...EVERYTHING });
  });

  it.each(templates)('compiles: %s', (file) => {
    expect(plan(JSON.parse(readFileSync(`templates/${file}`, 'utf8')) as object).steps.length).toBeGreaterThan(0);
  });

  it('is inline when every trigger is http, else durable', () => {
    const http = { type: 'http', method: 'GET', path: '/a' };
    expect(plan({ triggers: { http }, steps: { a: map } })).toMatchObject({
      mode: 'inline',
      triggers: [{ respond: 'result', policies: { auth: { mode: 'any', rules: [{ type: 'key' }] } } }],
    });
    expect(plan({ steps: { a: map } }).mode).toBe('durable');
    const both = { http, hook: { type: 'webhook', source: 's' } };
    expect(plan({ triggers: both, steps: { a: map } })).toMatchObject({
      mode: 'durable',
      triggers: [{ respond: 'accepted' }, {}],
    });
  });

  it('retries by effect and mode where the author says nothing', () => {
    const steps = {
      read: { use: 'http.get', with: { url: 'https://x.example' } },
      sql: { use: 'postgres.query', connection: 'c', with: { sql: 'select 1' } },
      declared: { use: 'postgres.query', connection: 'c', with: { sql: 'select 1' }, retries: { limit: 2 } },
    };
    const durable = plan({ steps });
    expect(step(durable, 'read').retries).toMatchObject({ limit: 3, declared: false });
    expect(step(durable, 'sql').retries).toMatchObject({ limit: 0, declared: false });
    expect(step(durable, 'declared').retries).toMatchObject({ limit: 2, declared: true });
    expect(step(plan({ mode: 'inline', steps }), 'read').retries.limit).toBe(0);
    expect(step(plan({ mode: 'inline', steps }), 'declared').retries.limit).toBe(2);
    expect(step(durable, 'read').retries).toEqual({
      limit: 3,
      delayMilliseconds: 1_000,
      backoff: 'exponential',
      jitter: true,
      capMilliseconds: 300_000,
      declared: false,
    });
  });

  it('has an end, also where the author names none', () => {
    expect(step(plan({ steps: { a: map } }), 'a').timeoutMilliseconds).toBe(30_000);
    expect(plan({ mode: 'inline', steps: { a: map } }).timeoutMilliseconds).toBe(60_000);
    expect(plan({ steps: { a: map } }).timeoutMilliseconds).toBe(24 * 3_600_000);
    expect(plan({ steps: { a: map }, timeout: '30d' }).timeoutMilliseconds).toBe(30 * 24 * 3_600_000);
  });

  it('may have an output and no step, and an output over all steps', () => {
    expect(plan({ steps: {}, output: { hello: '{{ input.name }}' } }).steps).toEqual([]);
    expect(plan({ steps: { a: map }, output: '{{ $keys(steps) }}' }).output?.steps).toContain('*');
  });

  it('may have a step that is named like a word of onError', () => {
    const made = plan({ steps: { call: { use: 'http.get', with: { url: 'https://x.example' } }, stop: map } });
    expect(step(made, 'call').onError).toEqual({ kind: 'stop' });
    expect(step(made, 'stop').gates).toEqual([]);
  });

  it('may answer a path with an escape in its normal form', () => {
    const path = '/caf%C3%A9/{id}';
    const made = plan({ triggers: { api: { type: 'http', method: 'GET', path } }, steps: { a: map } });
    expect(made.triggers).toMatchObject([{ path }]);
  });

  it('is durable where it is subscribed to something, and names the connection of whose it is', () => {
    const made = plan({
      triggers: {
        own: { type: 'subscription', to: 'postgres.channel', connection: 'db', with: { channels: ['a'] } },
        theirs: {
          type: 'subscription',
          to: 'http.events',
          connection: 'acme/feed',
          with: { url: '/' },
          filter: '{{ true }}',
        },
        free: { type: 'subscription', to: 'http.events', with: { url: 'https://example.com' } },
      },
      steps: { a: map },
    });
    expect(made.mode).toBe('durable');
    expect(made.triggers).toMatchObject([
      { to: 'postgres.channel', connection: { tenant: '', name: 'db' }, with: { channels: ['a'] } },
      { to: 'http.events', connection: { tenant: 'acme', name: 'feed' }, filter: {} },
      { to: 'http.events', connection: undefined },
    ]);
  });

  it('leaves to an action what it evaluates itself, and orders the step by it', () => {
    const made = plan({
      steps: {
        table: {
          use: 'objects.transform',
          with: {
            from: { key: 'a', format: 'csv' },
            where: '{{ row.id in steps.wanted.ids and number > 1 }}',
            map: { id: '{{ row.id }}' },
            to: { key: '{{ input.key }}', format: 'csv' },
          },
        },
        wanted: map,
      },
    });
    const { after, with: params, own } = step(made, 'table');
    expect(ids(made, after)).toEqual(['wanted']);
    expect(params.evaluate({ input: { key: 'b' } })).toEqual({
      from: { key: 'a', format: 'csv' },
      to: { key: 'b', format: 'csv' },
    });
    expect(own['map']?.evaluate({ row: { id: 7 } })).toEqual({ id: 7 });
  });

  it('orders steps by what they refer to, and knows who waits for whom', () => {
    const made = plan({
      steps: {
        last: { use: 'data.map', with: { x: '{{ steps.first.x }}' }, if: '{{ steps.middle.x }}' },
        middle: { ...map, after: ['first'] },
        first: map,
      },
    });
    expect(made.steps.map((each) => each.id)).toEqual(['first', 'middle', 'last']);
    expect(ids(made, step(made, 'last').after)).toEqual(['first', 'middle']);
    expect(ids(made, step(made, 'first').before)).toEqual(['middle', 'last']);
  });

  it('gates what a switch or an error route chooses', () => {
    const made = plan({
      steps: {
        big: map,
        small: map,
        which: {
          use: 'flow.switch',
          with: { cases: [{ when: '{{ input.n > 1 }}', then: ['big'] }], otherwise: ['small'] },
        },
        call: { use: 'http.get', with: { url: 'https://x.example' }, onError: 'rescue' },
        rescue: map,
      },
    });
    expect(ids(made, step(made, 'big').gates)).toEqual(['which']);
    expect(ids(made, step(made, 'rescue').gates)).toEqual(['call']);
    expect(ids(made, step(made, 'rescue').after)).toEqual(['call']);
    expect(step(made, 'which').switch).toMatchObject({
      cases: [{ then: [step(made, 'big').index] }],
      otherwise: [step(made, 'small').index],
    });
    const { onError } = step(made, 'call');
    expect(onError.kind === 'step' && made.steps[onError.step]?.id).toBe('rescue');
    expect(step(made, 'which').pure).toBe(true);
  });

  it('recomputes only what always gives the same', () => {
    const made = plan({
      steps: { same: map, time: { use: 'data.map', with: { t: '{{ $random() }}' } }, answer: { use: 'flow.respond' } },
    });
    expect(made.steps.map((each) => [each.id, each.pure])).toEqual([
      ['same', true],
      ['time', false],
      ['answer', false],
    ]);
  });
});

describe('the published schema', () => {
  const text = readFileSync('docs/chain.schema.json', 'utf8');
  const published = compileJsonSchema(JSON.parse(text));
  const issuesOf = (document: unknown) => {
    if (!published.ok) throw new Error(published.fault.message);
    return published.value(document);
  };

  it('says what it is', () => {
    expect(JSON.parse(text)).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $id: EVERYTHING.$schema,
    });
  });

  it.each(templates)('takes %s', (file) => {
    expect(issuesOf(JSON.parse(readFileSync(`templates/${file}`, 'utf8')))).toEqual([]);
  });

  it('takes what shows everything at once', () => expect(issuesOf(EVERYTHING)).toEqual([]));

  it.each([
    ['a misspelt field', { ...EVERYTHING, ouput: 1 }],
    ['a misspelt field of a step', { ...EVERYTHING, steps: { a: { ...map, wiht: {} } } }],
    ['an id with a space', { ...EVERYTHING, steps: { 'a b': map } }],
    ['an unknown trigger', { ...EVERYTHING, triggers: { a: { type: 'pigeon' } } }],
    ['a malformed duration', { ...EVERYTHING, timeout: '5 seconds' }],
  ])('refuses %s', (_what, document) => expect(issuesOf(document)).not.toEqual([]));
});

describe('the order of steps', () => {
  /** Edges go from later to earlier numbers, so the graph has no circle. */
  const graph = fc.integer({ min: 2, max: 12 }).chain((size) =>
    fc.tuple(
      fc.constant(size),
      fc.array(
        fc.tuple(fc.nat(size - 1), fc.nat(size - 1)).filter(([a, b]) => a > b),
        { maxLength: 30 },
      ),
      fc.shuffledSubarray([...Array(size).keys()], { minLength: size, maxLength: size }),
    ),
  );
  const document = (edges: readonly (readonly [number, number])[], order: readonly number[]): object => ({
    steps: Object.fromEntries(
      order.map((n) => [
        `s${n}`,
        { ...map, after: [...new Set(edges.filter(([a]) => a === n).map(([, b]) => `s${b}`))] },
      ]),
    ),
  });

  it('respects every dependency of a random graph', () => {
    fc.assert(
      fc.property(graph, ([, edges, order]) => {
        const made = plan(document(edges, order));
        const place = new Map(made.steps.map((each) => [each.id, each.index]));
        for (const [a, b] of edges) expect(place.get(`s${b}`)).toBeLessThan(place.get(`s${a}`) ?? -1);
      }),
    );
  });

  it('does not exist once an edge goes back, and the circle is spelled out', () => {
    fc.assert(
      fc.property(graph, ([size, edges, order]) => {
        // Each step waits for the one before it, and the first for the last.
        const round = order.map((n) => [n, (n + size - 1) % size] as const);
        const circular = [...edges, ...round];
        const compiled = compileChain({ name: 'x', ...document(circular, order) }, catalogue);
        const message = compiled.ok ? '' : (compiled.fault.issues?.[0]?.message ?? '');
        const circle = /: (.+)\. Break/.exec(message)?.[1]?.split(' → ') ?? [];
        expect(circle.length).toBeGreaterThan(2);
        expect(circle[0]).toBe(circle.at(-1));
        // Each arrow goes from a step to one that waits for it.
        const waits = new Set(circular.map(([a, b]) => `s${b} → s${a}`));
        for (let n = 1; n < circle.length; n++) expect(waits).toContain(`${circle[n - 1]} → ${circle[n]}`);
      }),
    );
  });
});
