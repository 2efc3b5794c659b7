/** What every response of server-sent events has in common. */

import { LIMITS } from '../core/limits.ts';

export const FIRST_FRAME = `retry: ${LIMITS.liveRetryMilliseconds}\n\n`;
export const HEARTBEAT = ': heartbeat\n\n';

const HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
};

export const eventStream = (body: string | ReadableStream<Uint8Array>): Response =>
  new Response(body, { headers: HEADERS });
