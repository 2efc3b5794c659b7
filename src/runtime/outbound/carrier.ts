/** Carries messages to one endpoint: gets their contents, from memory or from their application, and delivers them. */

import { deliver, type Delivered } from './delivery.ts';
import type { Delivery } from './delivery-store.ts';
import { messagesOf, type Content, type Identity, type Offer } from './objects.ts';
import type { OpenEndpoint } from './opened.ts';
import { hostOf } from '../host.ts';
import { LIMITS } from '../../core/limits.ts';
import type { Env } from '../../env.ts';
import { createPayloadLinks } from '../../vault/links.ts';

export class Carrier {
  readonly #env: Env;
  /** Contents that came with their offers, until they are tried. */
  readonly #held = new Map<number, Content>();
  #heldCharacters = 0;

  constructor(env: Env) {
    this.#env = env;
  }

  /** Keeps what came with an offer, where there is room. */
  hold({ payload, ...offer }: Offer): void {
    if (payload === null || this.#heldCharacters + payload.length > LIMITS.outboundBatchCharacters) return;
    this.#held.set(offer.sequence, { ...offer, payload });
    this.#heldCharacters += payload.length;
  }

  /** Null for a message that is not kept any more. */
  async content(application: string, sequence: number): Promise<Content | null> {
    const held = this.#held.get(sequence);
    if (held === undefined) return messagesOf(this.#env, application).content(sequence);
    this.#held.delete(sequence);
    this.#heldCharacters -= held.payload.length;
    return held;
  }

  /** One attempt; undefined where it was the gateway that failed. Never rejects. */
  async attempt(
    { application, endpoint: id }: Identity,
    endpoint: OpenEndpoint,
    { sequence, message }: Delivery,
  ): Promise<Delivered | undefined> {
    try {
      const content = await this.content(application, sequence);
      if (content === null) return { kind: 'refused', attempt: gone(Date.now()), retryAfterMilliseconds: undefined };
      return await deliver(endpoint, content, {
        fetch: hostOf(this.#env).fetch,
        now: Date.now,
        link: (linked) => this.#link(id, linked),
      });
    } catch (thrown) {
      console.error(`message ${message} could not be prepared`, thrown);
      return undefined;
    }
  }

  async #link(endpoint: string, sequence: number): Promise<{ url: string; expiresAt: number } | undefined> {
    const { TIDEGATE_URL: base, TIDEGATE_MASTER_KEY: masterKey } = this.#env;
    const links = createPayloadLinks(masterKey);
    if (base === undefined || !links.ok) return undefined;
    const expiresAt = Date.now() + LIMITS.payloadLinkMilliseconds;
    const token = await links.value.sign({ endpoint, sequence, expiresAt });
    return { url: `${base}/_/payloads/${token}`, expiresAt };
  }
}

const gone = (at: number) => ({ at, milliseconds: 0, error: 'The message is not kept any more.' });
