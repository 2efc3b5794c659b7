/**
 * The inbox of a source, as the Worker calls it: one call for each delivery.
 *
 * Guarantee: a refused delivery is written in the background, a bounded number of them, and never while its
 * sender waits.
 */

import { deleteBody, keepBody } from './inbox-bodies.ts';
import type { InboxObject, Receipt, ShownEvent } from './inbox-object.ts';
import type { Delivery, EventFilter, EventPage, Refused } from './inbox-store.ts';
import { callAgain } from './object-call.ts';
import { sequenceOf } from '../core/inbox/event.ts';
import { fail, fault, FaultError, ok, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';

export const inboxOf = (env: Env, source: string): DurableObjectStub<InboxObject> => env.INBOX.getByName(source);

/**
 * Resolves when the event is on disk.
 * @throws FaultError `storage.unavailable`
 */
export async function receiveDelivery(
  env: Env,
  source: string,
  delivery: Delivery,
  dedupeMilliseconds: number,
): Promise<Receipt> {
  if (delivery.bytes <= LIMITS.blobFromBytes || env.BLOBS === undefined) {
    return receive(env, source, delivery, dedupeMilliseconds);
  }
  const blob = await keepBody(env.BLOBS, source, delivery.body);
  const receipt = await receive(env, source, { ...delivery, blob, body: new Uint8Array(0) }, dedupeMilliseconds);
  if (receipt.duplicate) await deleteBody(env.BLOBS, blob);
  return receipt;
}

/** The delivery id makes a second call safe. */
function receive(env: Env, source: string, delivery: Delivery, dedupeMilliseconds: number): Promise<Receipt> {
  const call = async (): Promise<Receipt> => inboxOf(env, source).receive(delivery, dedupeMilliseconds);
  return call()
    .catch((thrown: unknown) => callAgain(thrown, call))
    .catch((thrown: unknown) => {
      throw unavailable(thrown);
    });
}

const unavailable = (detail: unknown): FaultError =>
  new FaultError(fault('storage.unavailable', 'The event could not be stored; send it again.', { detail }));

interface Gathered {
  readonly refused: Refused[];
  /** When they are written; somebody else does it where that has passed. */
  readonly dueAt: number;
}

const gathered = new Map<string, Gathered>();
/** After which whoever was to write them is given up for lost. */
const LOST_MILLISECONDS = 10_000;

/** Notes a delivery that was refused, to be shown; of many at once the newest. */
export function noteRefused(
  env: Env,
  ctx: Pick<ExecutionContext, 'waitUntil'>,
  source: string,
  refused: Refused,
): void {
  const known = gathered.get(source);
  if (known !== undefined && known.dueAt + LOST_MILLISECONDS > Date.now()) {
    known.refused.push(refused);
    if (known.refused.length > LIMITS.rejectedPerWrite) known.refused.shift();
    return;
  }
  const own = { refused: [refused], dueAt: Date.now() + LIMITS.rejectedDelayMilliseconds };
  gathered.set(source, own);
  const write = async (): Promise<void> => {
    await scheduler.wait(LIMITS.rejectedDelayMilliseconds);
    if (gathered.get(source) === own) gathered.delete(source);
    await inboxOf(env, source).reject(own.refused);
  };
  ctx.waitUntil(
    write().catch((thrown: unknown) => console.error(`refused deliveries of ${source} are not kept`, thrown)),
  );
}

export const listEvents = (env: Env, source: string, filter: EventFilter): Promise<EventPage> =>
  inboxOf(env, source).list(filter);

/** Fault `event.not-found`. */
export async function readEvent(env: Env, source: string, id: string): Promise<Result<ShownEvent>> {
  const sequence = sequenceOf(id);
  const shown = sequence === undefined ? null : await inboxOf(env, source).read(sequence);
  return shown === null ? fail('event.not-found', `The source ${source} has no event ${id}.`) : ok(shown);
}

/** Events as they come, as server-sent events. Fault `inbox.busy`. */
export async function streamEvents(env: Env, source: string, after: number | undefined): Promise<Result<Response>> {
  const query = after === undefined ? '' : `?after=${after}`;
  const response = await inboxOf(env, source).fetch(`https://inbox/${query}`);
  return response.status === 429
    ? fail('inbox.busy', 'Too many clients listen to this source; try again later.')
    : ok(response);
}

/** Takes up what a lost alarm left behind. One inbox that fails is tried again next minute. */
export async function sweepInboxes(env: Env, sources: Iterable<string>): Promise<void> {
  const swept = await Promise.allSettled([...sources].map((source) => inboxOf(env, source).sweep()));
  for (const result of swept) if (result.status === 'rejected') console.error('an inbox failed', result.reason);
}
