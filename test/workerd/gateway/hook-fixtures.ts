/** Signed deliveries to a source, and what became of them. */

import { vi, expect } from 'vitest';
import { call, manage, type Called } from './fixtures.ts';
import { sign } from '../../../src/core/webhook/index.ts';

export const SECRET = `whsec_${btoa('s'.repeat(32))}`;
export const BODY = '{"type":"order.paid","data":{"id":"A1"}}';

export interface Delivery {
  readonly source?: string;
  readonly id?: string;
  readonly ageSeconds?: number;
  readonly secret?: string;
  readonly body?: string;
  /** Sent instead of what was signed. */
  readonly sent?: string;
  readonly without?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

let deliveries = 0;

/** Signed by the scheme `standard`. */
export async function deliver(delivery: Delivery): Promise<Called> {
  const { source = 'shop', id = `msg_${++deliveries}`, ageSeconds = 0, secret = SECRET, body = BODY } = delivery;
  const nowMilliseconds = Date.now() - ageSeconds * 1000;
  const headers = await sign('standard', secret, { body: new TextEncoder().encode(body), nowMilliseconds, id });
  if (delivery.without !== undefined) delete headers[delivery.without];
  return call(`POST /hooks/${source}`, delivery.sent ?? body, { ...headers, ...delivery.headers });
}

export const eventsOf = (source: string, query = ''): Promise<Called> =>
  manage(`GET /sources/${source}/events${query}`);

/** The event of a receipt, once its runs are started. */
export async function settled(receipt: Called['body'], source = 'shop'): Promise<Called['body']> {
  return vi.waitFor(
    async () => {
      const { status, body } = await manage(`GET /sources/${source}/events/${String(receipt['event'])}`);
      expect([status, body['pending']]).toEqual([200, false]);
      return body;
    },
    { timeout: 10_000, interval: 20 },
  );
}

export async function runsOfEvent(receipt: Called['body'], source = 'shop'): Promise<string[]> {
  const { runs } = await settled(receipt, source);
  return (runs as { run: string }[]).map(({ run }) => run);
}
