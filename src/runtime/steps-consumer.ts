/**
 * The consumer of the `steps` queue, and of its dead letters. Each message is acknowledged by itself, after
 * the run object has what came of it; one that fails is delivered again, and holds up no other.
 */

import { WorkerEntrypoint } from 'cloudflare:workers';
import { safeParse } from 'valibot';
import { loadPlan } from './configuration.ts';
import { hostOf } from './host.ts';
import { tellOutage } from './outages.ts';
import { Providers } from './providers.ts';
import { inParts, runRange } from './range.ts';
import { objectOf } from './shards.ts';
import { retryDelay, stepsMessage, type StepsMessage } from './steps-queue.ts';
import type { ClaimedItems, Surroundings } from './wide.ts';
import type { Env } from '../env.ts';

/** Works on one message. The platform lets six requests of an invocation wait, so each message gets one. */
export class StepsWorker extends WorkerEntrypoint<Env> {
  /** Resolves when nothing is left to be done for the message; rejects where it must be delivered again. */
  async work(message: StepsMessage, attempt: number): Promise<void> {
    const { run, step, first } = message;
    const object = objectOf(this.env, run);
    const text = await object?.claimItems({ run, step, first, sent: message.sent, attempt });
    if (object === undefined || typeof text !== 'string') return;
    const [around, claimed] = JSON.parse(text) as [Surroundings, ClaimedItems];
    const plan = await loadPlan(this.env, around.chain, around.version);
    const options = {
      id: run,
      step,
      plan,
      host: hostOf(this.env),
      random: Math.random,
      providers: providersOf(this.env),
    };
    const done = await runRange(around, claimed, options);
    for (const part of inParts(done)) {
      const claim = { run, step, first, epoch: claimed.epoch };
      const wanted = await withRetries(() => objectOf(this.env, run)?.deliverItems(claim, JSON.stringify(part)));
      if (wanted !== true) return;
    }
  }
}

/** Each isolate finds out for itself that a provider fails, like each run object. */
let providers: Providers | undefined;

function providersOf({ DB }: Env): Providers {
  const tell = (news: Parameters<typeof tellOutage>[1]): void => {
    tellOutage(DB, news).catch((thrown: unknown) => console.error('an outage could not be recorded', thrown));
  };
  // Steps that wait look again by themselves: those of another invocation must not be driven from here.
  return (providers ??= new Providers(() => {}, tell));
}

const DELIVERY_DELAYS_MILLISECONDS = [100, 1_000, 5_000] as const;

/** What is done already is worth more than one try to tell it. */
async function withRetries<T>(call: () => Promise<T> | undefined): Promise<T | undefined> {
  for (const delay of DELIVERY_DELAYS_MILLISECONDS) {
    try {
      return await call();
    } catch {
      await scheduler.wait(delay);
    }
  }
  return call();
}

/** @param work on one message, in an invocation of its own */
export async function consumeSteps(
  batch: MessageBatch,
  work: (message: StepsMessage, attempt: number) => Promise<void>,
): Promise<void> {
  await eachMessage(batch, (message, { attempts }) => work(message, attempts));
}

/** Dead letters: their items fail, which shows in their runs. */
export async function consumeDeadSteps(batch: MessageBatch, env: Env): Promise<void> {
  await eachMessage(batch, async (message) => {
    const { run, step, first, count } = message;
    if (!(await objectOf(env, run)?.giveUpItems(message))) return;
    console.error(`run ${run}: items ${first} to ${first + count - 1} of step ${step} could not be handed over`);
  });
}

async function eachMessage(
  batch: MessageBatch,
  work: (message: StepsMessage, delivery: Message) => Promise<void>,
): Promise<void> {
  await Promise.all(
    batch.messages.map(async (delivery) => {
      const parsed = safeParse(stepsMessage, delivery.body);
      try {
        // What cannot be read now cannot be read later.
        if (parsed.success) await work(parsed.output, delivery);
        else console.error(`a message of ${batch.queue} cannot be read`, parsed.issues[0].message);
        delivery.ack();
      } catch (thrown) {
        console.error(`a message of ${batch.queue} failed at attempt ${delivery.attempts}`, thrown);
        delivery.retry({ delaySeconds: retryDelay(delivery.attempts) });
      }
    }),
  );
}
