/** Mail as somebody else reads it: signatures by RFC 6376, written apart from what signs. */

import { createHash, createPublicKey, verify, type KeyObject } from 'node:crypto';

export interface Parsed {
  /** Unfolded, in order; names in lower case. */
  readonly fields: readonly (readonly [name: string, raw: string])[];
  readonly body: string;
}

/** @param raw the bytes as latin1 */
export function parse(raw: string): Parsed {
  const end = raw.indexOf('\r\n\r\n');
  const lines = raw.slice(0, end).split(/\r\n(?![ \t])/);
  return {
    fields: lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1)]),
    body: raw.slice(end + 4),
  };
}

export const fieldOf = ({ fields }: Parsed, name: string): string | undefined =>
  fields
    .find(([each]) => each === name)?.[1]
    .replace(/\r\n/g, '')
    .trim();

const relaxed = (value: string): string =>
  value
    .replace(/\r\n/g, '')
    .replace(/[ \t]+/g, ' ')
    .trim();

function relaxedBody(body: string): string {
  const lines = body.split('\r\n').map((line) => line.replace(/[ \t]+/g, ' ').replace(/ $/, ''));
  while (lines.at(-1) === '') lines.pop();
  return lines.length === 0 ? '' : `${lines.join('\r\n')}\r\n`;
}

/** What is wrong with the signature, or undefined. */
export function dkimProblem(raw: string, publicKey: KeyObject): string | undefined {
  const mail = parse(raw);
  const index = mail.fields.findIndex(([name]) => name === 'dkim-signature');
  const [, signature = ''] = mail.fields[index] ?? [];
  if (index < 0) return 'no signature';
  const tags = new Map(
    signature
      .replace(/[\r\n\t ]+/g, ' ')
      .split(';')
      .map((tag) => [tag.slice(0, tag.indexOf('=')).trim(), tag.slice(tag.indexOf('=') + 1).trim()]),
  );
  const bodyHash = createHash('sha256').update(relaxedBody(mail.body), 'latin1').digest('base64');
  if (tags.get('bh') !== bodyHash) return 'body hash';
  const rest = mail.fields.filter((_, each) => each !== index).map(([name, value]) => ({ name, value, used: false }));
  const signed = (tags.get('h') ?? '').split(':').flatMap((written) => {
    const name = written.trim().toLowerCase();
    const field = rest.findLast((each) => each.name === name && !each.used);
    if (field === undefined) return [];
    field.used = true;
    return [`${name}:${relaxed(field.value)}\r\n`];
  });
  if (!signed.some((line) => line.startsWith('from:'))) return 'from is not signed';
  const own = relaxed(signature.replace(/(;\s*b=)[^;]*/, '$1'));
  const bytes = Buffer.from(`${signed.join('')}dkim-signature:${own}`, 'latin1');
  const value = Buffer.from((tags.get('b') ?? '').replaceAll(' ', ''), 'base64');
  const isEd25519 = publicKey.asymmetricKeyType === 'ed25519';
  const fits = isEd25519
    ? verify(null, createHash('sha256').update(bytes).digest(), publicKey, value)
    : verify('sha256', bytes, publicKey, value);
  return fits ? undefined : 'signature';
}

export const publicKeyOf = (pem: string): KeyObject => createPublicKey(pem);
