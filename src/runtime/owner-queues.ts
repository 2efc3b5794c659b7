/**
 * Messages of the owner's queues: what chains send, and the runs that they start.
 *
 * Guarantee: a message is acknowledged once every chain that wants it has its run on disk, or has refused it by its
 * filter; delivered again, it starts no second run, since the run is named by the message. One that is not accepted
 * holds up no other, comes again later and later, and in the end goes where the queue says (`dead_letter_queue`).
 */

import { Buffer } from 'node:buffer';
import { acceptEach } from './accept.ts';
import { checkConfiguration, type ActiveChain, type Configuration } from './configuration.ts';
import { passes, requestFor } from './inbox-targets.ts';
import { retryDelay } from './steps-queue.ts';
import type { RunRequest } from './accept.ts';
import type { TriggerPlan } from '../core/chain/plan.ts';
import { parseJson } from '../core/data/exact-json.ts';
import { requestlessEvent, type TriggerEvent } from '../core/engine/state.ts';
import { fail, faultOf, ok, type Fault, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Env } from '../env.ts';

const PREFIX = 'QUEUE_';

/** The queues that steps may send to, by name: the binding `QUEUE_NEW_ORDERS` is `new-orders`. */
export function queuesOf(env: Env): ReadonlyMap<string, Queue> {
  const bindings = Object.entries(env).flatMap(([binding, value]): [string, Queue][] =>
    binding.startsWith(PREFIX) && isQueue(value)
      ? [[binding.slice(PREFIX.length).toLowerCase().replaceAll('_', '-'), value]]
      : [],
  );
  return new Map(bindings);
}

const isQueue = (value: unknown): value is Queue =>
  typeof value === 'object' && value !== null && 'send' in value && 'sendBatch' in value;

interface Target {
  readonly chain: ActiveChain;
  readonly trigger: Extract<TriggerPlan, { type: 'queue' }>;
}

const targetsOf = ({ chains }: Configuration, queue: string): readonly Target[] =>
  [...chains.values()].flatMap((chain) =>
    chain.plan.triggers.flatMap((trigger) =>
      trigger.type === 'queue' && trigger.queue === queue ? [{ chain, trigger }] : [],
    ),
  );

/** Settles each message by itself; never rejects. */
export async function consumeOwnerQueue(batch: MessageBatch, env: Env): Promise<void> {
  const failures = new Map<Message, string>();
  try {
    const configuration = await checkConfiguration(env, LIMITS.configurationAgeMilliseconds);
    const targets = targetsOf(configuration, batch.queue);
    if (targets.length === 0) refuseAll(batch, failures, 'no chain has a trigger for the queue');
    else await startRuns(batch, targets, env, failures);
  } catch (thrown) {
    // Those that were accepted are so once only, whatever is delivered again.
    refuseAll(batch, failures, faultOf(thrown).message);
  }
  for (const message of batch.messages) settle(batch.queue, message, failures.get(message));
}

function refuseAll({ messages }: MessageBatch, failures: Map<Message, string>, reason: string): void {
  for (const message of messages) failures.set(message, reason);
}

async function startRuns(
  { queue, messages }: MessageBatch,
  targets: readonly Target[],
  env: Env,
  failures: Map<Message, string>,
): Promise<void> {
  const requests: [RunRequest, Message][] = [];
  for (const message of messages) {
    const event = eventOf(queue, message);
    if (!event.ok) {
      failures.set(message, reasonOf(event.fault));
      continue;
    }
    for (const target of targets) {
      const verdict = await passes(target, event.value);
      const key = `queue:${queue}:${message.id}`;
      if (verdict === true) requests.push([requestFor(target, event.value, key), message]);
      else if (verdict !== false) failures.set(message, reasonOf(verdict));
    }
  }
  const results = await acceptEach(
    env,
    requests.map(([request]) => request),
  );
  for (const [index, [, message]] of requests.entries()) {
    const result = results[index];
    if (result?.ok === false) failures.set(message, reasonOf(result.fault));
  }
}

/** What chains see of it. A body that is no JSON comes as base64. */
function eventOf(queue: string, { id, body, timestamp }: Message): Result<TriggerEvent> {
  const plain = body instanceof ArrayBuffer || ArrayBuffer.isView(body) ? ok(base64Of(body)) : plainOf(body);
  if (!plain.ok) return plain;
  const headers = { queue, 'message-id': id, 'sent-at': timestamp.toISOString() };
  return ok({ ...requestlessEvent('queue', plain.value, Date.now()), headers });
}

const base64Of = (bytes: ArrayBuffer | ArrayBufferView): string =>
  (ArrayBuffer.isView(bytes)
    ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : Buffer.from(bytes)
  ).toString('base64');

/** Messages of content type `v8` may hold what is no JSON. */
function plainOf(body: unknown): Result<unknown> {
  try {
    return parseJson(JSON.stringify(body ?? null));
  } catch (thrown) {
    return fail('request.invalid', 'The body of the message is no JSON.', { detail: thrown });
  }
}

const reasonOf = ({ code, message }: Fault): string => `${message} (${code})`;

function settle(queue: string, message: Message, failure: string | undefined): void {
  if (failure === undefined) return message.ack();
  console.error(`message ${message.id} of ${queue} was not accepted at attempt ${message.attempts}: ${failure}`);
  message.retry({ delaySeconds: retryDelay(message.attempts) });
}
