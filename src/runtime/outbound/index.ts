/** What the rest of the gateway does with webhooks out. */

import type { EndpointObject } from './endpoint-object.ts';
import type { AcceptedMessage, MessagesObject, SentMessage } from './messages-object.ts';
import { endpointOf, messagesOf } from './objects.ts';
import { sendMessage } from './send.ts';
import type { Result } from '../../core/errors.ts';
import { checkUrl, createEgressPolicy } from '../../core/policy/egress.ts';
import type { Env } from '../../env.ts';

export interface OutboundPorts {
  /** @param application its id or uid */
  send(application: string, message: SentMessage): Promise<Result<AcceptedMessage>>;
  messages(application: string): DurableObjectStub<MessagesObject>;
  endpoint(id: string): DurableObjectStub<EndpointObject>;
  /** Fault `egress.refused` for an address that the gateway does not call. */
  checkUrl(url: string): Result<unknown>;
}

export const outboundOf = (env: Env): OutboundPorts => ({
  send: (application, message) => sendMessage(env, application, message),
  messages: (application) => messagesOf(env, application),
  endpoint: (id) => endpointOf(env, id),
  checkUrl: (url) => checkUrl(createEgressPolicy(env.TIDEGATE_EGRESS_ALLOW ?? ''), url),
});
