/** Amazon, Google and Microsoft. */

import * as v from 'valibot';
import type { JwtScheme, Scheme } from '../scheme.ts';
import { EMPTY_REPLY, header, textKey, withSettings, type SchemeRow } from './row.ts';

const SNS_HOST = /^sns\.[a-z0-9-]{2,32}\.amazonaws\.com(?:\.cn)?$/;

const text = (description: string) => v.pipe(v.string(), v.minLength(1), v.description(description));

const GOOGLE_ISSUERS = ['https://accounts.google.com', 'accounts.google.com'];
const CHAT_ACCOUNT = 'chat@system.gserviceaccount.com';

const google = (title: string): Omit<JwtScheme, 'deliveryId'> => ({
  title,
  secretIs: 'none: Google signs with keys that it publishes',
  secretFrom: 'none',
  proof: 'jwt',
  token: header('Authorization'),
  prefix: 'Bearer ',
  algorithms: ['RS256'],
  keys: { from: 'jwks', url: 'https://www.googleapis.com/oauth2/v3/certs' },
  issuers: GOOGLE_ISSUERS,
});

export const CLOUDS: Readonly<Record<string, Scheme | SchemeRow>> = {
  /**
   * https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html. Amazon signs for
   * everyone who has a topic, so only the topics of the settings count. What is signed ends in topic and
   * type, which a publisher can therefore not imitate in the message.
   */
  sns: withSettings(
    'Amazon SNS',
    v.strictObject({
      topicArns: v.pipe(
        v.array(v.pipe(v.string(), v.regex(/^arn:[\w-]+:sns:[\w-]+:\d{12}:[\w.-]+$/, 'Must be the ARN of a topic.'))),
        v.minLength(1),
        v.description('The topics that may send.'),
      ),
      signatureVersion: v.pipe(
        v.optional(v.picklist(['1', '2']), '2'),
        v.description('`SignatureVersion` of the topic. Version 1, the default of a new topic, is SHA-1: set it to 2.'),
      ),
    }),
    { topicArns: ['arn:aws:sns:eu-central-1:123456789012:orders'] },
    ({ topicArns, signatureVersion }) => ({
      title: 'Amazon SNS',
      secretIs: 'none: Amazon signs with certificates that it publishes',
      secretFrom: 'none',
      requires: [
        { at: { member: 'TopicArn' }, is: topicArns },
        { at: { member: 'SignatureVersion' }, is: [signatureVersion] },
      ],
      proof: 'signature',
      signature: { member: 'Signature' },
      keys: [textKey(signatureVersion === '1' ? 'rsa-sha1' : 'rsa-sha256', 'base64')],
      certificate: {
        url: { member: 'SigningCertURL' },
        allowed: { host: SNS_HOST, path: /^\/SimpleNotificationService-[0-9a-f]+\.pem$/ },
      },
      content: '{lines:Message,MessageId,Subject,SubscribeURL,Timestamp,Token,TopicArn,Type}',
      deliveryId: { from: 'body', paths: ['MessageId'] },
      eventType: { paths: ['Type'] },
      handshakes: [
        {
          when: [{ at: { member: 'Type' }, is: ['SubscriptionConfirmation'] }],
          trust: 'proof',
          answer: { kind: 'visit', from: { member: 'SubscribeURL' }, allowed: { host: SNS_HOST, path: /^\/$/ } },
        },
      ],
    }),
  ),

  /** Drive, Calendar and others; the first message of a channel only says that it is open. */
  'google-channel': {
    title: 'Google notification channels (Drive, Calendar)',
    secretIs: 'the `token` that you gave the channel',
    proof: 'token',
    token: header('X-Goog-Channel-Token'),
    deliveryId: { from: 'headers', names: ['X-Goog-Channel-ID', 'X-Goog-Message-Number'] },
    eventType: { headers: ['X-Goog-Resource-State'] },
    handshakes: [
      {
        when: [{ at: header('X-Goog-Resource-State'), is: ['sync'] }],
        trust: 'proof',
        answer: { kind: 'fixed', ...EMPTY_REPLY },
      },
    ],
  },

  /** https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions; Gmail's watch comes this way. */
  'google-pubsub': withSettings(
    'Google Pub/Sub (push)',
    v.strictObject({
      audience: text('The audience of the subscription; the URL of the source where you set none.'),
      email: text('The service account that signs for the subscription.'),
    }),
    { audience: 'https://gate.example.com/hooks/mail', email: 'push@project.iam.gserviceaccount.com' },
    ({ audience, email }) => ({
      ...google('Google Pub/Sub (push)'),
      audiences: [audience],
      claims: { email, email_verified: true },
      deliveryId: { from: 'body', paths: ['message.messageId', 'message.message_id'] },
      eventType: { paths: ['message.attributes.eventType'] },
    }),
  ),

  /** https://developers.google.com/workspace/chat/verify-requests-from-chat, audience "HTTP endpoint URL" */
  'google-chat': withSettings(
    'Google Chat (audience: URL)',
    v.strictObject({ audience: text('The URL of the app, as its configuration says.') }),
    { audience: 'https://gate.example.com/hooks/chat' },
    ({ audience }) => ({
      ...google('Google Chat (audience: URL)'),
      audiences: [audience],
      claims: { email: CHAT_ACCOUNT, email_verified: true },
      deliveryId: { from: 'body', paths: [] },
      eventType: { paths: ['type'] },
    }),
  ),

  /** The same with audience "Project number" */
  'google-chat-project': withSettings(
    'Google Chat (audience: project number)',
    v.strictObject({ audience: text('The number of the project.') }),
    { audience: '1234567890' },
    ({ audience }) => ({
      ...google('Google Chat (audience: project number)'),
      keys: { from: 'jwks', url: `https://www.googleapis.com/service_accounts/v1/jwk/${CHAT_ACCOUNT}` },
      issuers: [CHAT_ACCOUNT],
      audiences: [audience],
      deliveryId: { from: 'body', paths: [] },
      eventType: { paths: ['type'] },
    }),
  ),

  /** Every item bears the client state. Bodies of further changes may have the same bytes. */
  'microsoft-graph': {
    title: 'Microsoft Graph change notifications',
    secretIs: 'the `clientState` that you gave the subscription',
    proof: 'token',
    token: { member: 'clientState' },
    items: { list: 'value' },
    deliveryId: { from: 'arrival' },
    eventType: { paths: ['value.0.changeType', 'value.0.lifecycleEvent'] },
    handshakes: [
      {
        when: [{ at: { query: 'validationToken' } }],
        trust: 'nothing',
        answer: { kind: 'echo', from: { query: 'validationToken' } },
      },
    ],
    reply: { status: 202 },
  },
};
