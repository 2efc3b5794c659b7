/** `smtp.*`: mail through any server that takes submissions (RFC 6409). */

import { addressOf, oauthOf, secrets, sendParams, settings, type Secrets, type Settings } from './schemas.ts';
import { sendMail, withLogin } from './send.ts';
import { defineAction, type Connector } from '../kit/types.ts';
import * as v from 'valibot';
import { verify } from '../../drivers/smtp/smtp.ts';

const connection = { settings, secrets };

export const smtp: Connector = {
  name: 'smtp',
  title: 'Mail (SMTP)',
  connection: {
    required: true,
    ...connection,
    probe: () => ({ action: 'verify', params: {} }),
    origins: () => [],
    sockets(given: Settings) {
      const { hostname, port } = addressOf(given);
      return [{ hostname, port }];
    },
    oauth: (given: Settings, held: Secrets) => oauthOf(given, held),
  },
  actions: {
    send: defineAction(
      {
        title: 'Send a mail',
        effect: 'external',
        params: sendParams,
        example: {
          from: 'Shop <orders@example.com>',
          to: ['Ada Lovelace <ada@example.org>'],
          subject: 'Your order 42',
          text: 'It is on its way.',
          attachments: [{ filename: 'invoice.pdf', object: { connection: 'my-s3', key: 'invoices/42.pdf' } }],
        },
        run: (params, context) => sendMail(params, context),
      },
      connection,
    ),
    verify: defineAction(
      {
        title: 'Look whether the server takes the credentials',
        effect: 'idempotent',
        params: v.strictObject({}),
        example: {},
        run: (_, context) => withLogin(context, (server) => verify(server, context)),
      },
      connection,
    ),
  },
};
