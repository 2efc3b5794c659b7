/**
 * `npm run chaos`: kills the gateway in the middle of its work, again and again, and checks from outside
 * that it keeps what it promised. Exits with 1 where it did not.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCampaign } from './chaos/campaign.ts';

const USAGE = `npm run chaos -- [options]

  --runs <n>    runs of five effects each (5000)
  --kills <n>   kill -9 of the whole gateway (10)
  --seed <n>    chooses the moments (a random one, which is printed)`;

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '5000' },
    kills: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
    help: { type: 'boolean', default: false },
  },
});
const [runs, kills, seed] = [values.runs, values.kills, values.seed].map(Number);
if (values.help || !isCount(runs) || !isCount(kills) || !isCount(seed) || runs === 0) {
  console.log(USAGE);
  process.exit(values.help ? 0 : 1);
}

function isCount(value: number | undefined): value is number {
  return Number.isInteger(value) && value !== undefined && value >= 0;
}

const directory = mkdtempSync(join(tmpdir(), 'tidegate-chaos-'));
console.log(`chaos: ${runs} runs, ${kills} kills, --seed ${seed}`);
const { violations, figures } = await runCampaign({ runs, kills, seed, directory, log: console.log });
for (const [name, figure] of Object.entries(figures)) console.log(`${String(figure).padStart(8)}  ${name}`);
console.log(`${String(violations.length).padStart(8)}  violations`);
for (const { promise, run, detail } of violations) console.error(`VIOLATION ${promise}: ${run}: ${detail}`);
if (violations.length === 0) rmSync(directory, { recursive: true, force: true });
else console.error(`The data of the gateway is in ${directory}.`);
process.exit(violations.length === 0 ? 0 : 1);
