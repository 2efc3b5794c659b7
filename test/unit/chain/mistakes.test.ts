import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileChain } from '../../../src/core/chain/compile.ts';
import { buildCatalogue } from '../../../src/connectors/kit/catalogue.ts';
import { connectors } from '../../../src/connectors/index.ts';

const catalogue = buildCatalogue(connectors);

const http = { type: 'http', method: 'GET', path: '/a' };
const map = { use: 'data.map', with: { x: 1 } };
const get = { use: 'http.get', with: { url: 'https://example.com' } };

/** A document that is right but for what the case changes. */
const chain = (change: object): object => ({ name: 'good', triggers: { api: http }, steps: { a: map }, ...change });
const steps = (change: object): object => chain({ steps: { a: map, ...change } });
const durable = (change: object): object => chain({ mode: 'durable', ...change });
const fifo = { strategy: 'fifo' };
const listening = { type: 'subscription', to: 'postgres.channel', with: { channels: ['a'] } };
const subscribed = (change: object): object => chain({ mode: 'durable', triggers: { s: { ...listening, ...change } } });
const trigger = (change: object): object => chain({ triggers: { api: { ...http, ...change } } });

const table = (change: object): object =>
  steps({
    b: {
      use: 'objects.transform',
      with: { from: { key: 'a', format: 'csv' }, to: { key: 'b', format: 'csv' }, ...change },
    },
  });

/** What is wrong, where it is told, and words of the message that name the fix. */
const MISTAKES: readonly (readonly [string, unknown, string, string])[] = [
  ['no object at all', 'text', '', 'object'],
  ['a misspelt field of the chain', chain({ step: {} }), 'step', 'Did you mean "steps"?'],
  ['no name', { steps: { a: map } }, 'name', '"name" is missing'],
  ['a name with capitals', chain({ name: 'Order_Paid' }), 'name', 'order-paid'],
  ['no steps', { name: 'x', output: 1 }, 'steps', '"steps" is missing'],
  ['neither a step nor an output', chain({ steps: {} }), 'steps', 'needs a step or an output'],
  ['a misspelt field of a step', steps({ b: { ...map, wiht: {} } }), 'steps.b.wiht', 'Did you mean "with"?'],
  ['a misspelt action', steps({ b: { use: 'postgres.qeury' } }), 'steps.b.use', 'Did you mean "postgres.query"?'],
  [
    'an action that the connector lacks',
    steps({ b: { use: 'redis.frobnicate', connection: 'c' } }),
    'steps.b.use',
    'redis.get',
  ],
  ['a step without an action', steps({ b: {} }), 'steps.b.use', '"use" is missing'],
  ['an unknown step in after', steps({ b: { ...map, after: ['aa'] } }), 'steps.b.after.0', 'Did you mean "a"?'],
  [
    'a misspelt root in what an action evaluates',
    table({ where: '{{ rwo.a }}' }),
    'steps.b.with.where',
    'Did you mean "row"?',
  ],
  ['a row where there is none', table({ columns: ['{{ row.a }}'] }), 'steps.b.with.columns.0', 'There is no "row"'],
  ['an expression of an action that cannot be read', table({ map: { a: '{{ row. }}' } }), 'steps.b.with.map.a', 'row.'],
  ['a step that waits for itself', steps({ b: { ...map, after: ['b'] } }), 'steps.b.after.0', 'itself'],
  [
    'a circle',
    chain({ steps: { a: { ...map, after: ['b'] }, b: { ...map, after: ['c'] }, c: { ...map, after: ['a'] } } }),
    'steps.a',
    // In the order in which they would run: c waits for a, b for c, a for b.
    'a → c → b → a. Break the circle',
  ],
  [
    'a circle by references',
    steps({
      b: { use: 'data.map', with: { x: '{{ steps.c.x }}' } },
      c: { use: 'data.map', with: { x: '{{ steps.b.x }}' } },
    }),
    'steps.b',
    'b → c → b',
  ],
  [
    'a reference to an unknown step',
    steps({ b: { use: 'data.map', with: { x: '{{ steps.order.x }}' } } }),
    'steps.b.with.x',
    'There is no step "order" to refer to. Known are: a, b.',
  ],
  [
    'a reference to its own output',
    steps({ b: { use: 'data.map', with: { x: '{{ steps.b.x }}' } } }),
    'steps.b.with.x',
    'its own output',
  ],
  [
    'all steps at once',
    steps({ b: { use: 'data.map', with: { x: '{{ $keys(steps) }}' } } }),
    'steps.b.with.x',
    'Name the step: `steps.<id>`',
  ],
  [
    'a misspelt root',
    steps({ b: { use: 'data.map', with: { x: '{{ inputs.x }}' } } }),
    'steps.b.with.x',
    'Did you mean "input"?',
  ],
  [
    'an expression that cannot be read',
    steps({ b: { use: 'data.map', with: { x: ['{{ input. }}'] } } }),
    'steps.b.with.x.0',
    'input.',
  ],
  [
    'an expression that is not closed',
    steps({ b: { use: 'data.map', with: { x: '{{ input.x' } } }),
    'steps.b.with.x',
    'never closed',
  ],
  [
    'a regular expression that can take forever',
    steps({ b: { use: 'data.map', with: { x: '{{ $match(input.x, /(a+)+$/) }}' } } }),
    'steps.b.with.x',
    'forever',
  ],
  ['a missing parameter', steps({ b: { use: 'http.get', with: {} } }), 'steps.b.with.url', '"url" is missing'],
  [
    'an unknown parameter',
    steps({ b: { use: 'http.get', with: { url: 'https://x.example', heders: {} } } }),
    'steps.b.with.heders',
    'Did you mean "headers"?',
  ],
  ['a parameter of the wrong type', steps({ b: { use: 'http.get', with: { url: 7 } } }), 'steps.b.with.url', 'text'],
  [
    'a text where a number is needed',
    steps({ b: { use: 'redis.set', connection: 'c', with: { key: 'k', value: 'v', ttlSeconds: '{{ input.x }} s' } } }),
    'steps.b.with.ttlSeconds',
    'expression alone',
  ],
  [
    'a step without its connection',
    steps({ b: { use: 'postgres.query', with: { sql: 'select 1' } } }),
    'steps.b.connection',
    '"connection" is missing',
  ],
  [
    'a connection that is not taken',
    steps({ b: { ...map, connection: 'c' } }),
    'steps.b.connection',
    'takes no connection',
  ],
  ['a condition that is not one expression', steps({ b: { ...map, if: 'yes' } }), 'steps.b.if', '{{'],
  [
    'an unknown error route',
    steps({ b: { ...get, onError: 'contine' } }),
    'steps.b.onError',
    'Did you mean "continue"?',
  ],
  ['a malformed duration', steps({ b: { ...map, timeout: '5 seconds' } }), 'steps.b.timeout', '5s'],
  ['a timeout beyond the bound', steps({ b: { ...map, timeout: '2h' } }), 'steps.b.timeout', 'at most 15m'],
  ['too many retries', steps({ b: { ...get, retries: { limit: 1000 } } }), 'steps.b.retries.limit', '99'],
  [
    'retries without a limit',
    steps({ b: { ...get, retries: { delay: '1s' } } }),
    'steps.b.retries.limit',
    '"limit" is missing',
  ],
  [
    'an unknown back-off',
    steps({ b: { ...get, retries: { limit: 1, backoff: 'exponentiel' } } }),
    'steps.b.retries.backoff',
    'exponential',
  ],
  [
    'a switch to an unknown step',
    steps({ b: { use: 'flow.switch', with: { cases: [{ when: '{{ true }}', then: ['z'] }] } } }),
    'steps.b.with.cases.0.then.0',
    'no step "z"',
  ],
  [
    'a switch case without expression',
    steps({ b: { use: 'flow.switch', with: { cases: [{ when: 'yes', then: ['a'] }] } } }),
    'steps.b.with.cases.0.when',
    '{{',
  ],
  ['an unknown trigger type', chain({ triggers: { t: { type: 'htttp' } } }), 'triggers.t.type', 'http'],
  ['an unknown method', trigger({ method: 'FETCH' }), 'triggers.api.method', 'GET'],
  ['a path of the gateway', trigger({ path: '/_/mine' }), 'triggers.api.path', 'belong to the gateway'],
  ['a path of the webhooks', trigger({ path: '/hooks/mine' }), 'triggers.api.path', 'belong to the gateway'],
  ['a half parameter in a path', trigger({ path: '/a/x-{id}' }), 'triggers.api.path', '{id}'],
  ['a path parameter twice', trigger({ path: '/a/{id}/{id}' }), 'triggers.api.path', 'twice'],
  [
    'a malformed cron',
    chain({ triggers: { n: { type: 'schedule', cron: '61 * * * *' } } }),
    'triggers.n.cron',
    'minute',
  ],
  [
    'an unknown time zone',
    chain({ triggers: { n: { type: 'schedule', cron: '0 3 * * *', timezone: 'Europe/Berln' } } }),
    'triggers.n.cron',
    'Europe/Berln',
  ],
  [
    'an inline webhook',
    chain({ mode: 'inline', triggers: { w: { type: 'webhook', source: 's' } } }),
    'triggers.w.type',
    '"durable"',
  ],
  [
    'an inline subscription',
    chain({ mode: 'inline', triggers: { s: { ...listening, connection: 'db' } } }),
    'triggers.s.type',
    '"durable"',
  ],
  [
    'a misspelt subscription',
    subscribed({ to: 'postgres.chanel', connection: 'db' }),
    'triggers.s.to',
    'Did you mean "postgres.channel"?',
  ],
  [
    'an action in place of a subscription',
    subscribed({ to: 'postgres.query', connection: 'db' }),
    'triggers.s.to',
    'Known are',
  ],
  ['a subscription without its connection', subscribed({}), 'triggers.s.connection', 'needs the name of a connection'],
  [
    'a subscription through the connection of a caller',
    subscribed({ connection: '{{ trigger.tenant }}/db' }),
    'triggers.s.connection',
    'has no caller',
  ],
  [
    'an expression for the name of the connection',
    subscribed({ connection: '{{ chain.name }}' }),
    'triggers.s.connection',
    'has no caller',
  ],
  ['a connection without a name', subscribed({ connection: 'acme/' }), 'triggers.s.connection', 'shop-db'],
  [
    'an expression among the parameters',
    subscribed({ connection: 'db', with: { channels: ['a', 'b-{{ chain.name }}'] } }),
    'triggers.s.with.channels.1',
    'no event yet',
  ],
  [
    'a misspelt parameter of a subscription',
    subscribed({ connection: 'db', with: { channel: ['a'] } }),
    'triggers.s.with.channel',
    'Did you mean "channels"?',
  ],
  [
    'a subscription to no channel',
    subscribed({ connection: 'db', with: { channels: [] } }),
    'triggers.s.with.channels',
    '1 entry',
  ],
  [
    'a filter that is no condition',
    subscribed({ connection: 'db', filter: 'yes' }),
    'triggers.s.filter',
    'one expression as a whole',
  ],
  [
    'a filter over the run',
    subscribed({ connection: 'db', filter: '{{ run.id = 1 }}' }),
    'triggers.s.filter',
    'There is no "run"',
  ],
  [
    'an inline chain that goes on after its caller',
    trigger({ respond: 'accepted' }),
    'triggers.api.respond',
    '"durable"',
  ],
  ['a trigger input that refers to steps', trigger({ input: '{{ steps.a }}' }), 'triggers.api.input', 'trigger'],
  ['an input schema that is none', chain({ input: { type: 'objekt' } }), 'input.type', 'object'],
  [
    'a step named like a built-in property',
    chain({ steps: JSON.parse('{"constructor": {"use": "data.map"}}') as object }),
    'steps.constructor',
    'reserved',
  ],
  ['a step named toString', chain({ steps: { toString: map } }), 'steps.toString', 'reserved'],
  [
    'a step named __proto__',
    chain({ steps: JSON.parse('{"__proto__": {"use": "data.map"}}') as object }),
    'steps.__proto__',
    'reserved',
  ],
  ['an output that refers to an unknown step', chain({ output: '{{ steps.b }}' }), 'output', 'no step "b"'],
  ['a step that is null', steps({ b: null }), 'steps.b', 'Must be an object, not null'],
  ['a document that is a list', [], '', 'Must be an object, not a list'],
  ['a chain with the name of a built-in property', chain({ name: 'constructor' }), 'name', 'reserved'],
  [
    'a trigger named like a built-in property',
    chain({ triggers: { valueOf: http } }),
    'triggers.valueOf',
    'choose another',
  ],
  ['an id with a space', steps({ 'my step': map }), 'steps.my step', 'Right would be "charge-card"'],
  [
    'a misspelt step reference',
    steps({ order: map, b: { use: 'data.map', with: { x: { y: ['{{ steps.oder.x }}'] } } } }),
    'steps.b.with.x.y.0',
    'Did you mean "order"?',
  ],
  [
    'a condition over an unknown step',
    steps({ b: { ...map, if: '{{ steps.aa }}' } }),
    'steps.b.if',
    'Did you mean "a"?',
  ],
  ['a condition over its own output', steps({ b: { ...map, if: '{{ steps.b }}' } }), 'steps.b.if', 'its own output'],
  ['a condition that is mixed text', steps({ b: { ...map, if: 'is {{ input.x }}' } }), 'steps.b.if', 'as a whole'],
  ['a condition that is no text', steps({ b: { ...map, if: true } }), 'steps.b.if', 'Must be text, not true or false'],
  [
    'an error route to an unknown step',
    steps({ b: { ...get, onError: 'rescue' } }),
    'steps.b.onError',
    'stop, continue',
  ],
  ['an error route to itself', steps({ b: { ...get, onError: 'b' } }), 'steps.b.onError', 'itself'],
  [
    'a switch that chooses itself',
    steps({ b: { use: 'flow.switch', with: { cases: [{ when: '{{ true }}', then: ['b'] }] } } }),
    'steps.b.with.cases.0.then.0',
    'itself',
  ],
  [
    'a switch that falls through to an unknown step',
    steps({ b: { use: 'flow.switch', with: { cases: [{ when: '{{ true }}', then: ['a'] }], otherwise: ['aa'] } } }),
    'steps.b.with.otherwise.0',
    'Did you mean "a"?',
  ],
  [
    'a switch whose choice is known at run time only',
    steps({ b: { use: 'flow.switch', with: { cases: [{ when: '{{ true }}', then: '{{ input.next }}' }] } } }),
    'steps.b.with.cases.0.then',
    'Must be a list',
  ],
  [
    'a switch whose cases are known at run time only',
    steps({ b: { use: 'flow.switch', with: { cases: '{{ input.cases }}' } } }),
    'steps.b.with.cases',
    'Must be a list',
  ],
  [
    'a switch without cases',
    steps({ b: { use: 'flow.switch', with: { cases: [] } } }),
    'steps.b.with.cases',
    'at least 1 entry',
  ],
  [
    'a circle through a switch',
    steps({
      b: { use: 'flow.switch', with: { cases: [{ when: '{{ steps.c.x }}', then: ['c'] }] } },
      c: map,
    }),
    'steps.b',
    'b → c → b. Break the circle',
  ],
  [
    'a circle through an error route',
    steps({ b: { ...get, onError: 'c', after: ['c'] }, c: map }),
    'steps.b',
    'b → c → b. Break the circle',
  ],
  ['a timeout of nothing', steps({ b: { ...map, timeout: '0s' } }), 'steps.b.timeout', 'more than 0'],
  ['negative retries', steps({ b: { ...get, retries: { limit: -1 } } }), 'steps.b.retries.limit', 'at least 0'],
  [
    'half a retry',
    steps({ b: { ...get, retries: { limit: 1.5 } } }),
    'steps.b.retries.limit',
    'a whole number, not 1.5',
  ],
  [
    'a delay beyond the bound',
    steps({ b: { ...get, retries: { limit: 1, delay: '2d' } } }),
    'steps.b.retries.delay',
    'at most 1d',
  ],
  ['a durable run without end', chain({ mode: 'durable', timeout: '31d' }), 'timeout', 'durable chain, at most 30d'],
  ['an unknown mode', chain({ mode: 'durably' }), 'mode', 'Did you mean "durable"?'],
  [
    'two triggers for the same requests',
    chain({ triggers: { one: { ...http, path: '/a/{id}' }, two: { ...http, path: '/a/{name}' } } }),
    'triggers.two.path',
    'The trigger "one" answers the same requests',
  ],
  ['a path without its slash', trigger({ path: 'a' }), 'triggers.api.path', '"/orders/{id}/paid"'],
  ['a path with an end slash', trigger({ path: '/a/' }), 'triggers.api.path', 'no end slash'],
  ['a path with an escape that nobody sends', trigger({ path: '/%5F/mine' }), 'triggers.api.path', '"%5F" cannot be'],
  ['a path with a broken escape', trigger({ path: '/a%zz' }), 'triggers.api.path', '"a%zz" cannot be'],
  ['a path that climbs by escapes', trigger({ path: '/a/%2E%2E/b' }), 'triggers.api.path', '"%2E%2E" cannot be'],
  [
    'a path parameter named like a built-in property',
    trigger({ path: '/a/{toString}' }),
    'triggers.api.path',
    'is reserved',
  ],
  ['an http trigger named manual', chain({ triggers: { manual: http } }), 'triggers.manual', 'choose another'],
  ['a path that climbs', trigger({ path: '/a/../b' }), 'triggers.api.path', '".." cannot be a segment'],
  ['a path of many wide characters', trigger({ path: `/${'😀'.repeat(600)}` }), 'triggers.api.path', '1024'],
  ['a misspelt field of a trigger', trigger({ pth: '/b' }), 'triggers.api.pth', 'Did you mean "path"?'],
  ['a trigger without its type', chain({ triggers: { t: {} } }), 'triggers.t.type', '"http", "webhook"'],
  [
    'an inline schedule',
    chain({ mode: 'inline', triggers: { n: { type: 'schedule', cron: '0 3 * * *' } } }),
    'triggers.n.type',
    'set "mode" to "durable"',
  ],
  [
    'a trigger input over the input that it makes',
    trigger({ input: { id: '{{ input.id }}' } }),
    'triggers.api.input.id',
    'Known are: trigger, run, chain',
  ],
  ['flow control in an inline chain', chain({ concurrency: { limit: 1 } }), 'concurrency', 'set "mode" to "durable"'],
  ['a priority in an inline chain', chain({ priority: '{{ 1 }}' }), 'priority', 'set "mode" to "durable"'],
  ['a limit of nothing', durable({ concurrency: { limit: 0 } }), 'concurrency.limit', 'at least 1'],
  ['a limit that is an expression', durable({ concurrency: { limit: '{{ 5 }}' } }), 'concurrency.limit', 'number'],
  [
    'a misspelt strategy',
    durable({ concurrency: { limit: 1, strategy: 'cancel-olest' } }),
    'concurrency.strategy',
    'Did you mean "cancel-oldest"?',
  ],
  [
    'a key without an expression',
    durable({ concurrency: { limit: 1, key: 'customer' } }),
    'concurrency.key',
    'leave it out',
  ],
  [
    'a key over the steps',
    durable({ throttle: { limit: 1, period: '1s', key: '{{ steps.a.x }}' } }),
    'throttle.key',
    'Known are: trigger, input, chain',
  ],
  [
    'a key that differs with each delivery',
    durable({ debounce: { period: '1s', key: '{{ $now() }}' } }),
    'debounce.key',
    'remove $now',
  ],
  [
    'a key over the time of the run',
    durable({ order: { strategy: 'fifo', key: '{{ run.now }}' } }),
    'order.key',
    'no "run"',
  ],
  ['a throttle without its period', durable({ throttle: { limit: 1 } }), 'throttle.period', '"period" is missing'],
  ['a throttle of no time', durable({ throttle: { limit: 1, period: '0s' } }), 'throttle.period', 'more than 0'],
  ['a debounce beyond the bound', durable({ debounce: { period: '31d' } }), 'debounce.period', 'at most 30d'],
  [
    'a debounce whose maximum is short of its period',
    durable({ debounce: { period: '10s', maximum: '5s' } }),
    'debounce.maximum',
    'at least the period',
  ],
  ['idempotency without its key', durable({ idempotency: { period: '1d' } }), 'idempotency.key', '"key" is missing'],
  [
    'an idempotency key that all runs share',
    durable({ idempotency: { period: '1d', key: 'all' } }),
    'idempotency.key',
    'name what makes runs the same',
  ],
  [
    'a priority that is no expression',
    durable({ concurrency: { limit: 1 }, priority: 'high' }),
    'priority',
    'as a whole',
  ],
  [
    'a priority where nothing waits',
    durable({ concurrency: { limit: 1, strategy: 'drop' }, priority: '{{ 1 }}' }),
    'priority',
    'waits for its turn',
  ],
  [
    'a priority against an order',
    durable({ order: fifo, priority: '{{ 1 }}' }),
    'priority',
    'remove "priority" or "order"',
  ],
  [
    'a debounce against an order',
    durable({ order: fifo, debounce: { period: '1s' } }),
    'debounce',
    'remove "debounce" or "order"',
  ],
  [
    'an order that leaves runs out',
    durable({ order: fifo, concurrency: { limit: 1, strategy: 'drop' } }),
    'concurrency.strategy',
    'set it to "queue"',
  ],
  ['an unknown order', durable({ order: { strategy: 'lifo' } }), 'order.strategy', '"fifo"'],
  ['a run timeout beyond the bound', chain({ timeout: '1h' }), 'timeout', 'inline chain, at most 15m'],
];

describe('a document with a mistake', () => {
  it('is one of many kinds', () => expect(MISTAKES.length).toBeGreaterThanOrEqual(80));

  it.each(MISTAKES)('%s is told with its path and the fix', (_what, document, path, words) => {
    const compiled = compileChain(document, catalogue);
    if (compiled.ok) throw new Error('it compiled');
    expect(compiled.fault.code).toBe('chain.invalid');
    const issues = compiled.fault.issues ?? [];
    const told = issues.filter((issue) => issue.path === path).map((issue) => issue.message);
    expect(told.join('\n'), JSON.stringify(issues)).toContain(words);
    expect(words).not.toBe('');
  });

  it('has all its mistakes told at once', () => {
    const compiled = compileChain(
      chain({
        output: '{{ steps.zz }}',
        steps: { a: { use: 'nope.nope' }, b: { use: 'http.get', with: { ur: 1 } }, c: { ...map, after: ['q'] } },
      }),
      catalogue,
    );
    const paths = compiled.ok ? [] : (compiled.fault.issues ?? []).map((issue) => issue.path);
    expect(paths).toEqual(
      expect.arrayContaining(['steps.a.use', 'steps.b.with.ur', 'steps.b.with.url', 'steps.c.after.0', 'output']),
    );
    expect(compiled.ok ? '' : compiled.fault.message).toMatch(/and \d+ more/);
  });
});

describe('anything at all', () => {
  const good = {
    name: 'good',
    triggers: { api: http, hook: { type: 'webhook', source: 's' }, night: { type: 'schedule', cron: '0 3 * * *' } },
    input: { type: 'object' },
    steps: {
      a: { ...get, retries: { limit: 1 }, onError: 'continue' },
      b: { ...map, after: ['a'], if: '{{ steps.a.status = 200 }}' },
      c: { use: 'flow.switch', with: { cases: [{ when: '{{ true }}', then: ['d'] }] } },
      d: map,
    },
    output: '{{ steps.b }}',
  };
  const places = (value: unknown, path: readonly string[] = []): (readonly string[])[] =>
    typeof value === 'object' && value !== null
      ? [path, ...Object.entries(value).flatMap(([key, member]) => places(member, [...path, key]))]
      : [path];
  const put = (value: unknown, [key, ...rest]: readonly string[], change: unknown): unknown => {
    if (key === undefined) return change;
    const copy: unknown = structuredClone(value);
    if (typeof copy === 'object' && copy !== null) {
      Object.defineProperty(copy, key, { value: put(Reflect.get(copy, key), rest, change), enumerable: true });
    }
    return copy;
  };

  it('put into any place of a good document gives a plan or issues, and never throws', () => {
    const junk = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom('{{', '{{ }}', '{{ steps }}', '/', '{}', [], '__proto__', 1e300),
    );
    fc.assert(
      fc.property(fc.constantFrom(...places(good)), junk, (place, value) => {
        const compiled = compileChain(put(good, place, value), catalogue);
        if (!compiled.ok) expect(compiled.fault.issues?.length).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });

  it('nested without measure is told, not crashed on', () => {
    let deep: unknown = '{{ nope';
    for (let level = 0; level < 20_000; level++) deep = [deep];
    for (const document of [
      steps({ b: { use: 'data.map', with: { x: deep } } }),
      chain({ triggers: { t: { type: deep } } }),
      chain({ input: { enum: deep } }),
      deep,
    ]) {
      const compiled = compileChain(document, catalogue);
      expect(compiled.ok ? '' : compiled.fault.message).toContain('128 levels');
    }
  });

  it('wrong a thousand times is told a hundred times', () => {
    const many = Object.fromEntries(
      Array.from({ length: 400 }, (_, n) => [`s${n}`, { use: 'data.mop', after: ['q'] }]),
    );
    const compiled = compileChain(chain({ steps: many }), catalogue);
    expect(compiled.ok ? 0 : compiled.fault.issues?.length).toBe(100);
  });
});
