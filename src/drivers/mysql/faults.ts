/** What an error of MySQL means, by its number; of classes that are not listed the statement is at fault. */

import { fault, type Fault } from '../../core/errors.ts';

type Treatment = Pick<Fault, 'code' | 'retryable'>;

const unauthorized: Treatment = { code: 'upstream.unauthorized', retryable: false };
const unavailable: Treatment = { code: 'upstream.unavailable', retryable: true };
/** The server asks for another attempt, or the statement ran out of time. */
const again: Treatment = { code: 'upstream.rejected', retryable: true };
const rejected: Treatment = { code: 'upstream.rejected', retryable: false };

const TREATMENTS: readonly (readonly [treatment: Treatment, numbers: readonly number[]])[] = [
  // Access denied to database, user, host or plugin; old and locked accounts, expired passwords.
  [unauthorized, [1044, 1045, 1130, 1251, 1275, 1698, 1820, 1862, 3118, 4151]],
  // Too many connections (of the server, of the user), no memory, no disk, shutting down, connection killed or lost.
  [unavailable, [1037, 1040, 1041, 1021, 1053, 1080, 1129, 1152, 1184, 1203, 1226, 1927, 2006, 2013]],
  // Lock wait timeout, deadlock, interrupted, out of time (MariaDB, MySQL), lock not available at once.
  [again, [1205, 1213, 1317, 1969, 3024, 3572]],
];

const BY_NUMBER = new Map(TREATMENTS.flatMap(([treatment, numbers]) => numbers.map((n) => [n, treatment] as const)));

export interface MysqlError {
  readonly errno: number;
  readonly sqlState?: string | undefined;
  readonly message: string;
}

export function sqlFault({ errno, sqlState, message }: MysqlError): Fault {
  const { code, retryable } = BY_NUMBER.get(errno) ?? rejected;
  return fault(code, `MySQL: ${message} (${errno})`, { retryable, data: { errno, sqlState } });
}
