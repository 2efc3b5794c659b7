/** Whether what comes of a step or an item in a consumer of the `steps` queue can be handed to its run. */

import { fault, type Fault } from '../core/errors.ts';
import { fits } from '../core/json.ts';
import { LIMITS } from '../core/limits.ts';

export const fitsRow = (json: string): boolean => fits(json, LIMITS.rowOutputBytes);

export const TOO_LARGE: Fault = fault(
  'step.output-too-large',
  `The output is too large as JSON; of an item of a wide fan-out, up to ${LIMITS.rowOutputBytes} bytes are kept.`,
);

/** A fault where not even the other steps of the item get the output; nothing but the item's own goes into a row. */
export const checkStep = (output: unknown): Fault | undefined =>
  fits(JSON.stringify(output ?? null), LIMITS.stepOutputBytes) ? undefined : TOO_LARGE;
