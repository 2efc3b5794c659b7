/** Bills of one run, here and elsewhere, and the table of them. */

import type { Usage } from './meter.ts';
import { meters, PRICES, totalUsd, usdOf, type Bill, type Meter } from './prices.ts';

/** What an object is billed by while it is awake, whatever it uses. */
const OBJECT_GIGABYTES = 0.128;
const BYTES_PER_GIGABYTE = 1e9;

interface Counted {
  /** Its rows in the object are those of a run that is gone, or become those of another. */
  readonly used: Usage;
  /** When its retention is over. */
  readonly deleted: Usage;
  /** While nothing was archived yet, so that the databases grew. */
  readonly bytes: Usage;
  /** While ended runs were archived all the time. */
  readonly archived: Usage;
  /** From the end of a run until it leaves its object. */
  readonly objectMilliseconds: number;
  readonly cpuMilliseconds: number;
}

const MONTH_MILLISECONDS = 30 * 24 * 3_600_000;

/** Runs are kept for 30 days, so a byte of one in D1 or R2 is a byte-month. */
export const billOf = ({ used, deleted, bytes, archived, objectMilliseconds, cpuMilliseconds }: Counted): Bill => ({
  workerRequests: used.workerRequests,
  cpuMilliseconds,
  objectRequests: used.objectRequests + used.alarmsRun,
  objectGigabyteSeconds: (OBJECT_GIGABYTES * used.awakeMilliseconds) / 1000,
  objectRowsWritten: used.objectRowsWritten,
  alarmsSet: used.alarmsSet,
  objectRowsRead: used.objectRowsRead,
  objectGigabyteMonths: ((bytes.objectBytes / BYTES_PER_GIGABYTE) * objectMilliseconds) / MONTH_MILLISECONDS,
  d1RowsWritten: used.d1RowsWritten,
  d1RowsDeleted: deleted.d1RowsWritten,
  d1RowsRead: used.d1RowsRead + deleted.d1RowsRead,
  d1GigabyteMonths: bytes.d1Bytes / BYTES_PER_GIGABYTE,
  queueOperations: used.queueOperations,
  r2Writes: archived.r2Writes,
  r2Reads: used.r2Reads,
  r2GigabyteMonths: archived.r2Bytes / BYTES_PER_GIGABYTE,
});

/** An empty SQLite database of an object, by Cloudflare's documentation; an instance of Workflows has one. */
const EMPTY_DATABASE_BYTES = 12_000;
const EXPRESS_GIGABYTES = 64 / 1024;

/**
 * The same run elsewhere, always at the least that can be billed.
 *
 * @param milliseconds how long it takes
 */
export function rivalsOf(
  effects: number,
  cpuMilliseconds: number,
  milliseconds: number,
): Readonly<Record<string, Bill>> {
  return {
    // Its pricing names requests, CPU, storage and steps: neither rows nor duration.
    workflows: {
      // That to the Worker, and the invocation of the instance.
      workerRequests: 2,
      // Taken to be as sparing as the gateway.
      cpuMilliseconds,
      workflowSteps: effects,
      workflowGigabyteMonths: EMPTY_DATABASE_BYTES / BYTES_PER_GIGABYTE,
    },
    // One for each step, none for start and end; without what receives the HTTP request.
    'step-functions': { standardTransitions: effects },
    // It stores no state between steps: a run that is interrupted is lost.
    'step-functions-express': {
      expressRequests: 1,
      // Rounded up to 100 ms and 64 MB.
      expressGigabyteSeconds: (Math.ceil(milliseconds / 100) / 10) * EXPRESS_GIGABYTES,
    },
  };
}

const ROWS: readonly Meter[] = ['objectRowsWritten', 'alarmsSet', 'd1RowsWritten', 'd1RowsDeleted'];

const amount = (units: number): string =>
  units === 0 ? '0' : units >= 0.001 ? units.toFixed(3) : units.toExponential(1);

/**
 * @param what is billed, in words
 * @param own bills by the conditions that they were counted under; the first is that of the last lines
 */
export function tellCost(
  what: string,
  own: Readonly<Record<string, Bill>>,
  rivals: Readonly<Record<string, Bill>>,
): void {
  const columns = Object.entries(own);
  const line = (label: string, cells: readonly (readonly [string, string])[]): void =>
    console.log(label.padEnd(24) + cells.map(([units, usd]) => units.padStart(14) + usd.padStart(9)).join(''));
  line(
    'a run, USD a million',
    columns.map(([name]) => [name, 'USD']),
  );
  const cellOf = (bill: Bill, meter: Meter): readonly [string, string] => [
    amount(bill[meter] ?? 0),
    usdOf(meter, bill[meter] ?? 0).toFixed(2),
  ];
  for (const meter of meters.filter((name) => columns.some(([, bill]) => name in bill))) {
    line(
      PRICES[meter].label,
      columns.map(([, bill]) => cellOf(bill, meter)),
    );
  }
  line(
    'total',
    columns.map(([, bill]) => ['', totalUsd(bill).toFixed(2)]),
  );
  for (const [name, bill] of Object.entries(rivals)) {
    const parts = meters.filter((meter) => meter in bill).map((meter) => [PRICES[meter].label, ...cellOf(bill, meter)]);
    console.log(`${name.padEnd(24)}${parts.map(([label, units, usd]) => `${label} ${units}: ${usd}`).join(', ')}`);
  }
  const [ours = {}] = Object.values(own);
  const rows = ROWS.reduce((sum, meter) => sum + (ours[meter] ?? 0), 0);
  console.log(`COST tidegate ${totalUsd(ours).toFixed(1)} USD per million ${what}, ${rows.toFixed(1)} rows`);
  for (const [name, bill] of Object.entries(rivals)) {
    console.log(`RATIO cost tidegate/${name} ${(totalUsd(ours) / totalUsd(bill)).toFixed(2)}`);
  }
}
