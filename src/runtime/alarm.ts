/**
 * The one alarm of an object. Each time that it is set is a row, so one that is early enough is left alone;
 * one that is overdue may be lost.
 */
export class Alarm {
  readonly #storage: DurableObjectStorage;
  /** As it is set; null: none. */
  #at: number | null = null;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
  }

  /** To be awaited before anything else is done. */
  async restore(): Promise<void> {
    this.#at = await this.#storage.getAlarm();
  }

  /** Makes sure that the object wakes by then. @param now an alarm that is set to the past of its own handler is lost */
  by(at: number, now: number): void {
    if (this.#at !== null && this.#at <= at && this.#at > now) return;
    this.#at = Math.max(at, now + 1);
    // Held back with the writes of the turn; where it fails, so do they.
    void this.#storage.setAlarm(this.#at);
  }

  fired(): void {
    this.#at = null;
  }
}
