/** The two kinds of objects that webhooks go out through, and what they say to each other. */

import type { EndpointObject } from './endpoint-object.ts';
import type { MessagesObject } from './messages-object.ts';
import type { Env } from '../../env.ts';

export const messagesOf = (env: Env, application: string): DurableObjectStub<MessagesObject> =>
  env.MESSAGES.getByName(application);

/** Each endpoint is an object of its own: one that hangs uses up nobody else's six connections. */
export const endpointOf = (env: Env, endpoint: string): DurableObjectStub<EndpointObject> =>
  env.ENDPOINTS.getByName(endpoint);

/** A message with its payload as JSON text. */
export interface Content {
  /** Rises in the order of acceptance within the application. */
  readonly sequence: number;
  readonly id: string;
  readonly eventType: string;
  readonly channels: readonly string[];
  /** Unix milliseconds. */
  readonly createdAt: number;
  readonly payload: string;
}

/** A message on its way to an endpoint; a payload that is in R2 is asked for when it is delivered. */
export type Offer = Omit<Content, 'payload'> & { readonly payload: string | null };

/** Whose object it is: an object is told, since it does not know its own name in an alarm. */
export interface Identity {
  readonly application: string;
  readonly endpoint: string;
}

/** What the gateway did with a part of a long job: `next` is where to go on, or null at its end. */
export interface Progress {
  readonly count: number;
  /** Unix milliseconds. */
  readonly next: number | null;
}

/** An operational event: `endpoint.failing`, `endpoint.disabled` or `message.exhausted`. */
export interface Operation {
  readonly type: 'endpoint.failing' | 'endpoint.disabled' | 'message.exhausted';
  readonly at: number;
  readonly endpoint: string;
  readonly data: Readonly<Record<string, unknown>>;
}
