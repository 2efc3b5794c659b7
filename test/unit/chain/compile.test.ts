import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalJson } from '../../../src/core/chain/canonical.ts';
import { compileChain } from '../../../src/core/chain/compile.ts';
import type { Plan } from '../../../src/core/chain/plan.ts';
import { buildCatalogue } from '../../../src/connectors/kit/catalogue.ts';
import { connectors } from '../../../src/connectors/index.ts';
import { readShared, sharedMissing } from '../../support/shared.ts';

const catalogue = buildCatalogue(connectors);

function plan(document: object): Plan {
  const compiled = compileChain({ name: 'x', ...document }, catalogue);
  if (!compiled.ok) throw new Error(JSON.stringify(compiled.fault.issues));
  return compiled.value;
}

const map = { use: 'data.map', with: { x: 1 } };
const ids = (of: Plan, indexes: readonly number[]): (string | undefined)[] =>
  indexes.map((index) => of.steps[index]?.id);
const step = (of: Plan, id: string) => {
  const found = of.steps.find((each) => each.id === id);
  if (found === undefined) throw new Error(id);
  return found;
};

describe('a good document', () => {
  it.each(readdirSync('templates').filter((file) => !file.endsWith('.sample.json')))('compiles: %s', (file) => {
    expect(plan(JSON.parse(readFileSync(`templates/${file}`, 'utf8')) as object).steps.length).toBeGreaterThan(0);
  });

  it('is inline when every trigger is http, else durable', () => {
    const http = { type: 'http', method: 'GET', path: '/a' };
    expect(plan({ triggers: { http }, steps: { a: map } })).toMatchObject({
      mode: 'inline',
      triggers: [{ respond: 'result', auth: 'key' }],
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
    const { onError } = step(made, 'call');
    expect(onError.kind === 'step' && made.steps[onError.step]?.id).toBe('rescue');
    expect(step(made, 'which').pure).toBe(true);
  });

  it('recomputes only what always gives the same', () => {
    const made = plan({
      steps: { same: map, time: { use: 'data.map', with: { t: '{{ $now() }}' } }, answer: { use: 'flow.respond' } },
    });
    expect(made.steps.map((each) => [each.id, each.pure])).toEqual([
      ['same', true],
      ['time', false],
      ['answer', false],
    ]);
  });
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
      fc.property(graph, ([, edges, order]) => {
        const [first] = edges;
        if (first === undefined) return;
        const compiled = compileChain({ name: 'x', ...document([...edges, [first[1], first[0]]], order) }, catalogue);
        const message = compiled.ok ? '' : (compiled.fault.issues?.[0]?.message ?? '');
        const circle = /: (.+)\. Break/.exec(message)?.[1]?.split(' → ') ?? [];
        expect(circle.length).toBeGreaterThan(2);
        expect(circle[0]).toBe(circle.at(-1));
      }),
    );
  });
});

describe.skipIf(sharedMissing)('canonical JSON', () => {
  const cases = JSON.parse(readShared('suites/jcs-rfc8785.json') ?? '{}') as Record<string, unknown>;
  it('gives the outputs of RFC 8785 byte for byte', () => {
    const pairs = Object.entries(cases).flatMap(([name, value]) => {
      const pair = value as { input?: string; output?: string };
      return typeof pair.input === 'string' && typeof pair.output === 'string'
        ? [[name, pair.input, pair.output] as const]
        : [];
    });
    expect(pairs.length).toBeGreaterThan(4);
    for (const [name, input, output] of pairs) expect(canonicalJson(JSON.parse(input)), name).toBe(output.trimEnd());
  });
});
