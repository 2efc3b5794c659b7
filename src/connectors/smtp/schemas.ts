/** What `smtp.send` takes, and the connection behind it. */

import * as v from 'valibot';
import { name as objectName } from '../kit/object-schemas.ts';
import type { ConnectionFacts } from '../kit/types.ts';
import { LIMITS } from '../../core/limits.ts';
import { oauthSecrets, oauthSettings } from '../../core/oauth/settings.ts';
import { isPublicHost } from '../../core/policy/egress.ts';
import { isMediaType } from '../../drivers/smtp/message.ts';

const text = v.pipe(v.string(), v.minLength(1));
/** Also `[127.0.0.1]`, as a client without a name calls itself. */
const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])$/;
const domain = v.pipe(v.string(), v.regex(/^(?=.{1,253}$)[a-z0-9-]+(?:\.[a-z0-9-]+)+$/, 'Must be a domain in ASCII.'));
const label = v.pipe(v.string(), v.regex(/^[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*$/, 'Must be the name of a selector.'));

const settingsFields = v.strictObject({
  host: v.pipe(v.string(), v.regex(HOST, 'Must be a host name or an address.')),
  port: v.optional(
    v.pipe(
      v.number(),
      v.integer(),
      v.minValue(1),
      v.maxValue(65_535),
      v.description('Default: 465 for `implicit`, 587 for `starttls`, 25 for `disable`.'),
    ),
  ),
  tls: v.optional(
    v.pipe(
      v.picklist(['implicit', 'starttls', 'disable']),
      v.description(
        '`implicit`: TLS from the first byte. `starttls`: TLS before anything else, or no mail. `disable`: in the clear.',
      ),
    ),
    'implicit',
  ),
  username: v.optional(v.pipe(v.string(), v.regex(/^[^\p{Cc}]{1,320}$/u, 'Must be without control characters.'))),
  from: v.optional(v.pipe(text, v.description('The sender of mails that name none, as `Shop <mail@example.com>`.'))),
  clientName: v.optional(
    v.pipe(v.string(), v.regex(HOST, 'Must be a host name, or an address in brackets.'), v.description('For EHLO.')),
    '[127.0.0.1]',
  ),
  dkim: v.optional(
    v.pipe(
      v.strictObject({ domain, selector: label }),
      v.description('Mails are signed with `dkimPrivateKey`, whose public half is at selector._domainkey.domain.'),
    ),
  ),
  oauth: v.optional(
    v.pipe(oauthSettings, v.description('The login is XOAUTH2, with a token that the gateway gets and renews.')),
  ),
});

export const settings = v.pipe(
  settingsFields,
  v.check(
    ({ tls, username, host }) => tls !== 'disable' || username === undefined || !isPublicHost(host),
    'tls: A login needs TLS, but for a private host.',
  ),
  v.check(({ tls, oauth }) => tls !== 'disable' || oauth === undefined, 'tls: Tokens are sent through TLS only.'),
  v.check(({ oauth, username }) => oauth === undefined || username !== undefined, 'username: Is needed for XOAUTH2.'),
);

export const secrets = v.strictObject({
  password: v.optional(v.pipe(text, v.maxLength(4_096))),
  dkimPrivateKey: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^-----BEGIN (?:RSA )?PRIVATE KEY-----/, 'Must be a private key in PEM.'),
      v.description('RSA or Ed25519.'),
    ),
  ),
  oauth: v.optional(oauthSecrets),
});

export type Settings = v.InferOutput<typeof settings>;
export type Secrets = v.InferOutput<typeof secrets>;

const PORTS = { implicit: 465, starttls: 587, disable: 25 } as const;

export const addressOf = ({ host, port, tls }: Settings) => ({ hostname: host, port: port ?? PORTS[tls], tls });

export const oauthOf: NonNullable<ConnectionFacts<Settings, Secrets>['oauth']> = (given, held) => {
  const { hostname, port } = addressOf(given);
  return given.oauth && { settings: given.oauth, secrets: held.oauth ?? {}, origins: [`smtp://${hostname}:${port}`] };
};

const recipients = v.union([v.string(), v.array(v.string())]);

const attachment = v.strictObject({
  filename: v.pipe(
    v.string(),
    v.regex(/^[^\p{Cc}/\\]{1,200}$/u, 'Must be a name of up to 200 characters without slashes and control characters.'),
    v.check((given) => given.isWellFormed(), 'Is not valid Unicode.'),
  ),
  contentType: v.optional(
    v.pipe(v.string(), v.check(isMediaType, 'Must be a media type, and not one of multipart/ or message/.')),
  ),
  contentId: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[\w.+-]{1,80}(?:@[\w.-]{1,80})?$/, 'Must be a word, such as logo.'),
      v.description('The HTML shows the attachment as `cid:<contentId>`.'),
    ),
  ),
  text: v.optional(v.string()),
  base64: v.optional(v.string()),
  object: v.optional(
    v.pipe(
      v.strictObject({
        connection: v.optional(
          v.pipe(
            text,
            v.description('Of an object store; a fixed name, no expression. Left out: the R2 bucket of the Worker.'),
          ),
        ),
        ...objectName,
      }),
      v.description('An object of a store.'),
    ),
  ),
});

export const sendParams = v.strictObject({
  from: v.optional(v.pipe(text, v.description('By default that of the connection.'))),
  to: v.optional(v.pipe(recipients, v.description('Addresses such as `ada@example.com` or `Ada <ada@example.com>`.'))),
  cc: v.optional(recipients),
  bcc: v.optional(v.pipe(recipients, v.description('They get the mail, and stand nowhere in it.'))),
  replyTo: v.optional(recipients),
  returnPath: v.optional(v.pipe(text, v.description('Where bounces go; by default to the sender.'))),
  subject: v.pipe(v.string(), v.maxLength(2_000)),
  text: v.optional(v.pipe(v.string(), v.description('`text`, `html` or both.'))),
  html: v.optional(v.string()),
  calendar: v.optional(
    v.pipe(
      v.strictObject({
        method: v.picklist(['PUBLISH', 'REQUEST', 'REPLY', 'ADD', 'CANCEL', 'REFRESH', 'COUNTER', 'DECLINECOUNTER']),
        text: v.pipe(text, v.startsWith('BEGIN:VCALENDAR', 'Must be an iCalendar object.')),
      }),
      v.description('An invitation (RFC 6047); `method` as it stands in the object.'),
    ),
  ),
  headers: v.optional(
    v.pipe(v.record(v.string(), v.string()), v.maxEntries(LIMITS.mailHeaders), v.description('Further fields.')),
    {},
  ),
  attachments: v.optional(v.pipe(v.array(attachment), v.maxLength(LIMITS.mailAttachments)), []),
});

export type SendParams = v.InferOutput<typeof sendParams>;
export type AttachmentParams = v.InferOutput<typeof attachment>;
