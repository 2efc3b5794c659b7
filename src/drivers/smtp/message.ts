/**
 * A message as the bytes that a server takes (RFC 5322, RFC 2045 to 2049).
 *
 * Guarantee: the same mail gives the same message, so that an attempt that is repeated sends what it sent before.
 * No text of the caller reaches a header but encoded, or checked by {@link checkField}.
 */

import { Buffer } from 'node:buffer';
import { isUnicode, type Mailbox } from './address.ts';
import { base64Body, textBody } from './body.ts';
import { field, headerText, LINE_BYTES, mailboxText, parameter } from './header.ts';
import { fail, ok, type Result } from '../../core/errors.ts';

export interface Attachment {
  readonly filename: string;
  /** One that {@link isMediaType} accepts. */
  readonly contentType: string;
  /** By which the HTML names it, as `cid:logo`; it is then shown in place. */
  readonly contentId?: string | undefined;
  readonly bytes: Uint8Array;
}

export interface Mail {
  readonly from: Mailbox;
  readonly to: readonly Mailbox[];
  readonly cc: readonly Mailbox[];
  readonly replyTo: readonly Mailbox[];
  readonly subject: string;
  readonly text?: string | undefined;
  readonly html?: string | undefined;
  /** RFC 6047: `method` as it stands in the calendar. */
  readonly calendar?: { readonly method: string; readonly text: string } | undefined;
  /** Further fields, each accepted by {@link checkField}. */
  readonly headers: Readonly<Record<string, string>>;
  readonly attachments: readonly Attachment[];
  /** Without its angle brackets. */
  readonly messageId: string;
  /** Unix milliseconds. */
  readonly sentAt: number;
  /** What no other message has, of letters and digits; boundaries are made of it. */
  readonly seed: string;
}

export interface Message {
  /** Fields with their line breaks, in order. */
  readonly fields: readonly string[];
  /** ASCII, in pieces that end with a line break. */
  readonly body: readonly string[];
  /** Whether an address makes the header other than ASCII. */
  readonly unicode: boolean;
}

const MEDIA_TYPE =
  /^(?!multipart\/|message\/)[\w!#$&^.+-]{1,100}\/[\w!#$&^.+-]{1,100}(?:; ?[\w-]{1,50}=[\w.+-]{1,100}){0,5}$/i;

/** Without types whose bytes are a part of the message's own structure. */
export const isMediaType = (text: string): boolean => MEDIA_TYPE.test(text);

/** Fields that are made from something else, that servers on the way write, or that say how the body is read. */
const OWN_FIELDS =
  /^(?:from|sender|to|cc|bcc|reply-to|subject|date|message-id|mime-version|content-.*|dkim-signature|arc-.*|received|return-path|resent-.*|authentication-results)$/;

/** Fault `step.params` for a further field that may not be sent. */
export function checkField(name: string, value: string): Result<string> {
  const at = `headers.${name.slice(0, 100)}`;
  if (!/^[A-Za-z0-9][A-Za-z0-9-]{0,75}$/.test(name)) return fail('step.params', `${at}: Is no name of a header field.`);
  if (OWN_FIELDS.test(name.toLowerCase())) return fail('step.params', `${at}: Is written by the gateway; remove it.`);
  if (/\p{Cc}/u.test(value) || !value.isWellFormed() || value.trim() === '') {
    return fail('step.params', `${at}: Must be a text without line breaks and other control characters.`);
  }
  const written = /^[\x20-\x7e]*$/.test(value) ? field(name, value) : field(name, headerText(value));
  const isLong = written.split('\r\n').some((line) => line.length > LINE_BYTES);
  return isLong ? fail('step.params', `${at}: Has a word that is too long for a line of mail.`) : ok(written);
}

/** Fault `step.params` for a field that may not be sent. */
export function compose(mail: Mail): Result<Message> {
  const list = (mailboxes: readonly Mailbox[]): string => mailboxes.map(mailboxText).join(', ');
  const fields = [
    field('Date', dateText(mail.sentAt)),
    field('From', mailboxText(mail.from)),
    ...(mail.to.length > 0 ? [field('To', list(mail.to))] : []),
    ...(mail.cc.length > 0 ? [field('Cc', list(mail.cc))] : []),
    ...(mail.replyTo.length > 0 ? [field('Reply-To', list(mail.replyTo))] : []),
    field('Subject', headerText(mail.subject)),
    field('Message-ID', `<${mail.messageId}>`),
  ];
  const names = new Set<string>();
  for (const [name, value] of Object.entries(mail.headers)) {
    const checked = checkField(name, value);
    if (!checked.ok) return checked;
    if (names.has(name.toLowerCase())) return fail('step.params', `headers.${name}: Is given twice.`);
    names.add(name.toLowerCase());
    fields.push(checked.value);
  }
  const { fields: content, body } = contentOf(mail);
  const mailboxes = [mail.from, ...mail.to, ...mail.cc, ...mail.replyTo];
  return ok({
    fields: [...fields, field('MIME-Version', '1.0'), ...content],
    body,
    unicode: mailboxes.some(({ address }) => isUnicode(address)),
  });
}

export const sizeOf = ({ fields, body }: Message): number =>
  fields.reduce((sum, text) => sum + Buffer.byteLength(text), 2) + body.reduce((sum, text) => sum + text.length, 0);

/** RFC 5322, section 3.3: as `toUTCString`, but for the zone. */
const dateText = (sentAt: number): string => new Date(sentAt).toUTCString().replace('GMT', '+0000');

interface Part {
  readonly fields: readonly string[];
  readonly body: readonly string[];
}

/** Several parts as one, or the only one as it is. Undefined for none. */
type Join = (subtype: string, parts: readonly Part[], more?: string) => Part;

function contentOf(mail: Mail): Part {
  let boundaries = 0;
  const join: Join = (subtype, parts, more = '') => {
    const [only] = parts;
    if (only !== undefined && parts.length === 1) return only;
    // `=_` stands in no body: quoted-printable writes `=` with two digits, base64 at its end only.
    const boundary = `=_${mail.seed}_${++boundaries}`;
    const body = parts.flatMap((part) => [`--${boundary}\r\n${part.fields.join('')}\r\n`, ...part.body]);
    return {
      fields: [field('Content-Type', `multipart/${subtype}${more}; boundary="${boundary}"`)],
      body: [...body, `--${boundary}--\r\n`],
    };
  };
  const inline = mail.html === undefined ? [] : mail.attachments.filter(({ contentId }) => contentId !== undefined);
  const alternatives: Part[] = [];
  if (mail.text !== undefined) alternatives.push(textPart('text/plain', mail.text));
  if (mail.html !== undefined) {
    const html = textPart('text/html', mail.html);
    alternatives.push(join('related', [html, ...inline.map(attachmentPart)], '; type="text/html"'));
  }
  if (mail.calendar !== undefined) {
    alternatives.push(textPart(`text/calendar; method=${mail.calendar.method}`, mail.calendar.text));
  }
  const attached = mail.attachments.filter((attachment) => !inline.includes(attachment));
  return join('mixed', [join('alternative', alternatives), ...attached.map(attachmentPart)]);
}

function textPart(type: string, text: string): Part {
  const body = textBody(text);
  return {
    fields: [field('Content-Type', `${type}; charset=utf-8`), field('Content-Transfer-Encoding', body.encoding)],
    body: [body.text],
  };
}

function attachmentPart({ filename, contentType, contentId, bytes }: Attachment): Part {
  const disposition = contentId === undefined ? 'attachment' : 'inline';
  return {
    fields: [
      // Older programs look for the name here.
      field('Content-Type', contentType + parameter('name', filename)),
      field('Content-Transfer-Encoding', 'base64'),
      field('Content-Disposition', disposition + parameter('filename', filename)),
      ...(contentId === undefined ? [] : [field('Content-ID', `<${contentId}>`)]),
    ],
    body: [base64Body(bytes)],
  };
}
