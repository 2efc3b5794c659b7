/** Rows out of text that comes in pieces, wherever it was cut. */

import { FaultError, fault } from '../../errors.ts';
import { LIMITS } from '../../limits.ts';

/** A row, or why it is none; the ones after it can be read all the same. */
export interface ReadRow {
  /** As an editor counts lines, where no cell holds a line break: from 1, with the header and blank lines. */
  readonly number: number;
  readonly value?: unknown;
  readonly mistake?: string;
}

export interface RowReader {
  /** @throws FaultError `data.too-large` for a row that is longer than a row may be */
  push(text: string): ReadRow[];
  /** What is left once there is no more text. */
  end(): ReadRow[];
}

export function tooLong(number: number, hint = ''): FaultError {
  const most = LIMITS.transformRowCharacters;
  return new FaultError(fault('data.too-large', `Row ${number} has more than ${most} characters.${hint}`));
}
