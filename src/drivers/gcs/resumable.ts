/** An object sent in parts by a resumable upload: nobody sees it before its last byte is there. */

import { call, gcsFault } from './call.ts';
import type { GcsConnection } from './token.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { exchange, type Incoming, type Wire } from '../kit/exchange.ts';
import type { Parts } from '../kit/objects.ts';

interface Upload {
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly resource: object;
}

/** All parts but the last are multiples of 256 KiB. Google gives up what was left undone after a week. */
export async function uploadParts(
  connection: GcsConnection,
  wire: Wire,
  { path, query, resource }: Upload,
  parts: Parts,
): Promise<Result<Incoming>> {
  const headers = { 'content-type': 'application/json; charset=utf-8' };
  const body = new TextEncoder().encode(JSON.stringify(resource));
  const started = await call(connection, wire, { method: 'POST', path, query, headers, body });
  if (!started.ok) return started;
  // The address is a credential of its own: it goes into no message, and the guard holds it to the endpoint.
  const session = started.value.headers.get('location');
  if (session === null || !URL.canParse(session))
    return fail('upstream.invalid', 'Google gave no place for the upload.');
  for (let sent = 0; ;) {
    const part = await parts.next();
    if (!part.ok) return part;
    if (part.value === undefined) return fail('upstream.invalid', 'Google takes more than the object has.');
    const end = sent + part.value.byteLength;
    const range = `bytes ${sent}-${end - 1}/${parts.totalBytes ?? '*'}`;
    const outgoing = { url: session, method: 'PUT', headers: { 'content-range': range }, body: part.value };
    const reply = await exchange(wire, outgoing);
    if (!reply.ok) return reply;
    if (reply.value.status === 200 || reply.value.status === 201) return ok(reply.value);
    if (reply.value.status !== 308) return { ok: false, fault: gcsFault(reply.value, wire.now()) };
    if (reply.value.headers.get('range') !== `bytes=0-${end - 1}`) {
      return fail('upstream.unavailable', 'Google took a part of what was sent only.');
    }
    sent = end;
  }
}
