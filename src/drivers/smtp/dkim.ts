/**
 * DKIM (RFC 6376; Ed25519: RFC 8463), relaxed/relaxed.
 *
 * Guarantee: a message is signed or refused, never sent without. Every field is signed, and those that a reader sees
 * once more as absent, so that nobody adds a second `From` or `Subject` on the way (section 8.15).
 */

import type { Message } from './message.ts';
import { field } from './header.ts';
import { fail, ok, type Result } from '../../core/errors.ts';

export interface DkimKey {
  readonly domain: string;
  readonly selector: string;
  /** PEM, RSA or Ed25519. */
  readonly privateKey: string;
}

/** The field that goes before all others. Fault `connection.invalid` for a key that cannot sign. */
export async function dkimField(message: Message, key: DkimKey, sentAt: number): Promise<Result<string>> {
  // Here, so that it is loaded only where a message is signed.
  const { createHash, createPrivateKey, sign } = await import('node:crypto');
  const refuse = (why: string): Result<never> => fail('connection.invalid', `dkimPrivateKey: ${why}`);
  const privateKey = parsed(() => createPrivateKey(key.privateKey));
  if (privateKey === undefined) return refuse('Is no private key in PEM that can be read.');
  const type = privateKey.asymmetricKeyType;
  if (type !== 'rsa' && type !== 'ed25519') return refuse('Must be an RSA or Ed25519 key.');
  if (type === 'rsa' && (privateKey.asymmetricKeyDetails?.modulusLength ?? 0) < 1024) {
    return refuse('Receivers refuse RSA keys under 1024 bits.');
  }
  const bodyHash = createHash('sha256');
  for (const piece of canonicalBody(message.body)) bodyHash.update(piece, 'latin1');
  const names = [...message.fields.map(nameOf), ...SEALED];
  const unsigned = field(
    'DKIM-Signature',
    `v=1; a=${type}-sha256; c=relaxed/relaxed; d=${key.domain}; s=${key.selector}; t=${Math.floor(sentAt / 1000)}; ` +
      `h=${names.join(': ')}; bh=${bodyHash.digest('base64')}; b=`,
  );
  const signed = message.fields.map((text) => `${canonicalField(text)}\r\n`).join('') + canonicalField(unsigned);
  const bytes = new TextEncoder().encode(signed);
  const signature = parsed(() =>
    type === 'rsa'
      ? sign('sha256', bytes, privateKey)
      : sign(null, createHash('sha256').update(bytes).digest(), privateKey),
  );
  if (signature === undefined) return refuse('Cannot sign.');
  const lines = signature.toString('base64').replace(/.{1,74}/g, '\r\n $&');
  return ok(`${unsigned.slice(0, -2)}${lines}\r\n`);
}

const SEALED = ['from', 'to', 'cc', 'reply-to', 'subject', 'date', 'message-id', 'mime-version', 'content-type'];

function parsed<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch {
    // Its message may quote the key.
    return undefined;
  }
}

const nameOf = (text: string): string => text.slice(0, text.indexOf(':')).toLowerCase();

/** Section 3.4.2, without the line break. */
function canonicalField(text: string): string {
  const value = text.slice(text.indexOf(':') + 1).replaceAll('\r\n', '');
  return `${nameOf(text)}:${value.replace(/[ \t]+/g, ' ').replace(/^ | $/g, '')}`;
}

/** Section 3.4.4. Lines are short, and only the last piece may end with empty ones. */
function* canonicalBody(pieces: readonly string[]): Iterable<string> {
  for (const [index, piece] of pieces.entries()) {
    let text = piece.replace(/[ \t]+/g, ' ').replaceAll(' \r\n', '\r\n');
    if (index === pieces.length - 1) {
      while (text.endsWith('\r\n\r\n')) text = text.slice(0, -2);
      if (text === '\r\n') text = '';
    }
    yield text;
  }
}
