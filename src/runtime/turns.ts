/**
 * Group commit. Work that writes is done in turns: at once while the disk is idle; while it is busy with one
 * turn, work gathers, and the next turn does it all and is one write.
 */
export class Turns {
  readonly #sync: () => Promise<void>;
  readonly #gathered: (() => void)[] = [];
  /** The turn whose writes are on their way to the disk. */
  #busy: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  /** @param sync resolves when everything written so far is on disk */
  constructor(sync: () => Promise<void>) {
    this.#sync = sync;
  }

  /** @param work must not throw, since others share its turn; resolves when it is done */
  do(work: () => void): Promise<void> | undefined {
    this.#gathered.push(work);
    if (this.#busy !== undefined) return (this.#next ??= this.#busy.then(() => this.#turn()));
    this.#turn();
    return undefined;
  }

  /** Like {@link do}, with the result of the work; what it throws is for its caller alone. */
  attempt<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      void this.do(() => {
        try {
          resolve(work());
        } catch (thrown) {
          reject(thrown);
        }
      });
    });
  }

  #turn(): void {
    this.#next = undefined;
    for (const work of this.#gathered.splice(0)) work();
    const done = (): void => void (this.#busy = undefined);
    // A write that fails resets the object.
    this.#busy = this.#sync().then(done, done);
  }
}
