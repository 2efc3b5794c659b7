/** JetStream: questions in JSON to subjects of the server (https://docs.nats.io/reference/reference-protocols/nats_api_reference). */

import * as v from 'valibot';
import { apiError, jetStreamFault } from './faults.ts';
import type { NatsHeaders, NatsMessage } from './frames.ts';
import type { NatsSession } from './session.ts';
import { FaultError, fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

export const NANOSECONDS_PER_MILLISECOND = 1e6;

const failure = v.object({ error: apiError });
const publishAck = v.object({ stream: v.string(), seq: v.number(), duplicate: v.optional(v.boolean(), false) });

const encode = (value: unknown): Uint8Array =>
  new TextEncoder().encode(value === undefined ? '' : JSON.stringify(value));

export interface Pull {
  readonly batch: number;
  /** After which the server says that there are no more. */
  readonly expiresMilliseconds: number;
}

export class JetStream {
  readonly session: NatsSession;
  readonly #prefix: string;

  constructor(session: NatsSession, domain: string | undefined) {
    this.session = session;
    this.#prefix = domain === undefined ? '$JS.API' : `$JS.${domain}.API`;
  }

  /**
   * @param path e.g. `STREAM.INFO.ORDERS`
   * @throws FaultError `upstream.rejected` with `data.status` and `data.code` of JetStream, `upstream.unavailable` …
   */
  async ask<T>(path: string, schema: v.GenericSchema<unknown, T>, body?: unknown): Promise<T> {
    const options = { timeoutMilliseconds: LIMITS.natsReplyMilliseconds };
    return answerIn(schema, await this.#request(`${this.#prefix}.${path}`, encode(body), options));
  }

  async publish(subject: string, payload: Uint8Array, headers: NatsHeaders): Promise<v.InferOutput<typeof publishAck>> {
    const options = { timeoutMilliseconds: LIMITS.natsReplyMilliseconds, headers };
    return answerIn(publishAck, await this.#request(subject, payload, options));
  }

  /** Asks a consumer for messages; they come to the inbox, and at last a status where there were fewer. */
  pull(stream: string, consumer: string, inbox: string, { batch, expiresMilliseconds }: Pull): void {
    const body = encode({ batch, expires: expiresMilliseconds * NANOSECONDS_PER_MILLISECOND });
    this.session.publish(`${this.#prefix}.CONSUMER.MSG.NEXT.${stream}.${consumer}`, body, { reply: inbox });
  }

  #request(...request: Parameters<NatsSession['request']>): Promise<NatsMessage> {
    return this.session.request(...request).catch((thrown: unknown) => {
      if (thrown instanceof FaultError && thrown.fault.code === 'upstream.unavailable') throw new FaultError(NO_STREAM);
      throw thrown;
    });
  }
}

const NO_STREAM = fault(
  'upstream.rejected',
  'JetStream: Nothing answers there: the account has no JetStream, or no stream takes the subject.',
);

function answerIn<T>(schema: v.GenericSchema<unknown, T>, { payload }: NatsMessage): T {
  let answer: unknown;
  try {
    answer = JSON.parse(new TextDecoder().decode(payload));
  } catch {
    throw new FaultError(UNREADABLE);
  }
  const failed = v.safeParse(failure, answer);
  if (failed.success) throw new FaultError(jetStreamFault(failed.output.error));
  const parsed = v.safeParse(schema, answer);
  if (!parsed.success) throw new FaultError(UNREADABLE);
  return parsed.output;
}

const UNREADABLE = fault('upstream.invalid', 'JetStream sent something that cannot be read.');

export interface Delivery {
  readonly stream: string;
  readonly deliveries: number;
  readonly sequence: number;
  /** Unix time in milliseconds. */
  readonly time: number;
}

/** What the subject for acknowledgements tells (ADR-15 of NATS). */
export function deliveryOf({ reply = '' }: NatsMessage): Delivery {
  const words = reply.split('.').slice(2);
  // Newer servers put the domain and the account before.
  const [stream = '', , deliveries, sequence, , time] = words.length > 7 ? words.slice(2) : words;
  return {
    stream,
    deliveries: Number(deliveries),
    sequence: Number(sequence),
    time: Math.floor(Number(time) / NANOSECONDS_PER_MILLISECOND),
  };
}
