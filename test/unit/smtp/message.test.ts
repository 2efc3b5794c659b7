/** Messages, read back by the parser of Python's standard library, and signatures checked apart from what makes them. */

import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asciiDomain, parseMailbox } from '../../../src/drivers/smtp/address.ts';
import { dkimField } from '../../../src/drivers/smtp/dkim.ts';
import {
  checkField,
  compose,
  isMediaType,
  sizeOf,
  type Mail,
  type Message,
} from '../../../src/drivers/smtp/message.ts';
import { stuffed } from '../../../src/drivers/smtp/smtp.ts';
import { dkimProblem, fieldOf, parse } from '../../support/mail.ts';

const ADA = { name: 'Ada Lovelace', address: 'ada@example.com' };
const GRACE = { name: '', address: 'grace@example.org' };
const MAIL: Mail = {
  from: ADA,
  to: [GRACE],
  cc: [],
  replyTo: [],
  subject: 'Hello',
  text: 'Hi Grace,\nall is well.\n',
  headers: {},
  attachments: [],
  messageId: 'abc@example.com',
  sentAt: Date.UTC(2026, 0, 2, 3, 4, 5),
  seed: 'abc',
};

function composed(mail: Partial<Mail> = {}): Message {
  const message = compose({ ...MAIL, ...mail });
  if (!message.ok) throw new Error(message.fault.message);
  return message.value;
}

const rawOf = ({ fields, body }: Message): string =>
  Buffer.from([...fields, '\r\n', ...body].join('')).toString('latin1');

interface Seen {
  readonly headers: Record<string, string>;
  readonly parts: readonly {
    type: string;
    filename: string | null;
    cid: string | null;
    base64: string;
    path: string;
  }[];
  readonly defects: string[];
}

const READER = `
import sys, json, base64, email, email.policy
raw = base64.b64decode(sys.stdin.read())
mail = email.message_from_bytes(raw, policy=email.policy.default)
parts, defects = [], [str(d) for d in mail.defects]
def walk(part, path):
    defects.extend(str(d) for d in part.defects)
    if part.is_multipart():
        for each in part.iter_parts(): walk(each, path + '/' + part.get_content_subtype())
    else:
        parts.append(dict(type=part.get_content_type(), filename=part.get_filename(), cid=part['content-id'], path=path,
            base64=base64.b64encode(part.get_payload(decode=True)).decode()))
walk(mail, '')
headers = {}
for name, value in mail.items():
    defects.extend(str(d) for d in value.defects)
    headers[name.lower()] = str(value)
print(json.dumps(dict(headers=headers, parts=parts, defects=defects)))
`;

const seen = (message: Message): Seen =>
  JSON.parse(
    execFileSync('python3', ['-c', READER], {
      input: Buffer.from(rawOf(message), 'latin1').toString('base64'),
    }).toString(),
  ) as Seen;

const text = (base64: string | undefined): string => Buffer.from(base64 ?? '', 'base64').toString();

describe('a message', () => {
  it('is read by others as it was meant', () => {
    const message = composed({
      subject: 'Größe: 3 × 4 😀 and a subject that is long enough to take several lines of a header of mail',
      cc: [{ name: 'Łukasz "the" Kowalski', address: 'l@example.com' }],
      replyTo: [{ name: 'Support, Team', address: 'support@example.com' }],
      text: 'Zeile 1  \n.\n..two\nü=ö\t\n' + 'x'.repeat(300),
      html: '<p>ünï <img src="cid:logo"></p>',
      calendar: { method: 'REQUEST', text: 'BEGIN:VCALENDAR\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n' },
      headers: { 'X-Campaign': 'spring', 'List-Unsubscribe': '<https://example.com/u>', 'X-Note': 'ünï' },
      attachments: [
        { filename: 'logo.png', contentType: 'image/png', contentId: 'logo', bytes: new Uint8Array([1, 2, 3]) },
        { filename: 'Rechnung für Ärzte "ja"; 100%.pdf', contentType: 'application/pdf', bytes: Buffer.alloc(500, 7) },
        { filename: `${'sehr-länger-'.repeat(12)}.txt`, contentType: 'text/plain', bytes: new Uint8Array() },
      ],
    });
    const mail = seen(message);
    expect(mail.defects).toEqual([]);
    expect(mail.headers).toMatchObject({
      from: 'Ada Lovelace <ada@example.com>',
      to: 'grace@example.org',
      cc: '"Łukasz \\"the\\" Kowalski" <l@example.com>',
      'reply-to': '"Support, Team" <support@example.com>',
      subject: 'Größe: 3 × 4 😀 and a subject that is long enough to take several lines of a header of mail',
      'message-id': '<abc@example.com>',
      date: 'Fri, 02 Jan 2026 03:04:05 +0000',
      'x-campaign': 'spring',
      'x-note': 'ünï',
    });
    expect(mail.parts.map(({ type, path }) => `${path} ${type}`)).toEqual([
      '/mixed/alternative text/plain',
      '/mixed/alternative/related text/html',
      '/mixed/alternative/related image/png',
      '/mixed/alternative text/calendar',
      '/mixed application/pdf',
      '/mixed text/plain',
    ]);
    expect(text(mail.parts[0]?.base64)).toBe(`Zeile 1  \r\n.\r\n..two\r\nü=ö\t\r\n${'x'.repeat(300)}`);
    expect(text(mail.parts[1]?.base64)).toBe('<p>ünï <img src="cid:logo"></p>');
    expect(mail.parts[2]).toMatchObject({ filename: 'logo.png', cid: '<logo>', base64: 'AQID' });
    expect(mail.parts[4]?.filename).toBe('Rechnung für Ärzte "ja"; 100%.pdf');
    expect(mail.parts[4]?.base64).toBe(Buffer.alloc(500, 7).toString('base64'));
    expect(mail.parts[5]?.filename).toBe(`${'sehr-länger-'.repeat(12)}.txt`);
  });

  it('has lines that any server takes, in ASCII, and says its size', () => {
    const message = composed({ text: 'ü'.repeat(5_000), subject: 'x'.repeat(2_000), to: Array(100).fill(ADA) });
    const raw = rawOf(message);
    expect(Math.max(...raw.split('\r\n').map(({ length }) => length))).toBeLessThanOrEqual(78);
    expect(raw).toMatch(/^[\x20-\x7e\r\n]*$/);
    expect(raw.replaceAll('\r\n', '')).not.toMatch(/[\r\n]/);
    expect(sizeOf(message)).toBe(raw.length);
  });

  it('is the same for the same mail', () => {
    expect(rawOf(composed({ html: 'a' }))).toBe(rawOf(composed({ html: 'a' })));
  });

  it('keeps any text and any subject', () => {
    const line = fc.string({ unit: 'grapheme', maxLength: 120 }).filter((each) => !/\p{Cc}/u.test(each));
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 5 }), line, (lines, subject) => {
        const mail = seen(composed({ text: lines.join('\n'), subject: `S${subject.trim()}`, html: '<p>' }));
        expect(text(mail.parts[0]?.base64).replace(/(\r\n)+$/, '')).toBe(lines.join('\r\n').replace(/(\r\n)+$/, ''));
        expect(mail.headers['subject']?.replace(/\s+/g, ' ')).toBe(`S${subject.trim()}`.replace(/\s+/g, ' '));
      }),
      { numRuns: 12 },
    );
  });

  it('is never ended by a line of its own', () => {
    const bytes = Buffer.concat([...stuffed(['.\r\n', 'a\r\n.\r\n..\r\n.b\r\n'])]);
    expect(bytes.toString()).toBe('..\r\na\r\n..\r\n...\r\n..b\r\n');
  });
});

describe('a header field', () => {
  it.each([
    ['Bcc', 'x@example.com'],
    ['bCC', 'x@example.com'],
    ['From', 'x@example.com'],
    ['Content-Type', 'text/html'],
    ['DKIM-Signature', 'v=1'],
    ['Resent-To', 'x@example.com'],
    ['X: y\r\nBcc', 'x@example.com'],
    ['X Y', 'z'],
    ['', 'z'],
    ['X-ü', 'z'],
  ])('by the name %j is refused', (name, value) => {
    const checked = checkField(name, value);
    expect(checked).toMatchObject({ ok: false, fault: { code: 'step.params' } });
  });

  it.each(['a\r\nBcc: x@example.com', 'a\nb', 'a\rb', 'a\0b', 'a\u0085b', '', ' ', '\ud800', 'x'.repeat(1_000)])(
    'with the value %j is refused by its name',
    (value) => {
      const checked = checkField('X-Test', value);
      expect(checked).toMatchObject({ ok: false, fault: { code: 'step.params' } });
      if (!checked.ok) expect(checked.fault.message).toContain('headers.X-Test');
    },
  );

  it('is refused the second time', () => {
    expect(compose({ ...MAIL, headers: { 'X-A': '1', 'x-a': '2' } })).toMatchObject({ ok: false });
  });
});

describe('an address', () => {
  it.each([
    ['ada@example.com', '', 'ada@example.com'],
    [' Ada <ada@Example.COM> ', 'Ada', 'ada@example.com'],
    ['"Lovelace, Ada" <a.l+tag@example.com>', 'Lovelace, Ada', 'a.l+tag@example.com'],
    ['ada@bücher.example', '', 'ada@xn--bcher-kva.example'],
    ['用户@例子.公司', '', '用户@xn--fsqu00a.xn--55qx5d'],
  ])('%j is understood', (written, name, address) => {
    expect(parseMailbox(written, 'to')).toEqual({ ok: true, value: { name, address } });
  });

  it.each([
    '',
    'ada',
    '@example.com',
    'ada@',
    'ada@example.com, eve@example.com',
    'a@b@example.com',
    'ada@example.com>\r\nRCPT TO:<eve@example.com',
    'Ada\r\nBcc: eve@example.com <ada@example.com>',
    'ada@exa\0mple.com',
    '<ada@example.com> SIZE=1',
    'ada@[127.0.0.1]',
    'ada@127.0.0.1',
    '"a b"@example.com',
    '.ada@example.com',
    'a..b@example.com',
    'ada @example.com',
    'ada@example..com',
    'ada@-example.com',
    'ada@example.com/path',
    'ada@ex%61mple.com',
    'ada@example.com:25',
    'ada\u2028@example.com',
    `${'a'.repeat(65)}@example.com`,
    `ada@${'a.'.repeat(130)}com`,
    '\ud800@example.com',
  ])('%j is refused, and the field named', (written) => {
    const parsed = parseMailbox(written, 'to[3]');
    expect(parsed).toMatchObject({ ok: false, fault: { code: 'step.params' } });
    if (!parsed.ok) expect(parsed.fault.message).toMatch(/^to\[3\]: /);
  });

  it('never holds what would end a command, whatever was written', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 30 }),
        fc.string({ unit: 'binary', maxLength: 10 }),
        (local, name) => {
          const parsed = parseMailbox(`${name}<${local}@example.com>`, 'to');
          if (parsed.ok) expect(parsed.value.address).toMatch(/^[^\s<>\p{Cc}]+@example\.com$/u);
        },
      ),
    );
    expect(asciiDomain('localhost')).toBe('localhost');
  });
});

it.each(['multipart/mixed', 'message/rfc822', 'text', 'text/plain\r\nX: y', 'text/html; x="a"', 'a/b; c'])(
  'an attachment of the type %j is refused',
  (type) => expect(isMediaType(type)).toBe(false),
);

describe('a DKIM signature', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const ed25519 = generateKeyPairSync('ed25519');
  const pemOf = (key: typeof rsa.privateKey, type: 'pkcs8' | 'pkcs1' = 'pkcs8'): string =>
    key.export({ type, format: 'pem' }).toString();
  const signedBy = async (privateKey: string, mail: Partial<Mail> = {}): Promise<string> => {
    const message = composed(mail);
    const field = await dkimField(message, { domain: 'example.com', selector: 's1', privateKey }, MAIL.sentAt);
    if (!field.ok) throw new Error(field.fault.message);
    return rawOf({ ...message, fields: [field.value, ...message.fields] });
  };
  const KEYS = {
    'RSA in PKCS #8': { pem: pemOf(rsa.privateKey), key: rsa.publicKey },
    'RSA in PKCS #1': { pem: pemOf(rsa.privateKey, 'pkcs1'), key: rsa.publicKey },
    Ed25519: { pem: pemOf(ed25519.privateKey), key: ed25519.publicKey },
  };

  it.each(Object.entries(KEYS))('by a key of %s is good, whatever the message', async (_, { pem, key }) => {
    const mails: Partial<Mail>[] = [
      {},
      { text: '' },
      { text: 'a\n\n\n' },
      { text: 'two  spaces\t \n and more  ', subject: 'a  b   ü' },
      { html: '<p>', attachments: [{ filename: 'a.txt', contentType: 'text/plain', bytes: Buffer.alloc(9_999, 1) }] },
      { from: { name: 'Ü', address: 'ü@example.com' } },
    ];
    for (const mail of mails) {
      const raw = await signedBy(pem, mail);
      expect(dkimProblem(raw, key), raw.slice(0, 2_000)).toBeUndefined();
      expect(Math.max(...raw.split('\r\n').map(({ length }) => length))).toBeLessThanOrEqual(200);
    }
  });

  it('breaks with each change that a reader would see', async () => {
    const raw = await signedBy(KEYS['RSA in PKCS #8'].pem);
    const problem = (changed: string): string | undefined => dkimProblem(changed, rsa.publicKey);
    expect(problem(raw)).toBeUndefined();
    expect(problem(raw.replace('all is well', 'all is lost'))).toBe('body hash');
    expect(problem(raw.replace('Subject: Hello', 'Subject: Bye'))).toBe('signature');
    expect(problem(raw.replace('Subject:', 'From: eve@example.com\r\nSubject:'))).toBe('signature');
    expect(problem(raw.replace('MIME-Version', 'Subject: Second\r\nMIME-Version'))).toBe('signature');
    expect(problem(raw.replace('MIME-Version', 'Cc: eve@example.com\r\nMIME-Version'))).toBe('signature');
    expect(dkimProblem(raw, createPublicKey(generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey))).toBe(
      'signature',
    );
  });

  it('survives what servers do to white space', async () => {
    const raw = await signedBy(KEYS['RSA in PKCS #8'].pem, { text: 'a b\nc' });
    expect(
      dkimProblem(raw.replace('a b', 'a   b  ').replace('Subject: ', 'subject:\r\n  ') + '\r\n\r\n', rsa.publicKey),
    ).toBeUndefined();
    expect(fieldOf(parse(raw), 'dkim-signature')).toMatch(
      /^v=1; a=rsa-sha256; c=relaxed\/relaxed; d=example.com; s=s1; /,
    );
  });

  it.each([
    ['nonsense', '-----BEGIN PRIVATE KEY-----\nsecret-key-text\n-----END PRIVATE KEY-----'],
    ['an elliptic key', pemOf(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey)],
    ['a short key', pemOf(generateKeyPairSync('rsa', { modulusLength: 512 }).privateKey)],
  ])('is refused for %s, never left out', async (_, privateKey) => {
    const field = await dkimField(composed(), { domain: 'example.com', selector: 's1', privateKey }, 0);
    expect(field).toMatchObject({ ok: false, fault: { code: 'connection.invalid' } });
    expect(JSON.stringify(field)).not.toContain('secret-key-text');
  });
});
