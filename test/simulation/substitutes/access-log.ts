/** Stands in for `runtime/access-log.ts`: nobody reads the log of the simulated vault. */

import type { OnOpen } from '../../../src/vault/vault.ts';

export const noteAccess = (): OnOpen => () => undefined;

export function noteUse(): void {
  // Nobody reads it.
}
