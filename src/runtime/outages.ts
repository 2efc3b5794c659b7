/** Tells the operator that a connection is paused, and that it is back. */

import type { OutageNews } from './providers.ts';
import { recordAction } from '../store/audit.ts';

const ACTIONS = { opened: 'connection.pause', closed: 'connection.resume' } as const;

/** Never rejects: what cannot be told does not hold up runs. */
export async function tellOutage(db: D1Database, { connection, news, reason }: OutageNews): Promise<void> {
  if (news === 'opened') console.warn(`the connection ${connection} is paused: ${reason}`);
  else console.warn(`the connection ${connection} is back`);
  await recordAction(db, { at: Date.now(), actor: 'gateway', action: ACTIONS[news], subject: connection }).catch(
    (thrown: unknown) => console.error(`the pause of ${connection} is not in the audit log`, thrown),
  );
}
