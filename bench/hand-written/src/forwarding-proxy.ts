/**
 * A third side of `npm run bench -- proxy`: a Worker by hand that does what RFC 9110 and W3C Trace Context ask of a
 * proxy, and what the gateway does of it: nothing that a caller claims of itself is passed on, the upstream is told
 * whom the request came through, and it has to answer in time.
 */

interface Env {
  readonly EGRESS: Fetcher;
  readonly UPSTREAM: string;
}

const DROPPED = [
  'connection',
  'expect',
  'http2-settings',
  'proxy-authorization',
  'proxy-connection',
  'forwarded',
  'true-client-ip',
  'cf-connecting-ip',
  'x-real-ip',
  'x-forwarded-for',
  'x-forwarded-port',
  'x-forwarded-prefix',
];
const TIMEOUT_MILLISECONDS = 30_000;

export default {
  fetch(request, env) {
    const { url, method, body } = request;
    const path = url.indexOf('/', url.indexOf('//') + 2);
    const headers = new Headers(request.headers);
    for (const name of DROPPED) headers.delete(name);
    headers.set('x-forwarded-proto', url.slice(0, url.indexOf(':')));
    headers.set('x-forwarded-host', url.slice(url.indexOf('//') + 2, path));
    headers.append('via', '1.1 proxy');
    if (headers.get('traceparent') === null) {
      headers.delete('tracestate');
      headers.set('traceparent', `00-${randomHex(32)}-${randomHex(16)}-01`);
    }
    const signal = AbortSignal.timeout(TIMEOUT_MILLISECONDS);
    return env.EGRESS.fetch(env.UPSTREAM + url.slice(path), { method, headers, body, redirect: 'manual', signal });
  },
} satisfies ExportedHandler<Env>;

let digits = '';

/** From a store, since asking the platform for each would cost more than all else here. */
function randomHex(length: number): string {
  if (digits.length < length) digits = Buffer.from(crypto.getRandomValues(new Uint8Array(4096))).toString('hex');
  const taken = digits.slice(0, length);
  digits = digits.slice(length);
  return taken;
}
