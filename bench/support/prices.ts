/**
 * List prices in USD, without what a plan includes. Cloudflare's are of its pricing pages for Workers, Durable
 * Objects, D1, Queues, R2 and Workflows (developers.cloudflare.com, as of July 2026), those of Step Functions
 * of aws.amazon.com/step-functions/pricing (US East).
 */

interface Price {
  readonly label: string;
  /** Of a million units. */
  readonly usdPerMillion: number;
}

const perMillion = (label: string, usdPerMillion: number): Price => ({ label, usdPerMillion });
/** For what is billed by the single unit. */
const each = (label: string, usd: number): Price => perMillion(label, usd * 1e6);

export const PRICES = {
  workerRequests: perMillion('Worker requests', 0.3),
  cpuMilliseconds: perMillion('CPU milliseconds', 0.02),
  objectRequests: perMillion('object requests', 0.15),
  /** 128 MB for as long as the object is awake. */
  objectGigabyteSeconds: perMillion('object GB-seconds', 12.5),
  objectRowsWritten: perMillion('object rows written', 1),
  /** Each is billed as a row written. */
  alarmsSet: perMillion('alarms set', 1),
  objectRowsRead: perMillion('object rows read', 0.001),
  objectGigabyteMonths: each('object GB-months', 0.2),
  d1RowsWritten: perMillion('D1 rows written', 1),
  d1RowsDeleted: perMillion('D1 rows deleted', 1),
  d1RowsRead: perMillion('D1 rows read', 0.001),
  d1GigabyteMonths: each('D1 GB-months', 0.75),
  queueOperations: perMillion('queue operations', 0.4),
  r2Writes: perMillion('R2 writes', 4.5),
  r2Reads: perMillion('R2 reads', 0.36),
  r2GigabyteMonths: each('R2 GB-months', 0.015),
  /** 0.80 for each 100,000; attempts after the first are not counted. */
  workflowSteps: perMillion('Workflows steps', 8),
  workflowGigabyteMonths: each('Workflows GB-months', 0.2),
  /** 0.025 for each 1,000. */
  standardTransitions: perMillion('state transitions', 25),
  expressRequests: perMillion('Express requests', 1),
  /** 0.06 for a GB-hour. */
  expressGigabyteSeconds: each('Express GB-seconds', 0.06 / 3600),
} as const satisfies Record<string, Price>;

export type Meter = keyof typeof PRICES;

/** How much of each is used by one run. */
export type Bill = Readonly<Partial<Record<Meter, number>>>;

/** What that use costs a million times. */
export const usdOf = (meter: Meter, units: number): number => units * PRICES[meter].usdPerMillion;

export const meters = Object.keys(PRICES) as Meter[];

export const totalUsd = (bill: Bill): number => meters.reduce((sum, meter) => sum + usdOf(meter, bill[meter] ?? 0), 0);
