/**
 * Hands messages over to the objects of their endpoints, for each endpoint in the order of acceptance.
 *
 * Guarantee: a message counts as handed over once the endpoint's object has it on disk. It may be handed over
 * again after a crash; the object knows it by its number. An object that does not answer holds up only its own.
 */

import type { MessageStore } from './message-store.ts';
import type { Offer } from './objects.ts';

interface Lane {
  readonly endpoint: string;
  /** Up to which it has all that is for it. */
  confirmed: number;
  /** The newest that is for it. */
  wanted: number;
  isBusy: boolean;
}

export class Handover {
  readonly #store: MessageStore;
  readonly #offer: (endpoint: string, offers: readonly Offer[]) => Promise<void>;
  readonly #lanes = new Map<string, Lane>();

  constructor(store: MessageStore, offer: (endpoint: string, offers: readonly Offer[]) => Promise<void>) {
    this.#store = store;
    this.#offer = offer;
  }

  /** The message must be written, or be written in this turn. */
  add(endpoint: string, sequence: number): void {
    let lane = this.#lanes.get(endpoint);
    if (lane === undefined) {
      lane = { endpoint, confirmed: sequence - 1, wanted: sequence, isBusy: false };
      this.#lanes.set(endpoint, lane);
    }
    if (lane.confirmed >= lane.wanted) lane.confirmed = sequence - 1;
    lane.wanted = Math.max(lane.wanted, sequence);
    void this.#run(lane);
  }

  /** Takes up what was left. */
  resume(): void {
    for (const lane of this.#lanes.values()) void this.#run(lane);
  }

  /** Up to which message everything is with its endpoints. */
  confirmedUntil(last: number): number {
    let until = last;
    for (const lane of this.#lanes.values()) if (isOpen(lane)) until = Math.min(until, lane.confirmed);
    return until;
  }

  async #run(lane: Lane): Promise<void> {
    if (lane.isBusy) return;
    lane.isBusy = true;
    try {
      while (isOpen(lane)) {
        const { wanted } = lane;
        const offers = this.#store.offersFor(lane.endpoint, lane.confirmed, wanted);
        if (offers.length > 0) await this.#offer(lane.endpoint, offers);
        lane.confirmed = offers.at(-1)?.sequence ?? wanted;
      }
    } catch (thrown) {
      // The next alarm, or the next message for it, tries again.
      console.error(`messages could not be handed over to endpoint ${lane.endpoint}`, thrown);
    } finally {
      lane.isBusy = false;
    }
  }
}

const isOpen = ({ confirmed, wanted }: Lane): boolean => confirmed < wanted;
