/** Messages that came while nobody took them, in their order. What waits is bounded: nothing holds the server back. */

import type { NatsMessage } from './frames.ts';
import { FaultError, fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

export class Mailbox {
  #waiting: NatsMessage[] = [];
  #bytes = 0;
  #wake = Promise.withResolvers<void>();

  /**
   * For the session, which ends with what this throws.
   * @throws FaultError `upstream.too-large` where more waits than the bound
   */
  readonly put = (message: NatsMessage): void => {
    this.#bytes += message.payload.byteLength;
    if (this.#bytes > LIMITS.responseBodyBytes) throw new FaultError(TOO_MUCH);
    this.#waiting.push(message);
    this.#wake.resolve();
  };

  /** What has come, or the first that comes; none after so long. */
  async take(maximum: number, milliseconds: number): Promise<NatsMessage[]> {
    if (this.#waiting.length === 0) {
      this.#wake = Promise.withResolvers();
      const timer = setTimeout(this.#wake.resolve, milliseconds);
      await this.#wake.promise;
      clearTimeout(timer);
    }
    const taken = this.#waiting.splice(0, maximum);
    for (const { payload } of taken) this.#bytes -= payload.byteLength;
    return taken;
  }
}

const TOO_MUCH = fault('upstream.too-large', 'NATS: Messages come faster than they are taken.', { retryable: true });
