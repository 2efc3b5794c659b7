/** The guard of outgoing traffic: rows 32 and 33 of the list of attacks, and public lists of tricks. */

import { BlockList, isIPv4 } from 'node:net';
import fc from 'fast-check';
import * as v from 'valibot';
import { describe, expect, test } from 'vitest';
import { checkSocket, checkUrl, createEgressPolicy } from '../../src/core/policy/egress.ts';
import { plainOrigin } from '../../src/core/url.ts';
import { readShared, sharedMissing } from '../support/shared.ts';

const NOTHING_ALLOWED = createEgressPolicy('');
const isRefused = (url: string, policy = NOTHING_ALLOWED): boolean => {
  const result = checkUrl(policy, url);
  if (!result.ok) expect(result.fault.code).toBe('egress.refused');
  return !result.ok;
};

describe('addresses that are not public are refused', () => {
  test.for([
    '0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.255 169.254.169.254 169.254.170.2',
    '172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255',
    '198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 100.100.100.200 168.63.129.16',
    '2130706433 0x7f000001 0177.0.0.1 127.1 127.0.1 0 0x7f.1 0251.00376.000251.0000376 127.0.0.1. ①②⑦.0.0.1 %31%32%37.0.0.1',
    '[::] [::1] [0000::1] [::ffff:127.0.0.1] [::ffff:a9fe:a9fe] [::127.0.0.1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1]',
    '[64:ff9b:1::1] [2002:7f00:1::] [2002:a9fe:a9fe::1] [2001::1] [2001:0:7f00:1::] [2001:2::1] [2001:db8::1] [3fff::1]',
    '[3fff:fff::1] [5f00::1] [fc00::1] [fd00:ec2::254] [fe80::1] [fec0::1] [ff02::1] [100::1] [4000::1] [e000::]',
    'localhost LOCALHOST localhost. localhost.. a.localhost printer.local db.internal metadata.google.internal',
    'metadata.google.internal. metadata metadata.goog instance-data ip6-localhost kubernetes.default.svc.cluster.local',
    'nas.lan x.home.arpa host.docker.internal wiki.corp ⓛocalhost',
  ])('%s', (hosts) => {
    for (const host of hosts.split(' ')) {
      for (const url of [`http://${host}/`, `https://${host}:8443/path?q#f`]) expect(isRefused(url), url).toBe(true);
    }
  });

  test('public ones are accepted', () => {
    const hosts =
      '1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 192.0.1.1 192.167.1.1 ' +
      '198.17.0.1 198.20.0.1 223.255.255.255 168.63.129.17 [2606:4700::1111] [2001:200::1] [2001:4860:4860::8888] ' +
      '[3fff:1000::1] example.com a.b.example.co.uk. xn--bcher-kva.example bücher.example localhost.example.com ' +
      'internal.example 1e100.net 127.0.0.1.example.com api.stripe.com';
    for (const host of hosts.split(' ')) expect(isRefused(`https://${host}/`), host).toBe(false);
  });

  test('every IPv4 address is judged as the registry of special addresses says', () => {
    const special = new BlockList();
    const ranges =
      '0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 ' +
      '192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4 168.63.129.16/32';
    for (const range of ranges.split(' ')) {
      const [address = '', bits] = range.split('/');
      special.addSubnet(address, Number(bits));
    }
    const address = fc.oneof(
      fc.ipV4(),
      fc
        .tuple(fc.constantFrom('10.', '100.', '127.', '169.254.', '172.', '192.', '198.', '203.0.', '224.'), fc.ipV4())
        .map(([start, rest]) => [...start.split('.').slice(0, -1), ...rest.split('.')].slice(0, 4).join('.')),
    );
    fc.assert(
      fc.property(address, (ip) => {
        expect(isRefused(`http://${ip}/`), ip).toBe(special.check(ip));
        const hex = ip.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
        expect(isRefused(`http://0x${hex.join('')}/`), ip).toBe(special.check(ip));
        expect(isRefused(`http://[::ffff:${ip}]/`), 'an embedded address').toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe('the form of the URL', () => {
  test.for([
    'ftp://example.com/',
    'file:///etc/passwd',
    'gopher://localhost:25/_x',
    'data:text/plain,x',
    'blob:https://example.com/x',
    'javascript:alert(1)',
    'ws://example.com/',
    'jar:http://127.0.0.1!/',
    'https://user@example.com/',
    'https://user:password@example.com/',
    'https://:password@example.com/',
    'https://127.0.0.1@example.com/',
    'http://example.com@127.0.0.1/',
    'http://127.1.1.1:80\\@127.2.2.2:80/',
    '/relative',
    '//example.com/',
    '',
    'http://',
    'http://[::1',
    'http://256.1.1.1/',
    'http://1.2.3.4.5/',
    'http://exa mple.com/',
  ])('%s is refused', (url) => {
    expect(isRefused(url)).toBe(true);
  });

  test('a URL object is returned as it is, and so is a text whose host can be read in one way only', () => {
    const url = new URL('https://example.com/a');
    expect(checkUrl(NOTHING_ALLOWED, url)).toEqual({ ok: true, value: url });
    const text = 'https://example.com:443/a/../b';
    expect(checkUrl(NOTHING_ALLOWED, text)).toEqual({ ok: true, value: text });
  });

  test.for(['https://EXAMPLE.com/a', 'https:example.com/a', 'https://example.com\\@b/a', 'ht\ntps://example.com/a'])(
    'what is fetched for %j is the parsed URL',
    (text) => expect(checkUrl(NOTHING_ALLOWED, text)).toEqual({ ok: true, value: new URL(text) }),
  );

  test('a refusal says why, and does not repeat the path', () => {
    const result = checkUrl(NOTHING_ALLOWED, 'http://10.0.0.1/secret?token=x');
    expect(result).toMatchObject({ ok: false, fault: { message: expect.stringContaining('10.0.0.1') } });
    expect(JSON.stringify(result)).not.toContain('secret');
  });
});

describe('the port', () => {
  const isSocketRefused = (hostname: string, port: number, policy = NOTHING_ALLOWED): boolean => {
    const result = checkSocket(policy, { hostname, port });
    if (!result.ok) expect(result.fault.code).toBe('egress.refused');
    return !result.ok;
  };

  test('of a public host is 80 or 443, unless the owner lists the host or the port', () => {
    for (const port of [1, 21, 22, 23, 25, 81, 442, 444, 3306, 5432, 6379, 8080, 8443, 9200, 11211, 65_535]) {
      const url = `http://example.com:${port}/`;
      expect(isRefused(url), url).toBe(true);
      expect(isRefused(url, createEgressPolicy(`example.com:${port}`)), url).toBe(false);
      expect(isRefused(url, createEgressPolicy('example.com')), url).toBe(false);
      expect(isRefused(url, createEgressPolicy('', `7,${port}`)), url).toBe(false);
      expect(isRefused(url, createEgressPolicy('', '7')), url).toBe(true);
    }
    for (const url of ['https://example.com:80/', 'http://example.com:443/']) expect(isRefused(url)).toBe(false);
  });

  test('that is listed for all opens no private host', () => {
    expect(isRefused('http://127.0.0.1:8080/', createEgressPolicy('', '8080'))).toBe(true);
    expect(isSocketRefused('10.0.0.1', 5432, createEgressPolicy('', '5432'))).toBe(true);
  });

  test('of a socket is that of a database or of mail', () => {
    for (const port of [465, 587, 993, 1433, 3306, 5432, 6379, 27_017]) {
      expect(isSocketRefused('db.example.com', port)).toBe(false);
    }
    for (const port of [0, -1, 1.5, 65_536, Number.NaN, 22, 23, 25, 80, 443, 445, 2375, 11_211]) {
      expect(isSocketRefused('db.example.com', port), String(port)).toBe(true);
    }
    expect(isSocketRefused('db.example.com', 25, createEgressPolicy('db.example.com:25'))).toBe(false);
  });

  test('of a socket opens no address that is not public, in no spelling', () => {
    const hosts =
      '127.0.0.1 127.1 2130706433 0x7f000001 0177.0.0.1 10.0.0.1 169.254.169.254 0.0.0.0 ::1 [::1] :: ::ffff:127.0.0.1 ' +
      'fd00::1 fe80::1 localhost localhost. a.localhost metadata metadata.google.internal db.internal %31%32%37.0.0.1';
    for (const host of hosts.split(' ')) expect(isSocketRefused(host, 5432), host).toBe(true);
  });

  test.for([
    '',
    ' ',
    'a b.example',
    'user@db.example.com',
    'db.example.com/x',
    'db.example.com:1',
    'a\\b.example',
    '*.x.y',
    '[::1',
  ])('of a socket opens nothing to %j, which is no host', (hostname) =>
    expect(isSocketRefused(hostname, 5432)).toBe(true),
  );

  test('and the host of a socket come back as they were understood', () => {
    expect(checkSocket(NOTHING_ALLOWED, { hostname: 'DB.Example.com', port: 5432 })).toEqual({
      ok: true,
      value: { hostname: 'db.example.com', port: 5432 },
    });
    expect(checkSocket(NOTHING_ALLOWED, { hostname: '2606:4700::1111', port: 5432 })).toEqual({
      ok: true,
      value: { hostname: '[2606:4700::1111]', port: 5432 },
    });
  });

  test.for(['x', '0', '65536', '80-90', '-1', '1.5', '*'])('%s in the list of ports stops the start', (entry) => {
    expect(() => createEgressPolicy('', `443,${entry}`)).toThrow(entry);
  });
});

describe('the allow list', () => {
  test('opens exactly the host, on all ports or on the one given', () => {
    const policy = createEgressPolicy(' Stock.Internal , 127.0.0.1:8080,[::1]:80, [fd00::2] , localhost:443');
    const open =
      'http://stock.internal https://STOCK.internal.:9000 http://127.0.0.1:8080 http://0x7f.1:8080 http://[::1] http://[fd00:0::2]:1 https://localhost';
    const closed =
      'http://a.stock.internal http://stock.internal.lan http://127.0.0.1 https://127.0.0.1 http://127.0.0.2:8080 http://[::1]:81 https://[::1] http://localhost http://[::ffff:127.0.0.1]:8080';
    for (const url of open.split(' ')) expect(isRefused(url, policy), url).toBe(false);
    for (const url of closed.split(' ')) expect(isRefused(url, policy), url).toBe(true);
  });

  test('does not open schemes or user names', () => {
    const policy = createEgressPolicy('localhost');
    for (const url of ['ftp://localhost/', 'http://user@localhost/']) expect(isRefused(url, policy), url).toBe(true);
  });

  test.for(['*', '*.internal', 'http://localhost', 'a/b', 'a b', '::1', 'a:b', 'a:99999', 'user@host', '[::1'])(
    'the entry %s stops the start with its text',
    (entry) => {
      expect(() => createEgressPolicy(`localhost,${entry}`)).toThrow(entry);
    },
  );
});

describe.skipIf(sharedMissing)('public lists of tricks', () => {
  /** Ordinary names that somebody's DNS points at a private address: a check without DNS cannot know. */
  const PUBLIC_NAMES = new Set([
    '169.254.169.254.nip.io',
    '307.r3dir.me',
    '62epax5fhvj3zzmzigyoe5ipkbn7fysllvges3a.302.r3dir.me',
    'nicob.net',
    'example.com',
    'www.googleapis.com',
  ]);

  /** All URLs in code blocks, cut where a shell or a comment would end them. */
  function urlsIn(path: string): string[] {
    const blocks = (readShared(path) ?? '').matchAll(/^[ \t]*```[a-z0-9]*\n([\s\S]*?)^[ \t]*```/gm);
    return [...blocks]
      .flatMap(([, block = '']) => block.match(/\b[a-z]+:(?:\/\/)?[^\s"'`|]*\b[^\s"'`|]*/g) ?? [])
      .filter((text) => /^[a-z]+:(\/\/|http|\d)/.test(text));
  }

  test.for(['suites/ssrf-readme.md', 'suites/ssrf-ssrf-cloud-instances.md'])(
    'every target in %s is refused',
    (path) => {
      const urls = urlsIn(path);
      expect(urls.length).toBeGreaterThan(40);
      const accepted = new Set(
        urls
          .map((url) => checkUrl(NOTHING_ALLOWED, url))
          .flatMap((result) => (result.ok ? [new URL(result.value).hostname] : [])),
      );
      expect([...accepted].filter((host) => !PUBLIC_NAMES.has(host))).toEqual([]);
    },
  );

  test('the URL parser of the web platform tests hides no private address', () => {
    const suite = v.parse(
      v.array(v.union([v.string(), v.object({ input: v.string(), base: v.nullish(v.string()) })])),
      JSON.parse(readShared('suites/wpt-urltestdata.json') ?? ''),
    );
    let checked = 0;
    for (const entry of suite) {
      if (typeof entry === 'string') continue;
      const parsed = URL.parse(entry.input, entry.base ?? undefined);
      const url = parsed === null ? entry.input : parsed.href;
      const host = parsed?.hostname.replace(/\.+$/, '') ?? '';
      const isWeb = parsed?.protocol === 'http:' || parsed?.protocol === 'https:';
      const isPlain = isWeb && parsed.username === '' && parsed.password === '' && host.includes('.');
      const isPrivate = isIPv4(host) && /^(0|10|127|169\.254|192\.168|22[4-9]|2[3-5]\d)\./.test(host);
      // No public top-level domain begins with a digit.
      const isName = /\.[^.\d][^.]*$/.test(host) && !/\.(local|localhost)$/.test(host);
      const isPublic = isPlain && !host.startsWith('[') && (isIPv4(host) ? !isPrivate : isName);
      expect(isRefused(url), `${entry.input} → ${url}`).toBe(!isPublic);
      for (const text of [url, entry.input]) {
        const plain = plainOrigin(text);
        if (plain === undefined || !URL.canParse(text)) continue;
        expect(new URL(text).origin, text).toBe(new URL(plain).origin);
        expect(new URL(text).username, text).toBe('');
      }
      checked++;
    }
    expect(checked).toBeGreaterThan(600);
  });
});
