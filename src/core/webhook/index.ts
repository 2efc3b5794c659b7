/** Webhook signatures: what the rest of the gateway uses of them. */

export {
  acceptedReply,
  credentialsOf,
  deliversBy,
  handshake,
  methodsOf,
  ownerConfirms,
  type HandshakeReply,
} from './handshake.ts';
export type { WebhookRequest } from './request.ts';
export { prepareSource, schemeNames, type PreparedSource } from './source.ts';
export { sign } from './sign.ts';
export { verify, type VerifiedWebhook } from './verify.ts';
