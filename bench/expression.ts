/** In-process: a template by closures against the same by the jsonata library. */

import jsonata from 'jsonata';
import { compileTemplate } from '../src/core/expression/index.ts';

const scope = {
  input: { id: 7, name: 'Ada' },
  steps: { order: { rows: [{ id: 'o1', total: 12 }] } },
};

const cases: readonly [string, unknown, string][] = [
  ['plain reference', '{{ steps.order.rows[0].id }}', 'steps.order.rows[0].id'],
  [
    'mixed text',
    'Order {{ steps.order.rows[0].id }} of {{ input.name }}',
    "'Order ' & steps.order.rows[0].id & ' of ' & input.name",
  ],
  [
    'object of five fields',
    {
      id: '{{ steps.order.rows[0].id }}',
      name: '{{ input.name }}',
      total: '{{ steps.order.rows[0].total * 2 }}',
      big: '{{ steps.order.rows[0].total > 10 }}',
      fixed: 1,
    },
    '{"id": steps.order.rows[0].id, "name": input.name, "total": steps.order.rows[0].total * 2, "big": steps.order.rows[0].total > 10, "fixed": 1}',
  ],
];

const ROUNDS = 5;
const OURS = 500_000;
const THEIRS = 10_000;

export async function expression(): Promise<void> {
  const ratios: number[] = [];
  for (const [name, value, source] of cases) {
    const template = compileTemplate(value);
    if (!template.ok) throw new Error(template.fault.message);
    const library = jsonata(source);
    const ours: number[] = [];
    const theirs: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      let start = performance.now();
      for (let each = 0; each < OURS; each++) template.value.evaluate(scope);
      ours.push(((performance.now() - start) * 1e6) / OURS);
      start = performance.now();
      for (let each = 0; each < THEIRS; each++) await library.evaluate(scope);
      theirs.push(((performance.now() - start) * 1e6) / THEIRS);
    }
    const [a, b] = [median(ours), median(theirs)];
    ratios.push(b / a);
    console.log(`${name.padEnd(24)} closures ${a.toFixed(0).padStart(6)} ns   library ${b.toFixed(0).padStart(7)} ns`);
  }
  console.log(`RATIO jsonata/expression ${median(ratios).toFixed(0)}`);
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
