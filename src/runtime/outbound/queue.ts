/**
 * Which message is next for an endpoint. Nothing is lined up in memory: the next one is asked of the disk, so a
 * backlog of any length costs nothing.
 */

import type { Delivery, DeliveryStore } from './delivery-store.ts';

export class Queue {
  readonly #store: DeliveryStore;
  /** The newest that was taken in its turn. */
  #taken: number;
  /** Deliveries under way, and whether each is its first attempt. */
  readonly #underWay = new Map<number, boolean>();

  /** @param triedUntil up to here every message was tried at least once */
  constructor(store: DeliveryStore, triedUntil: number) {
    this.#store = store;
    this.#taken = triedUntil;
  }

  get underWay(): number {
    return this.#underWay.size;
  }

  get triedUntil(): number {
    let until = this.#taken;
    for (const [sequence, isFirst] of this.#underWay) if (isFirst) until = Math.min(until, sequence - 1);
    return until;
  }

  begin({ sequence, state }: Delivery): void {
    if (state === 'new') this.#taken = sequence;
    this.#underWay.set(sequence, state === 'new');
  }

  end(sequence: number): void {
    this.#underWay.delete(sequence);
  }

  /** A retry that is due before what is new; where neither is there, the retry that will be due first. */
  next(now: number): Delivery | undefined {
    const retries = this.#store.nextRetries(this.#underWay.size + 1);
    const retry = retries.find(({ sequence }) => !this.#underWay.has(sequence));
    return retry !== undefined && (retry.nextAt ?? 0) <= now ? retry : (this.#store.nextNew(this.#taken) ?? retry);
  }

  /** The oldest that is not delivered, due or not. */
  nextInOrder(): Delivery | undefined {
    const retry = this.#store.oldestRetry();
    const fresh = this.#store.nextNew(this.#taken);
    return retry !== undefined && (fresh === undefined || retry.sequence < fresh.sequence) ? retry : fresh;
  }
}
