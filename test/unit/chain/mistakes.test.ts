import { describe, expect, it } from 'vitest';
import { compileChain } from '../../../src/core/chain/compile.ts';
import { parseChainText } from '../../../src/core/chain/text.ts';
import { buildCatalogue } from '../../../src/connectors/kit/catalogue.ts';
import { connectors } from '../../../src/connectors/index.ts';

const catalogue = buildCatalogue(connectors);

const http = { type: 'http', method: 'GET', path: '/a' };
const map = { use: 'data.map', with: { x: 1 } };
const get = { use: 'http.get', with: { url: 'https://example.com' } };

/** A document that is right but for what the case changes. */
const chain = (change: object): object => ({ name: 'good', triggers: { api: http }, steps: { a: map }, ...change });
const steps = (change: object): object => chain({ steps: { a: map, ...change } });
const trigger = (change: object): object => chain({ triggers: { api: { ...http, ...change } } });

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
  ['a step that waits for itself', steps({ b: { ...map, after: ['b'] } }), 'steps.b.after.0', 'itself'],
  [
    'a circle',
    chain({ steps: { a: { ...map, after: ['b'] }, b: { ...map, after: ['c'] }, c: { ...map, after: ['a'] } } }),
    'steps.a',
    '→',
  ],
  [
    'a circle by references',
    steps({
      b: { use: 'data.map', with: { x: '{{ steps.c.x }}' } },
      c: { use: 'data.map', with: { x: '{{ steps.b.x }}' } },
    }),
    'steps.b',
    '→',
  ],
  [
    'a reference to an unknown step',
    steps({ b: { use: 'data.map', with: { x: '{{ steps.order.x }}' } } }),
    'steps.b.with',
    'no step "order"',
  ],
  [
    'a reference to its own output',
    steps({ b: { use: 'data.map', with: { x: '{{ steps.b.x }}' } } }),
    'steps.b.with',
    'its own output',
  ],
  [
    'all steps at once',
    steps({ b: { use: 'data.map', with: { x: '{{ $keys(steps) }}' } } }),
    'steps.b.with',
    'Name the step',
  ],
  [
    'a misspelt root',
    steps({ b: { use: 'data.map', with: { x: '{{ inputs.x }}' } } }),
    'steps.b.with',
    'Did you mean "input"?',
  ],
  [
    'an expression that cannot be read',
    steps({ b: { use: 'data.map', with: { x: ['{{ input. }}'] } } }),
    'steps.b.with.x[0]',
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
    '',
  ],
  ['an output that refers to an unknown step', chain({ output: '{{ steps.b }}' }), 'output', 'no step "b"'],
  ['a run timeout beyond the bound', chain({ timeout: '1h' }), 'timeout', '900s'],
];

describe('a document with a mistake', () => {
  it('is one of many kinds', () => expect(MISTAKES.length).toBeGreaterThanOrEqual(30));

  it.each(MISTAKES)('%s is told with its path and the fix', (_what, document, path, words) => {
    const compiled = compileChain(document, catalogue);
    if (compiled.ok) throw new Error('it compiled');
    expect(compiled.fault.code).toBe('chain.invalid');
    const issues = compiled.fault.issues ?? [];
    const told = issues.find(
      (issue) => issue.path === path || (path === 'steps.__proto__' && issue.path.includes('__proto__')),
    );
    expect(told, JSON.stringify(issues)).toBeDefined();
    expect(told?.message).toContain(words);
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

describe('the text of a document', () => {
  it.each([
    ['a duplicate key', '{"name": "a", "name": "b"}', 'name'],
    ['an integer that would change', '{"a": 9007199254740993}', 'a'],
    ['a number that is none', '{"a": 1e400}', 'a'],
    ['broken JSON', '{"a": ', 'a'],
  ])('with %s is refused', (_what, text, path) => {
    const parsed = parseChainText(text);
    expect(parsed.ok ? undefined : parsed.fault.issues?.[0]?.path).toBe(path);
  });

  it('nested without measure is refused', () => {
    expect(parseChainText(`${'['.repeat(100_000)}${']'.repeat(100_000)}`).ok).toBe(false);
  });
});
