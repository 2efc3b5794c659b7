/** How long a source keeps its events, and knows its deliveries. */

import { LIMITS } from '../core/limits.ts';
import type { SourceRow } from '../store/configuration.ts';

export interface InboxSettings {
  readonly dedupeMilliseconds: number;
  readonly retentionMilliseconds: number;
}

/** The row of a delivery is what it is known by, so it stays at least as long as that. */
export function inboxSettings(source: Pick<SourceRow, 'inbox'> | undefined): InboxSettings {
  const dedupeMilliseconds = source?.inbox?.dedupeMilliseconds ?? LIMITS.deliveryMemoryMilliseconds;
  const retention = source?.inbox?.retentionMilliseconds ?? LIMITS.eventRetentionMilliseconds;
  return { dedupeMilliseconds, retentionMilliseconds: Math.max(retention, dedupeMilliseconds) };
}
