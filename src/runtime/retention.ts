/** How long runs are kept after their end. */

import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';

const DAY_MILLISECONDS = 24 * 3_600_000;

export const retentionMilliseconds = (env: Env): number =>
  (Number(env.TIDEGATE_RETENTION_DAYS) || LIMITS.retentionDays) * DAY_MILLISECONDS;
