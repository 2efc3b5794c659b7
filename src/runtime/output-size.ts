/** Whether what an item of a wide fan-out gives can be stored: it shares a row with others. */

import { fits } from './blobs.ts';
import { fault, type Fault } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';

/** A fault where an output outgrows a row of the journal. */
export function checkOutput(output: unknown): Fault | undefined {
  const limit = LIMITS.rowOutputBytes;
  if (fits(JSON.stringify(output ?? null), limit)) return undefined;
  return fault('step.output-too-large', `The output is too large as JSON; of an item, up to ${limit} bytes are kept.`);
}
