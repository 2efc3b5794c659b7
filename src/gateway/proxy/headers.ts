/**
 * The headers of a request on its way to an upstream.
 *
 * Guarantee: hop-by-hop fields and credentials of the gateway end here; what the upstream reads in
 * `X-Forwarded-*` is what the gateway saw, unless the owner said that callers are to be believed. The runtime
 * alone frames the message (`Content-Length`, `Transfer-Encoding`) and names the host.
 * Accepted weakness: workerd keeps the header `Connection` to itself, so what it names is only dropped where the
 * runtime shows it.
 */

import { authorityOf } from '../event.ts';
import { randomId } from '../random-id.ts';
import type { Exchange } from '../exchange.ts';
import { traceOf, traceparentOf } from '../../core/proxy/trace.ts';
import { clientAddress } from '../../runtime/address.ts';

/**
 * Of the fields of one connection (RFC 9110, section 7.6.1), those that the runtime does not drop by itself. It
 * does with `Keep-Alive`, `TE`, `Trailer`, `Transfer-Encoding` and `Content-Length`; the tests hold it to that.
 */
const HOP_BY_HOP = ['expect', 'http2-settings', 'proxy-authorization', 'proxy-connection'];

/** What a caller might say of itself, besides the three that are set. */
const CLAIMS = ['forwarded', 'true-client-ip', 'x-forwarded-port', 'x-forwarded-prefix', 'x-real-ip'];

export interface HeaderOptions {
  readonly forwarded: 'replace' | 'append';
  /** Names of headers with credentials that the gateway itself has used up. */
  readonly credentials: Iterable<string>;
}

/** Makes `headers` fit for the upstream, in place. */
export function prepareHeaders(headers: Headers, exchange: Exchange, options: HeaderOptions): void {
  const connection = headers.get('connection');
  if (connection !== null) {
    const isUpgrade = headers.get('upgrade')?.toLowerCase() === 'websocket';
    for (const name of connection.split(',')) dropNamed(headers, name.trim().toLowerCase(), isUpgrade);
    if (!isUpgrade) headers.delete('connection');
  }
  for (const name of HOP_BY_HOP) headers.delete(name);
  for (const name of options.credentials) headers.delete(name);
  setForwarded(headers, exchange, options.forwarded);
  headers.append('via', '1.1 tidegate');
  const parent = headers.get('traceparent');
  const trace = traceOf(parent, randomId);
  // Of another trace, or of none: the state would be somebody else's.
  if (parent === null || trace.parentId === undefined) headers.delete('tracestate');
  headers.set('traceparent', traceparentOf(trace));
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;

function dropNamed(headers: Headers, name: string, isUpgrade: boolean): void {
  if (TOKEN.test(name) && !(isUpgrade && name === 'upgrade')) headers.delete(name);
}

function setForwarded(headers: Headers, exchange: Exchange, mode: 'replace' | 'append'): void {
  const address = clientAddress(exchange);
  const scheme = exchange.url.startsWith('https:') ? 'https' : 'http';
  const host = authorityOf(exchange.url);
  if (mode === 'append') {
    // A proxy of the owner has written it already.
    const isWritten = Number(exchange.env.TIDEGATE_TRUSTED_PROXIES ?? 0) > 0;
    if (address !== undefined && !isWritten) headers.append('x-forwarded-for', address);
    if (!headers.has('x-forwarded-proto')) headers.set('x-forwarded-proto', scheme);
    if (!headers.has('x-forwarded-host')) headers.set('x-forwarded-host', host);
    return;
  }
  for (const name of CLAIMS) headers.delete(name);
  if (address === undefined) {
    headers.delete('x-forwarded-for');
    // Nobody but the caller has set it.
    headers.delete('cf-connecting-ip');
  } else headers.set('x-forwarded-for', address);
  headers.set('x-forwarded-proto', scheme);
  headers.set('x-forwarded-host', host);
}
