/** The audit log: append-only, one line for each change that a person makes. */

import { appendAudit, change, connect, type Audit } from './database.ts';

/** For what is no change of the configuration; those write their line in their own transaction. */
export async function recordAction(db: D1Database, audit: Audit): Promise<void> {
  await appendAudit(connect(db), audit);
}

/** For what makes isolates forget what they hold in memory, though no row of the configuration changes. */
export const recordChange = (db: D1Database, audit: Audit): Promise<void> => change(connect(db), audit, []);
