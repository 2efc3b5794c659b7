import { Buffer } from 'node:buffer';
import { connect } from 'cloudflare:sockets';
import { env } from 'cloudflare:workers';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { smtp } from '../../../src/connectors/smtp/index.ts';
import type { ActionContext } from '../../../src/connectors/kit/types.ts';
import { ok } from '../../../src/core/errors.ts';
import { createR2Store } from '../../../src/drivers/r2/r2.ts';
import { actionsOf, faultOf, output, servers, written, type CallOptions } from './fixtures.ts';
import { fieldOf, parse } from '../../support/mail.ts';

const { ports, inbox, login, sizeBytes, hostile } = servers.smtp;
const { username, password, token } = login;
const host = '127.0.0.1';

const at = (port: number, settings: Record<string, unknown> = {}, secrets: Record<string, unknown> = {}) =>
  actionsOf(smtp, { settings: { host, port, tls: 'disable', from: 'Shop <shop@example.com>', ...settings }, secrets });
const call = at(ports.plain, { username }, { password });
const callOpen = at(ports.open);

let count = 0;
const somebody = (): string => `reader${++count}@example.com`;
const mail = (more: Record<string, unknown> = {}) => ({ to: somebody(), subject: 'Hello', text: 'Hi', ...more });

const receivedSchema = v.array(
  v.object({
    from: v.string(),
    recipients: v.array(v.string()),
    user: v.optional(v.string()),
    secure: v.boolean(),
    unicode: v.boolean(),
    raw: v.string(),
  }),
);

async function received(to: string) {
  const response = await fetch(`${inbox}/messages?to=${encodeURIComponent(to)}`);
  return v.parse(receivedSchema, await response.json()).map(({ raw, ...rest }) => ({
    ...rest,
    raw: Buffer.from(raw, 'base64').toString('latin1'),
  }));
}

async function only(to: string) {
  const [first, ...more] = await received(to);
  if (first === undefined || more.length > 0) throw new Error(`${more.length + (first ? 1 : 0)} messages for ${to}`);
  return { ...first, parsed: parse(first.raw) };
}

describe('a mail', () => {
  it('arrives with its headers and text, by a login', async () => {
    const to = somebody();
    const sent = await output(call('send', mail({ to: `Ada <${to}>`, text: 'Hi\n.\n..Ada\n' })));
    expect(sent).toMatchObject({ accepted: [to], rejected: [], response: expect.stringContaining('250') });
    const { parsed, from, user, recipients } = await only(to);
    expect({ from, user, recipients }).toEqual({ from: 'shop@example.com', user: username, recipients: [to] });
    expect(fieldOf(parsed, 'from')).toBe('Shop <shop@example.com>');
    expect(fieldOf(parsed, 'to')).toBe(`Ada <${to}>`);
    expect(parsed.body).toBe('Hi\r\n.\r\n..Ada\r\n');
    expect(sent).toMatchObject({ messageId: fieldOf(parsed, 'message-id') });
  });

  it('arrives once for somebody who is named twice, and names nobody of bcc', async () => {
    const [to, cc, bcc] = [somebody(), somebody(), somebody()];
    await output(callOpen('send', mail({ to: [to, to], cc: [cc, to], bcc, returnPath: 'bounces@example.com' })));
    const { raw, recipients, from } = await only(bcc);
    expect(recipients).toEqual([to, cc, bcc]);
    expect(from).toBe('bounces@example.com');
    expect(raw).not.toContain(bcc);
    expect(raw.toLowerCase()).not.toContain('bcc:');
  });

  it('is the same message when a step is tried again', async () => {
    const to = somebody();
    await output(callOpen('send', mail({ to })));
    await output(callOpen('send', mail({ to })));
    const ids = (await received(to)).map(({ raw }) => fieldOf(parse(raw), 'message-id'));
    expect(ids).toHaveLength(2);
    expect(ids[0]).toMatch(/^<[0-9a-f]{32}@example\.com>$/);
    expect(ids[1]).toBe(ids[0]);
  });

  it('carries attachments from its parameters and from a store, byte for byte', async () => {
    const bytes = Uint8Array.from({ length: 70_000 }, (_, index) => (index * 31) % 256);
    await env.OBJECTS.put('invoice.pdf', bytes, { httpMetadata: { contentType: 'application/pdf' } });
    const to = somebody();
    const params = mail({
      to,
      attachments: [
        { filename: 'a.txt', text: 'größer' },
        { filename: 'b.bin', base64: btoa('\0\r\n.\r\n') },
        { filename: 'invoice.pdf', object: { key: 'invoice.pdf' } },
        { filename: 'other.pdf', object: { connection: 'archive', key: 'invoice.pdf' } },
      ],
    });
    const openStore: ActionContext['openStore'] = (name) => {
      expect(name).toBe('archive');
      return Promise.resolve(ok(createR2Store(env.OBJECTS, { signal: undefined })));
    };
    await output(callOpen('send', params, { openStore }));
    const { raw } = await only(to);
    expect(raw).toContain('Content-Type: application/pdf; name="invoice.pdf"\r\n');
    const bodies = raw.split(/\r\n\r\n/).map((part: string) => (part.split('\r\n--')[0] ?? '').replaceAll('\r\n', ''));
    expect(bodies).toContain(Buffer.from('größer').toString('base64'));
    expect(bodies).toContain(btoa('\0\r\n.\r\n'));
    expect(bodies.filter((body: string) => body === Buffer.from(bytes).toString('base64'))).toHaveLength(2);
  });

  it('is signed where the connection has a key', async () => {
    const { privateKey } = (await crypto.subtle.generateKey(
      { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256', modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) },
      true,
      ['sign', 'verify'],
    )) as CryptoKeyPair;
    const der = Buffer.from((await crypto.subtle.exportKey('pkcs8', privateKey)) as ArrayBuffer).toString('base64');
    const dkimPrivateKey = `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`;
    const to = somebody();
    const dkim = { domain: 'example.com', selector: 's1' };
    await output(at(ports.open, { dkim }, { dkimPrivateKey })('send', mail({ to })));
    const { raw, parsed } = await only(to);
    expect(raw).toMatch(/^DKIM-Signature: v=1; a=rsa-sha256; /);
    expect(parsed.fields[0]?.[0]).toBe('dkim-signature');
    await faultOf(at(ports.open, { dkim })('send', mail()), 'connection.invalid');
  });

  it('of letters beyond ASCII goes where the server takes them, and is refused elsewhere', async () => {
    const to = `żółw${++count}@example.com`;
    await output(call('send', mail({ to })));
    expect((await only(to)).unicode).toBe(true);
    const fault = await faultOf(callOpen('send', mail({ to })), 'upstream.rejected');
    expect(fault.message).toContain('beyond ASCII');
  });
});

describe('recipients', () => {
  it.each([
    ['with pipelining', call],
    ['one by one', callOpen],
  ])('that the server refuses are told as data, asked %s', async (_, send) => {
    const to = somebody();
    const sent = await output(send('send', mail({ to: [to, 'nobody@example.com', 'later@example.com'] })));
    expect(sent).toMatchObject({
      accepted: [to],
      rejected: [
        { address: 'nobody@example.com', code: 550, temporary: false },
        { address: 'later@example.com', code: 450, temporary: true },
      ],
    });
    expect((await only(to)).recipients).toEqual([to]);
  });

  it('that are all refused fail the step, for good or for now', async () => {
    const fault = await faultOf(call('send', mail({ to: 'nobody@example.com' })), 'upstream.rejected');
    expect(fault).toMatchObject({ retryable: false, data: { code: 550 } });
    const both = ['nobody@example.com', 'later@example.com'];
    expect((await faultOf(call('send', mail({ to: both })), 'upstream.unavailable')).retryable).toBe(true);
  });

  it('of a message that is refused at its end have got nothing', async () => {
    await faultOf(call('send', mail({ to: 'spam@example.com' })), 'upstream.rejected');
    await faultOf(call('send', mail({ to: 'busy@example.com' })), 'upstream.unavailable');
    expect(await received('spam@example.com')).toEqual([]);
  });
});

describe('before anything is sent', () => {
  const never: CallOptions = {
    connect: () => {
      throw new Error('connected');
    },
  };
  const injected = 'x\r\nRCPT TO:<eve@example.com>';

  it.each<[string, Record<string, unknown>]>([
    ['to', { to: `a@example.com>\r\nRCPT TO:<eve@example.com` }],
    ['to[1]', { to: ['a@example.com', 'eve@example.com, mallory@example.com'] }],
    ['cc', { cc: `${injected} <a@example.com>` }],
    ['bcc', { bcc: injected }],
    ['replyTo', { replyTo: `a@example.com\nBcc: eve@example.com` }],
    ['from', { from: `Shop\r\nBcc: eve@example.com <a@example.com>` }],
    ['returnPath', { returnPath: 'a@example.com> AUTH=<' }],
    ['subject', { subject: 'Hello\r\nBcc: eve@example.com' }],
    ['headers.X-A', { headers: { 'X-A': 'a\r\nBcc: eve@example.com' } }],
    ['headers.Bcc', { headers: { Bcc: 'eve@example.com' } }],
    ['headers.X: a', { headers: { 'X: a\r\nBcc': 'eve@example.com' } }],
    ['to', { to: [] }],
    ['to', { to: Array.from({ length: 101 }, (_, index) => `a${index}@example.com`) }],
    ['text', { text: undefined }],
    ['attachments[0]', { attachments: [{ filename: 'a' }] }],
    ['attachments[0]', { attachments: [{ filename: 'a', text: 'a', base64: 'YQ==' }] }],
    ['attachments[0]', { attachments: [{ filename: 'a', text: 'a', object: { key: 'a' } }] }],
    ['attachments[0]', { attachments: [{ filename: 'a', base64: '%%%' }] }],
    ['attachments[1]', { attachments: Array(2).fill({ filename: 'a', text: 'x'.repeat(8_000_000) }) }],
  ])('a mistake in %s is refused, and named', async (field, more) => {
    const fault = await faultOf(call('send', mail(more), never), 'step.params');
    expect(fault.message).toContain(field);
  });

  it.each<Record<string, unknown>>([
    { attachments: [{ filename: 'a\r\nX: y', text: '' }] },
    { attachments: [{ filename: '../a', text: '' }] },
    { attachments: [{ filename: 'a', text: '', contentType: 'text/html\r\nX: y' }] },
    { attachments: [{ filename: 'a', text: '', contentId: 'a>\r\nX: y' }] },
    { calendar: { method: 'REQUEST\r\nX: y', text: 'BEGIN:VCALENDAR' } },
  ])('%j is refused by the schema', async (more) => {
    await expect(call('send', mail(more), never)).rejects.toThrow();
  });

  it('a connection that came with data is refused', async () => {
    const attachments = [{ filename: 'a', object: { connection: 'secret-store', key: 'a' } }];
    const fault = await faultOf(
      call('send', mail({ attachments }), {
        ...never,
        written: { attachments: [{ object: { connection: '{{ trigger.body.store }}' } }] },
      }),
      'step.params',
    );
    expect(fault.message).toContain('attachments[0].object.connection');
    await faultOf(
      call('send', mail({ attachments }), { ...never, written: { attachments: '{{ x }}' } }),
      'step.params',
    );
  });

  it('a message that is larger than the server takes is refused without it', async () => {
    const attachments = [{ filename: 'a', text: 'x'.repeat(sizeBytes) }];
    const fault = await faultOf(callOpen('send', mail({ attachments })), 'upstream.rejected');
    expect(fault.message).toContain(String(sizeBytes));
  });
});

describe('a connection', () => {
  it.each([
    ['LOGIN', ports.plain],
    ['PLAIN', ports.open],
  ])('is probed with its credentials, by AUTH %s', async (_, port) => {
    const probe = smtp.connection?.probe?.({});
    expect(probe?.action).toBe('verify');
    expect(await output(at(ports.plain, { username }, { password })('verify', {}))).toMatchObject({
      extensions: expect.arrayContaining(['AUTH', 'SIZE']),
    });
    const wrong = at(port, { username }, { password: 'not-the-password' });
    const fault = await faultOf(wrong('verify', {}), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    expect(written(fault)).not.toContain('not-the-password');
    expect(written(fault)).not.toContain(btoa('not-the-password'));
  });

  it('without a login at a server that wants one is unauthorized', async () => {
    await faultOf(at(ports.plain)('send', mail()), 'upstream.unauthorized');
    await faultOf(at(ports.plain, { username })('send', mail()), 'connection.invalid');
  });

  it('to a server whose certificate nobody trusts sends nothing', async () => {
    for (const [tls, port] of [
      ['implicit', ports.implicit],
      ['starttls', ports.starttls],
    ] as const) {
      const to = somebody();
      const fault = await faultOf(
        at(port, { host: 'localhost', tls, username }, { password })('send', mail({ to })),
        'upstream.unreachable',
      );
      expect(fault.message).toContain('certificate');
      expect(written(fault)).not.toContain(password);
      expect(await received(to)).toEqual([]);
    }
  });

  it('with TLS where there is none, or the other way about, fails', async () => {
    await faultOf(at(ports.plain, { tls: 'implicit' })('verify', {}), 'upstream.unreachable');
    await faultOf(at(ports.open, { tls: 'starttls' })('verify', {}), 'connection.invalid');
  });

  it('to an address where nobody listens is unreachable, which may pass', async () => {
    expect((await faultOf(at(1)('verify', {}), 'upstream.unreachable')).retryable).toBe(true);
  });

  it('opens no socket to another address than its own', async () => {
    const fault = await faultOf(
      at(ports.open)('send', mail(), { connect: (_, how) => ok(connect({ hostname: host, port: 1 }, how)) }),
      'upstream.unreachable',
    );
    expect(fault.retryable).toBe(true);
    expect(smtp.connection?.sockets?.({ host: 'mail.example.com', tls: 'starttls' }, {})).toEqual([
      { hostname: 'mail.example.com', port: 587 },
    ]);
  });

  it.each([
    { host: 'mail.example.com', tls: 'disable', username: 'u' },
    { host: '8.8.8.8', tls: 'disable', username: 'u' },
    {
      host: '10.0.0.1',
      tls: 'disable',
      username: 'u',
      oauth: { grant: 'client_credentials', clientId: 'c', issuer: 'https://a.example' },
    },
    { host: 'mail.example.com', oauth: { grant: 'client_credentials', clientId: 'c', issuer: 'https://a.example' } },
    { host: 'mail.example.com\r\nX', username: 'u' },
    { host: 'a', clientName: 'a\r\nMAIL' },
    { host: 'a', dkim: { domain: 'a.example; s=x', selector: 's' } },
    { host: 'a', dkim: { domain: 'a.example', selector: 's; d=b.example' } },
  ])('is refused with the settings %j', (settings) => {
    expect(v.safeParse(smtp.connection?.settings ?? v.never(), settings).success).toBe(false);
  });
});

describe('a token', () => {
  const tokens = (...given: string[]) => {
    const asked: unknown[] = [];
    return {
      asked,
      get: (refused?: unknown) => {
        asked.push(refused);
        const generation = Math.min(asked.length, given.length);
        return ok({ token: given[generation - 1] ?? '', generation });
      },
    };
  };
  const oauth = { grant: 'client_credentials', clientId: 'c', issuer: 'https://issuer.example' };
  /** Over TLS only, which these servers' certificate does not allow here: the connection is opened as if it were. */
  const withTokens = async (source: ReturnType<typeof tokens>, port: number) => {
    const action = smtp.actions['verify'];
    if (action === undefined) throw new Error('no action');
    const settings = { host, port, tls: 'disable', username, clientName: 'test', oauth };
    const context = {
      connect: (address: SocketAddress, how: SocketOptions) => ok(connect(address, how)),
      connection: { name: 'test', settings, secrets: {}, tokens: source },
      signal: undefined,
    };
    return action.run({}, context as unknown as ActionContext);
  };

  it('takes the place of a password', async () => {
    expect((await withTokens(tokens(token), ports.plain)).ok).toBe(true);
  });

  it('that is refused is renewed once', async () => {
    const source = tokens('an-old-token', token);
    expect((await withTokens(source, ports.plain)).ok).toBe(true);
    expect(source.asked).toEqual([undefined, { token: 'an-old-token', generation: 1 }]);
    const refused = tokens('an-old-token');
    const fault = await faultOf(withTokens(refused, ports.plain), 'upstream.unauthorized');
    expect(refused.asked).toHaveLength(2);
    expect(written(fault)).not.toContain('an-old-token');
  });
});

describe('a hostile server', () => {
  const secret = 'canary-password';
  const against = (attack: keyof typeof hostile, settings: Record<string, unknown> = {}) =>
    at(hostile[attack], { username: 'canary-user', ...settings }, { password: secret });

  it('that speaks before TLS is not believed', async () => {
    const fault = await faultOf(against('injection', { tls: 'starttls' })('send', mail()), 'upstream.invalid');
    expect(fault.message).toContain('before TLS');
  });

  it('that takes the offer of TLS away gets no login', async () => {
    await faultOf(against('stripping', { tls: 'starttls' })('send', mail()), 'connection.invalid');
  });

  it.each(['echo', 'laterEcho'] as const)('that repeats the login has it shown nowhere (%s)', async (attack) => {
    const failed = await against(attack)('send', mail());
    if (failed.ok) throw new Error('sent');
    for (const form of [secret, btoa(secret), btoa(`\0canary-user\0${secret}`)]) {
      expect(written(failed.fault)).not.toContain(form);
    }
  });

  it.each(['flood', 'longLine'] as const)('that never ends its reply is left (%s)', async (attack) => {
    await faultOf(against(attack)('send', mail()), 'upstream.too-large');
  });

  it('that speaks something else is told apart', async () => {
    await faultOf(against('http')('send', mail()), 'upstream.invalid');
  });

  it('that is about to go is tried again', async () => {
    expect((await faultOf(against('closing')('send', mail()), 'upstream.unavailable')).retryable).toBe(true);
  });

  it('that hangs up within the message has not got it', async () => {
    const attachments = [{ filename: 'a', text: 'x'.repeat(8_000_000) }];
    const fault = await faultOf(against('hangUpEarly')('send', mail({ attachments })), 'upstream.unreachable');
    expect(fault.retryable).toBe(true);
  });

  it('that hangs up after the message leaves open whether it has it, and gets no second', async () => {
    expect((await faultOf(against('hangUp')('send', mail()), 'step.ambiguous')).retryable).toBe(false);
  });

  it('that says nothing is left when the step ends', async () => {
    const started = Date.now();
    const signal = AbortSignal.timeout(200);
    expect((await faultOf(against('silence')('send', mail(), { signal }), 'step.timeout')).retryable).toBe(true);
    const end = AbortSignal.timeout(200);
    await faultOf(against('silenceAtEnd')('send', mail(), { signal: end }), 'step.ambiguous');
    expect(Date.now() - started).toBeLessThan(5_000);
    await faultOf(against('silence')('send', mail(), { signal: AbortSignal.abort() }), 'step.timeout');
  });
});
