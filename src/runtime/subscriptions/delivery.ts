/** From the events of a subscription to runs on disk. */

import { sourceOf, type SubscriptionTarget } from './target.ts';
import { NO_COUNTS, type SubscriptionCounts, type SubscriptionFacts } from './store.ts';
import { acceptEach, type RunRequest } from '../accept.ts';
import { passes, requestFor } from '../inbox-targets.ts';
import type { SubscribedEvent } from '../../connectors/kit/types.ts';
import { requestlessEvent, type TriggerEvent } from '../../core/engine/state.ts';
import { fault, FaultError, type Fault } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import type { Env } from '../../env.ts';

export interface Delivered {
  readonly counts: SubscriptionCounts;
  readonly failedEvent: SubscriptionFacts['failedEvent'];
}

interface Offer {
  readonly event: SubscribedEvent;
  readonly request: RunRequest;
}

/**
 * Resolves when each event has its run, was left out by the filter, or has failed for good: its filter, its input, or
 * its size. Such an event is counted and told, and holds up no other.
 *
 * @throws FaultError where runs cannot be stored, after `subscriptionAcceptMilliseconds`: the events are to come again
 */
export async function deliverEvents(
  env: Env,
  target: SubscriptionTarget,
  events: readonly SubscribedEvent[],
  signal: AbortSignal | undefined,
): Promise<Delivered> {
  const counts = { ...NO_COUNTS, events: events.length };
  let failedEvent: Delivered['failedEvent'] = null;
  const failed = (event: SubscribedEvent, { code, message }: Fault): void => {
    counts.failed += 1;
    failedEvent = { at: Date.now(), id: event.id?.slice(0, 200) ?? null, code, message };
  };
  let offers: readonly Offer[] = (
    await Promise.all(
      events.map(async (event): Promise<Offer[]> => {
        const trigger = triggerEventOf(event);
        const verdict = tooLarge(trigger) ?? (await passes(target, trigger));
        if (verdict === false) counts.filtered += 1;
        else if (verdict !== true) failed(event, verdict);
        return verdict === true ? [{ event, request: requestFor(target, trigger, keyOf(target, event)) }] : [];
      }),
    )
  ).flat();
  const until = Date.now() + LIMITS.subscriptionAcceptMilliseconds;
  for (let wait = 100; offers.length > 0; wait = Math.min(2 * wait, 5_000)) {
    const again: Offer[] = [];
    const results = await acceptEach(
      env,
      offers.map(({ request }) => request),
    );
    let reason: Fault | undefined;
    for (const [index, offer] of offers.entries()) {
      const result = results[index];
      if (result?.ok === true) counts[result.value.duplicate ? 'duplicates' : 'runs'] += 1;
      else if (result === undefined || result.fault.retryable) {
        again.push(offer);
        reason ??= result?.fault;
      } else failed(offer.event, result.fault);
    }
    offers = again;
    if (offers.length === 0) break;
    if (signal?.aborted || Date.now() + wait > until) throw new FaultError(reason ?? UNANSWERED);
    await scheduler.wait(wait);
  }
  return { counts, failedEvent };
}

const UNANSWERED = fault('storage.unavailable', 'The runs could not be stored.');

const triggerEventOf = ({ body, headers = {} }: SubscribedEvent): TriggerEvent => ({
  ...requestlessEvent('subscription', body ?? null, Date.now()),
  headers,
});

/** The same for the same event, also where only its acceptance is tried again. */
const keyOf = (target: SubscriptionTarget, { id }: SubscribedEvent): string =>
  id === undefined ? crypto.randomUUID() : `subscription:${sourceOf(target)}:${id}`;

const encoder = new TextEncoder();

function tooLarge({ body, headers }: TriggerEvent): Fault | undefined {
  const bytes = encoder.encode(JSON.stringify([body, headers])).length;
  if (bytes <= LIMITS.subscriptionEventBytes) return undefined;
  return fault(
    'request.too-large',
    `The event has ${bytes} bytes; at most ${LIMITS.subscriptionEventBytes} are taken.`,
  );
}
