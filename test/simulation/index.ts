/** `npm run simulate -- --seeds 100000 [--mode safety|liveness] [--seed first] [--mutant name] [--trace]`. */

import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { MUTANTS } from './mutants.ts';
import type { Verdict } from './scenario.ts';
import { playSeeds } from './seeds.ts';

const SHOWN_VIOLATIONS = 5;

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: process.env['SEEDS'] ?? '10000' },
    seed: { type: 'string', default: process.env['SEED'] ?? '1' },
    mode: { type: 'string', default: 'safety' },
    threads: { type: 'string', default: String(availableParallelism()) },
    mutant: { type: 'string' },
    trace: { type: 'boolean', default: false },
  },
});

function usage(text: string): never {
  console.error(text);
  process.exit(2);
}

const whole = (name: 'seeds' | 'seed' | 'threads'): number =>
  /^\d{1,9}$/.test(values[name]) ? Number(values[name]) : usage(`--${name} must be a whole number.`);

function mutantNamed(name: string) {
  const mutant = MUTANTS.find((candidate) => candidate.name === name);
  return (
    mutant ?? usage(`There is no such mutant; take one of:\n${MUTANTS.map((each) => `  ${each.name}`).join('\n')}`)
  );
}

const { mode } = values;
if (mode !== 'safety' && mode !== 'liveness') usage('--mode must be safety or liveness.');

const print = ({ seed, violation, trace = [] }: Verdict): void => {
  console.log(`\nseed ${seed}: ${violation === undefined ? 'no violation' : violation.message}`);
  for (const line of trace) console.log(line);
  if (violation === undefined) return;
  console.log(`Invariant ${violation.invariant} is violated: ${violation.message}`);
  console.log(`Again: npm run simulate -- --mode ${mode} --seeds 1 --seed ${seed}`);
};

let toldAt = performance.now();
const report = await playSeeds({
  mode,
  first: whole('seed'),
  count: whole('seeds'),
  threads: whole('threads'),
  traced: values.trace,
  ...(values.mutant !== undefined && { mutant: mutantNamed(values.mutant) }),
  progress: (seeds, violations) => {
    if (performance.now() - toldAt < 5_000) return;
    toldAt = performance.now();
    console.log(`${seeds} seeds, ${violations} violations`);
  },
});

for (const verdict of report.verdicts.slice(0, SHOWN_VIOLATIONS)) print(verdict);
const violations = report.verdicts.filter((verdict) => verdict.violation !== undefined);
for (const { seed, violation } of violations)
  console.log(`seed ${seed}: ${violation?.invariant}: ${violation?.message}`);
console.log('\nWhat happened, and how often:');
for (const [what, times] of Object.entries(report.counts).sort(([a], [b]) => a.localeCompare(b)))
  console.log(`  ${what}: ${times}`);
const rate = Math.round(report.seeds / report.seconds);
console.log(`\n${mode}: ${report.seeds} seeds, ${report.runs} runs, ${violations.length} violations, ${rate} seeds/s`);
process.exitCode = violations.length === 0 ? 0 : 1;
