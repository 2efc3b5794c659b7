/** From the parameters of a step to a mail on its way. */

import { readAttachments } from './attachments.ts';
import { addressOf, type Secrets, type SendParams, type Settings } from './schemas.ts';
import type { AccessToken, ActionContext } from '../kit/types.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { domainOf, parseMailbox, type Mailbox } from '../../drivers/smtp/address.ts';
import { compose, sizeOf, type Message } from '../../drivers/smtp/message.ts';
import { send, type Envelope, type Login, type SmtpServer } from '../../drivers/smtp/smtp.ts';

export type Context = ActionContext<Settings, Secrets>;

export async function sendMail(params: SendParams, context: Context): Promise<Result<unknown>> {
  const people = peopleOf(params, context.connection.settings);
  if (!people.ok) return people;
  const { from, to, cc, bcc, replyTo, returnPath } = people.value;
  const recipients = [...new Set([...to, ...cc, ...bcc].map(({ address }) => address))];
  if (recipients.length === 0) return fail('step.params', 'to: Name at least one recipient in `to`, `cc` or `bcc`.');
  if (recipients.length > LIMITS.mailRecipients) {
    return fail('step.params', `to: A mail goes to ${LIMITS.mailRecipients} recipients at most; send several.`);
  }
  if (params.text === undefined && params.html === undefined) {
    return fail('step.params', 'text: Give `text`, `html` or both.');
  }
  if (/\p{Cc}/u.test(params.subject) || !params.subject.isWellFormed()) {
    return fail('step.params', 'subject: Must not contain line breaks or other control characters.');
  }
  const attachments = await readAttachments(params.attachments, context);
  if (!attachments.ok) return attachments;
  const seed = await seedOf(context.idempotencyKey);
  const messageId = `${seed}@${domainOf(from)}`;
  const { subject, text, html, calendar, headers } = params;
  const sentAt = context.now();
  const content = { subject, text, html, calendar, headers, attachments: attachments.value };
  const composed = compose({ from, to, cc, replyTo, ...content, messageId, sentAt, seed });
  if (!composed.ok) return composed;
  const message = await signed(composed.value, context, sentAt);
  if (!message.ok) return message;
  const bytes = sizeOf(message.value);
  if (bytes > LIMITS.mailMessageBytes) {
    return fail('step.params', `The mail has ${bytes} bytes; a step sends up to ${LIMITS.mailMessageBytes}.`);
  }
  const envelope: Envelope = { from: returnPath.address, recipients };
  const sent = await withLogin(context, (server) => send(server, envelope, message.value, context));
  return sent.ok ? ok({ messageId: `<${messageId}>`, ...sent.value }) : sent;
}

interface People {
  readonly from: Mailbox;
  readonly to: readonly Mailbox[];
  readonly cc: readonly Mailbox[];
  readonly bcc: readonly Mailbox[];
  readonly replyTo: readonly Mailbox[];
  readonly returnPath: Mailbox;
}

function peopleOf(params: SendParams, settings: Settings): Result<People> {
  const sender = params.from ?? settings.from;
  if (sender === undefined) return fail('step.params', 'from: Name the sender, here or in the connection.');
  const from = parseMailbox(sender, 'from');
  if (!from.ok) return from;
  const returnPath = params.returnPath === undefined ? from : parseMailbox(params.returnPath, 'returnPath');
  if (!returnPath.ok) return returnPath;
  const lists: Mailbox[][] = [];
  for (const field of ['to', 'cc', 'bcc', 'replyTo'] as const) {
    const mailboxes: Mailbox[] = [];
    for (const [index, text] of [params[field] ?? []].flat().entries()) {
      // An expression without recipients gives an empty list rather than this.
      const mailbox = parseMailbox(text, Array.isArray(params[field]) ? `${field}[${index}]` : field);
      if (!mailbox.ok) return mailbox;
      mailboxes.push(mailbox.value);
    }
    if (mailboxes.length > LIMITS.mailRecipients) {
      return fail('step.params', `${field}: Takes ${LIMITS.mailRecipients} addresses at most.`);
    }
    lists.push(mailboxes);
  }
  const [to = [], cc = [], bcc = [], replyTo = []] = lists;
  return ok({ from: from.value, to, cc, bcc, replyTo, returnPath: returnPath.value });
}

/** The same for each attempt of a step, so that receivers see one message. */
async function seedOf(idempotencyKey: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(`mail ${idempotencyKey}`));
  return [...new Uint8Array(digest, 0, 16)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
}

async function signed(message: Message, { connection }: Context, sentAt: number): Promise<Result<Message>> {
  const { dkim } = connection.settings;
  const { dkimPrivateKey: privateKey } = connection.secrets;
  if (dkim === undefined) return ok(message);
  if (privateKey === undefined) return fail('connection.invalid', 'dkimPrivateKey: Is needed to sign; give it.');
  const { dkimField } = await import('../../drivers/smtp/dkim.ts');
  const field = await dkimField(message, { ...dkim, privateKey }, sentAt);
  return field.ok ? ok({ ...message, fields: [field.value, ...message.fields] }) : field;
}

/** Where a token is refused, once more with another: who refuses a login has taken no mail. */
export async function withLogin<T>(
  { connection }: Context,
  use: (server: SmtpServer) => Promise<Result<T>>,
): Promise<Result<T>> {
  const { settings, secrets, tokens } = connection;
  const server = (login: Login | undefined): SmtpServer => ({
    ...addressOf(settings),
    clientName: settings.clientName,
    login,
  });
  const { username } = settings;
  if (username === undefined) return use(server(undefined));
  if (tokens === undefined) {
    if (secrets.password === undefined) return fail('connection.invalid', 'password: Is needed with a `username`.');
    return use(server({ kind: 'password', username, password: secrets.password }));
  }
  const withToken = ({ token }: AccessToken): Promise<Result<T>> => use(server({ kind: 'token', username, token }));
  const token = await tokens.get();
  if (!token.ok) return token;
  const first = await withToken(token.value);
  if (first.ok || first.fault.code !== 'upstream.unauthorized') return first;
  const other = await tokens.get(token.value);
  if (!other.ok) return other;
  return other.value.generation === token.value.generation ? first : withToken(other.value);
}
