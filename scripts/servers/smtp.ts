/**
 * Real mail servers on loopback (`smtp-server`): in the clear, with STARTTLS, and with TLS from the first byte. They
 * keep what they are sent, and deliver nothing. For tests the local part of a recipient decides:
 *
 * - `nobody@…` is refused for good, `later@…` for now, `spam@…` with the message, `busy@…` with it for now;
 * - `GET /messages?to=<address>` of `inbox` gives the messages for an address, as {@link Received}.
 */

import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { SMTPServer, type SMTPServerOptions } from 'smtp-server';
import { listen, portOf, type Running } from './process.ts';

/** Of the tests; it guards nothing. */
export const LOGIN = { username: 'tidegate', password: 'smtp-password', token: 'smtp-token' } as const;

/** Bytes of a message that the servers take. */
export const SIZE_BYTES = 2_000_000;

export interface Received {
  readonly from: string;
  readonly recipients: readonly string[];
  /** How the sender said who it is; undefined where it did not. */
  readonly user: string | undefined;
  readonly secure: boolean;
  readonly unicode: boolean;
  /** The bytes of the message, base64. */
  readonly raw: string;
}

export interface SmtpServers extends Running {
  readonly ports: Readonly<Record<'plain' | 'open' | 'starttls' | 'implicit', number>>;
  /** A URL. */
  readonly inbox: string;
}

interface Refusal {
  readonly responseCode: number;
  readonly message: string;
}

const RECIPIENTS: Readonly<Record<string, Refusal>> = {
  nobody: { responseCode: 550, message: '5.1.1 There is no such mailbox' },
  later: { responseCode: 450, message: '4.2.0 Come back later' },
};
const MESSAGES: Readonly<Record<string, Refusal>> = {
  spam: { responseCode: 554, message: '5.7.1 This looks like spam' },
  busy: { responseCode: 451, message: '4.3.0 Too busy for that' },
};

const refusalOf = (table: Readonly<Record<string, Refusal>>, address: string): Error | undefined => {
  const local = address.split('@')[0] ?? '';
  const refusal = Object.hasOwn(table, local) ? table[local] : undefined;
  return refusal && Object.assign(new Error(refusal.message), { responseCode: refusal.responseCode });
};

/** @param certificate PEM, of localhost */
export async function start(certificate: { readonly cert: string; readonly key: string }): Promise<SmtpServers> {
  const received: Received[] = [];
  const shared: SMTPServerOptions = {
    ...certificate,
    disableReverseLookup: true,
    size: SIZE_BYTES,
    authMethods: ['PLAIN', 'LOGIN', 'XOAUTH2'],
    onAuth(auth, _, done) {
      const fits = auth.method === 'XOAUTH2' ? auth.accessToken === LOGIN.token : auth.password === LOGIN.password;
      if (fits && auth.username === LOGIN.username) done(null, { user: auth.username });
      else if (auth.method === 'XOAUTH2') done(null, { data: { status: '401' } });
      else done(Object.assign(new Error('5.7.8 These are not the credentials'), { responseCode: 535 }));
    },
    onRcptTo: ({ address }, _, done) => done(refusalOf(RECIPIENTS, address)),
    onData(stream, { envelope, user, secure }, done) {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.once('end', () => {
        const recipients = envelope.rcptTo.map(({ address }) => address);
        const refused = recipients.map((address) => refusalOf(MESSAGES, address)).find((each) => each !== undefined);
        if (refused !== undefined) return done(refused);
        const { mailFrom } = envelope;
        received.push({
          from: mailFrom === false ? '' : mailFrom.address,
          recipients,
          user: typeof user === 'string' ? user : undefined,
          secure,
          unicode: mailFrom !== false && typeof mailFrom.args === 'object' && 'SMTPUTF8' in mailFrom.args,
          raw: Buffer.concat(chunks).toString('base64'),
        });
        done(null, 'kept');
      });
    },
  };
  const servers = {
    plain: new SMTPServer({
      ...shared,
      hideSTARTTLS: true,
      allowInsecureAuth: true,
      authMethods: ['LOGIN', 'XOAUTH2'],
    }),
    open: new SMTPServer({
      ...shared,
      hideSTARTTLS: true,
      authOptional: true,
      hideSMTPUTF8: true,
      hidePIPELINING: true,
    }),
    starttls: new SMTPServer(shared),
    implicit: new SMTPServer({ ...shared, secure: true }),
  };
  const portFor = async (server: SMTPServer): Promise<number> => {
    // Clients that hang up are what some tests are about.
    server.on('error', () => undefined);
    const listening = server.listen(0, '127.0.0.1');
    if (!listening.listening) await once(listening, 'listening');
    return portOf(listening);
  };
  const [plain, open, starttls, implicit] = await Promise.all([
    portFor(servers.plain),
    portFor(servers.open),
    portFor(servers.starttls),
    portFor(servers.implicit),
  ]);
  const inbox = await listen(
    createHttpServer((request, response) => {
      const to = new URL(request.url ?? '', 'http://inbox').searchParams.get('to') ?? '';
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify(received.filter(({ recipients }) => recipients.includes(to))));
    }),
  );
  return {
    ports: { plain, open, starttls, implicit },
    inbox: `http://127.0.0.1:${inbox.port}`,
    stop: async () => {
      const ends = Object.values(servers).map(
        (server) =>
          new Promise<void>((resolve) => {
            server.close(() => resolve());
          }),
      );
      await Promise.all([...ends, inbox.stop()]);
    },
  };
}
