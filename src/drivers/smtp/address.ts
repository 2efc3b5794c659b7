/**
 * Addresses of mail (RFC 5321, section 4.1.2; RFC 6531).
 *
 * Guarantee: what comes out holds no character that could end a command or a header field, or name a second
 * mailbox. Quoted local parts and address literals, which nobody has and parsers disagree on, are refused.
 */

import { fail, ok, type Result } from '../../core/errors.ts';

export interface Mailbox {
  /** Empty where there is none. */
  readonly name: string;
  /** The domain in ASCII; the local part may be Unicode. */
  readonly address: string;
}

const NAMED = /^([^<>]*)<([^<>]*)>$/;
const LOCAL = /^[^\p{Cc}\p{Z}"(),:;<>@[\\\].]+(?:\.[^\p{Cc}\p{Z}"(),:;<>@[\\\].]+)*$/u;
const DOMAIN = /^(?=.{1,253}$)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** RFC 5321, sections 4.5.3.1.1 and 4.5.3.1.3, without the angle brackets. */
const LOCAL_BYTES = 64;
const ADDRESS_BYTES = 254;

const bytesOf = (text: string): number => new TextEncoder().encode(text).length;

/**
 * @param text `ada@example.com` or `Ada Lovelace <ada@example.com>`
 * @param field how the author calls it, for the fault `step.params`
 */
export function parseMailbox(text: string, field: string): Result<Mailbox> {
  const refuse = (why: string): Result<never> => fail('step.params', `${field}: ${why}`);
  if (/\p{Cc}/u.test(text)) return refuse('Must not contain line breaks or other control characters.');
  if (!text.isWellFormed()) return refuse('Is not valid Unicode: it holds half a character.');
  const [, written = '', bare = text] = NAMED.exec(text.trim()) ?? [];
  const address = bare.trim();
  const at = address.lastIndexOf('@');
  const local = address.slice(0, Math.max(0, at));
  const domain = asciiDomain(address.slice(at + 1));
  if (!LOCAL.test(local) || domain === undefined) {
    return refuse('Must be one address, such as ada@example.com or Ada <ada@example.com>.');
  }
  if (bytesOf(local) > LOCAL_BYTES || bytesOf(local) + 1 + domain.length > ADDRESS_BYTES) {
    return refuse('The address is longer than mail allows.');
  }
  const name = written.trim().replace(/^"(.*)"$/, '$1');
  return ok({ name, address: `${local}@${domain}` });
}

/** Undefined for what is no domain, an address literal among it. */
export function asciiDomain(domain: string): string | undefined {
  // The URL parser decodes and maps more than names may have; it is asked about Unicode only.
  const isAscii = /^[\x21-\x7e]+$/.test(domain);
  const ascii = isAscii ? domain.toLowerCase() : URL.parse(`http://${domain}/`)?.hostname;
  const isName = ascii !== undefined && (isAscii || /^[\p{L}\p{M}\p{N}.-]+$/u.test(domain)) && DOMAIN.test(ascii);
  return isName && !/(?:^|\.)\d+$/.test(ascii) ? ascii : undefined;
}

export const domainOf = ({ address }: Mailbox): string => address.slice(address.lastIndexOf('@') + 1);

/** Such an address needs SMTPUTF8 (RFC 6531) of every server on its way. */
export const isUnicode = (address: string): boolean => /[^\x20-\x7e]/.test(address);
