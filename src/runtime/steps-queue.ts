/** The messages of the `steps` queue, and how they are sent. They name items and hold none. */

import * as v from 'valibot';
import { LIMITS } from '../core/limits.ts';

const natural = v.pipe(v.number(), v.integer(), v.minValue(0));

export const stepsMessage = v.object({
  run: v.string(),
  /** The `flow.each`, as the journal calls it. */
  step: v.union([v.string(), natural]),
  first: natural,
  count: natural,
  /** Tells a message that was sent again from one that was delivered again. */
  sent: natural,
});

export type StepsMessage = v.InferOutput<typeof stepsMessage>;

/** Seconds until a message is tried again. @param attempts that failed, from 1 */
export const retryDelay = (attempts: number): number =>
  Math.min(LIMITS.queueRetrySeconds * 2 ** (attempts - 1), LIMITS.queueRetryLongestSeconds);

export interface StepsQueue {
  /** Resolves when the queue has all of them; rejects where it may lack some. */
  send(messages: readonly StepsMessage[]): Promise<void>;
}

export const stepsQueue = (queue: Queue<StepsMessage>): StepsQueue => ({
  async send(messages) {
    for (let begin = 0; begin < messages.length; begin += LIMITS.queueBatchMessages) {
      const batch = messages.slice(begin, begin + LIMITS.queueBatchMessages);
      await queue.sendBatch(batch.map((body) => ({ body, contentType: 'json' as const })));
    }
  },
});
