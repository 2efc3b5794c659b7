/** How an endpoint does, by hour. The hour under way is counted in memory, and only now and then a row. */

import type { DeliveryStore, HourFigures } from './delivery-store.ts';

const HOUR_MILLISECONDS = 3_600_000;
const NOTHING = { attempts: 0, delivered: 0, failed: 0, milliseconds: 0 };

export class Hours {
  readonly #store: DeliveryStore;
  #current: HourFigures | undefined;
  #saved: HourFigures | undefined;

  constructor(store: DeliveryStore) {
    this.#store = store;
  }

  count(
    now: number,
    milliseconds: number,
    { delivered = 0, failed = 0 }: Partial<Pick<HourFigures, 'delivered' | 'failed'>>,
  ): void {
    const hour = Math.floor(now / HOUR_MILLISECONDS) * HOUR_MILLISECONDS;
    if (this.#current?.hour !== hour) {
      this.save();
      this.#current = this.#saved = this.#store.hour(hour) ?? { hour, ...NOTHING };
    }
    const before = this.#current;
    this.#current = {
      hour,
      attempts: before.attempts + 1,
      delivered: before.delivered + delivered,
      failed: before.failed + failed,
      milliseconds: before.milliseconds + milliseconds,
    };
  }

  save(): void {
    if (this.#current === undefined || this.#current === this.#saved) return;
    this.#saved = this.#current;
    this.#store.saveHour(this.#saved);
  }

  /** The one under way included. @param since unix milliseconds */
  since(since: number): HourFigures[] {
    const current = this.#current;
    const stored = this.#store.hours(since).filter(({ hour }) => hour !== current?.hour);
    return current === undefined || current.hour < since ? stored : [...stored, current];
  }
}
