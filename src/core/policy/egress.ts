/**
 * Which addresses the gateway may call: the one guard of all outgoing traffic, of requests and sockets.
 *
 * Guarantee: a host that is, in any spelling, an address that is not globally routable, or a name that is
 * only known inside a network, and a port that its kind of traffic does not usually have, are refused
 * unless the owner listed that host.
 * Accepted weakness: the check is pure and resolves no names. A public name that points at a private
 * address (`localtest.me`, `127.0.0.1.nip.io`, a rebinding name) passes here; it is the network of the
 * runtime that must not reach private addresses (Cloudflare's does not; workerd: `allow = ["public"]`).
 */

import { fail, fault, FaultError, ok, type Result } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { plainOrigin } from '../url.ts';

export interface EgressPolicy {
  /** `host` where every port is allowed, `host:port` otherwise; IPv6 in brackets. */
  readonly allowed: ReadonlySet<string>;
  /** Ports of public hosts for requests, and for sockets. */
  readonly webPorts: ReadonlySet<number>;
  readonly socketPorts: ReadonlySet<number>;
  /** Verdicts on the plain origins that were asked for. */
  readonly known: Map<string, Result<URL>>;
}

const ENTRY = /^(\[[0-9a-f:.]+\]|[^\s:/?#@*\\[\]]+)(?::(\d{1,5}))?$/i;

const WEB_PORTS = [80, 443];
/**
 * SMTP submission, IMAP and POP3 over TLS, LDAP over TLS, SQL Server, Oracle, MySQL, Postgres and its
 * usual pooler, AMQP over TLS, NATS, Redis and Redis over TLS, MQTT over TLS, Cassandra, ClickHouse over TLS, MongoDB.
 */
const SOCKET_PORTS = [
  465, 587, 993, 995, 636, 1433, 1521, 3306, 5432, 6432, 5671, 4222, 6379, 6380, 8883, 9042, 9440, 27017,
];

/**
 * @param allow `host` or `host:port`, separated by commas; a host must be named exactly
 * @param ports further ports of public hosts, separated by commas
 * @throws FaultError `internal.unexpected` for an entry that can never match: a guard that was not
 *   understood must not start
 */
export function createEgressPolicy(allow: string, ports = ''): EgressPolicy {
  const allowed = new Set<string>();
  for (const entry of entriesOf(allow)) {
    const [, host = '', port] = ENTRY.exec(entry) ?? [];
    if (host === '' || !URL.canParse(`http://${host}:${port ?? 80}`)) {
      const fix = 'Write "host" or "host:port", separated by commas, IPv6 in brackets, without "*".';
      throw new FaultError(fault('internal.unexpected', `"${entry}" in the egress allow list is no host. ${fix}`));
    }
    const name = withoutDot(new URL(`http://${host}`).hostname);
    allowed.add(port === undefined ? name : `${name}:${Number(port)}`);
  }
  const more = entriesOf(ports).map(portOf);
  return {
    allowed,
    webPorts: new Set([...WEB_PORTS, ...more]),
    socketPorts: new Set([...SOCKET_PORTS, ...more]),
    known: new Map(),
  };
}

const entriesOf = (list: string): string[] =>
  list
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');

function portOf(entry: string): number {
  const port = /^\d{1,5}$/.test(entry) ? Number(entry) : 0;
  if (port >= 1 && port <= 65_535) return port;
  const message = `"${entry}" in the list of egress ports is no port. Write numbers from 1 to 65535, separated by commas.`;
  throw new FaultError(fault('internal.unexpected', message));
}

/**
 * What may be fetched: the text itself where its host can be read in one way only, and otherwise the parsed
 * URL, so that what was checked is what is fetched. A `URL` that is passed in is not copied.
 * Fault `egress.refused` with the reason.
 */
export function checkUrl(policy: EgressPolicy, given: string | URL): Result<string | URL> {
  if (typeof given !== 'string') return check(policy, given);
  const origin = plainOrigin(given);
  if (origin === undefined) return check(policy, URL.parse(given));
  let verdict = policy.known.get(origin);
  if (verdict === undefined) {
    verdict = check(policy, URL.parse(origin));
    if (policy.known.size >= LIMITS.originsInMemory) policy.known.clear();
    policy.known.set(origin, verdict);
  }
  return verdict.ok ? ok(given) : verdict;
}

function check(policy: EgressPolicy, url: URL | null): Result<URL> {
  if (url === null) return refuse('The address is no absolute URL.');
  const { protocol } = url;
  if (protocol !== 'https:' && protocol !== 'http:') {
    return refuse(`The scheme ${protocol} is not allowed; use https or http.`);
  }
  if (url.username !== '' || url.password !== '') {
    return refuse('An address may not hold a user name or password; use a connection.');
  }
  const port = url.port === '' ? (protocol === 'https:' ? 443 : 80) : Number(url.port);
  const reason = reasonAgainst(policy, url.hostname, port, policy.webPorts);
  return reason === undefined ? ok(url) : refuse(reason);
}

/** What a socket may be opened to; the name as it was understood, IPv6 in brackets. */
export interface SocketHost {
  readonly hostname: string;
  readonly port: number;
}

/** The host as it may be given to `connect`. Fault `egress.refused` with the reason. */
export function checkSocket(policy: EgressPolicy, { hostname, port }: SocketHost): Result<SocketHost> {
  const written = hostname.includes(':') && !hostname.startsWith('[') ? `[${hostname}]` : hostname;
  if (!Number.isInteger(port) || port < 1 || port > 65_535) return refuse(`${port} is no port.`);
  const url = ENTRY.test(written) ? URL.parse(`http://${written}/`) : null;
  if (url === null) return refuse('The address of the socket is no host.');
  const reason = reasonAgainst(policy, url.hostname, port, policy.socketPorts);
  return reason === undefined ? ok({ hostname: url.hostname, port }) : refuse(reason);
}

function reasonAgainst(
  { allowed }: EgressPolicy,
  hostname: string,
  port: number,
  ports: ReadonlySet<number>,
): string | undefined {
  const host = withoutDot(hostname);
  if (allowed.has(host) || allowed.has(`${host}:${port}`)) return undefined;
  const kind = kindOf(host);
  if (kind !== undefined) return `The host ${host} is ${kind}. The owner may list it in TIDEGATE_EGRESS_ALLOW.`;
  if (ports.has(port)) return undefined;
  return `The port ${port} of ${host} is not open. The owner may list ${host}:${port} in TIDEGATE_EGRESS_ALLOW.`;
}

/** Whether the host, which need not be canonical, lies in the public network; false also for what is no host. */
export function isPublicHost(host: string): boolean {
  const url = URL.parse(`http://${host.includes(':') ? `[${host}]` : host}/`);
  return url !== null && kindOf(withoutDot(url.hostname)) === undefined;
}

const refuse = (message: string): Result<never> => fail('egress.refused', message);

/** `example.com.` is the same host as `example.com`; the parser keeps the dot. */
const withoutDot = (host: string): string => (host.endsWith('.') ? host.replace(/\.+$/, '') : host);

/** Domains that exist only inside a network: RFC 6761, RFC 6762 (appendix G), RFC 8375, ICANN's `internal`. */
const LOCAL_DOMAINS: ReadonlySet<string> = new Set(
  'localhost local localdomain internal intranet private corp home lan home.arpa'.split(' '),
);

/** Metadata services behind public names, which the ranges below cannot show. */
const METADATA_HOSTS: ReadonlySet<string> = new Set([
  'metadata.goog',
  'metadata.packet.net',
  'metadata.platformequinix.com',
  'metadata.tencentyun.com',
  'api.metadata.cloud.ibm.com',
]);

/** What the host is instead of public; undefined for a public one. The parser has made addresses canonical. */
function kindOf(host: string): string | undefined {
  if (host.startsWith('[')) return isPublicIPv6(host) ? undefined : 'not a public address';
  const lastDot = host.lastIndexOf('.');
  // A name without a dot is found only through a hosts file or a search domain: `metadata`, `ip6-localhost`.
  if (lastDot === -1) return 'not a public name';
  const first = host.charCodeAt(lastDot + 1);
  if (first >= 48 && first <= 57) return isPublicIPv4(host) ? undefined : 'not a public address';
  if (METADATA_HOSTS.has(host)) return 'a metadata service';
  if (LOCAL_DOMAINS.has(host.slice(lastDot + 1)) || host.endsWith('.home.arpa')) return 'not a public name';
  return undefined;
}

/** IANA's special-purpose registry, without those that are globally reachable, and Azure's metadata address. */
const PRIVATE_IPV4 = (
  '0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 ' +
  '192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3 168.63.129.16/32'
)
  .split(' ')
  .map((range) => {
    const [address = '', bits = ''] = range.split('/');
    const shift = 32 - Number(bits);
    return { shift, prefix: ipv4Number(address) >>> shift };
  });

function ipv4Number(address: string): number {
  let number = 0;
  for (const part of address.split('.')) number = number * 256 + Number(part);
  return number;
}

function isPublicIPv4(host: string): boolean {
  const address = ipv4Number(host);
  return !PRIVATE_IPV4.some(({ shift, prefix }) => address >>> shift === prefix);
}

/**
 * Only native global unicast (2000::/3) is public. Outside of it lie loopback, link-local, unique local,
 * multicast, and the IPv4-mapped, IPv4-compatible and NAT64 forms, which nobody writes for a public
 * address. Inside of it are refused 2001::/23 (IETF protocols, with Teredo), 2001:db8::/32 and
 * 3fff::/20 (documentation) and 2002::/16 (6to4).
 */
function isPublicIPv6(host: string): boolean {
  const [one = '', two = ''] = host.slice(1).split(':');
  const first = parseInt(one, 16) || 0;
  const second = parseInt(two, 16) || 0;
  if (first >>> 13 !== 1 || first === 0x2002) return false;
  if (first === 0x2001) return second >= 0x200 && second !== 0xdb8;
  return first !== 0x3fff || second >= 0x1000;
}
