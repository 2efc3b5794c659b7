/** The two sides of a wide fan-out, with a queue between them that the test plays. */

import { drive, host, type Answer, type DriveOptions, type Driven } from './support.ts';
import type { Plan } from '../../../src/core/chain/plan.ts';
import type { StepEvent } from '../../../src/core/engine/journal.ts';
import { ok } from '../../../src/core/errors.ts';
import { inParts, runRange } from '../../../src/runtime/range.ts';
import type { StepsMessage } from '../../../src/runtime/steps-queue.ts';
import {
  claimItems,
  deliverItems,
  type ClaimedItems,
  type Delivered,
  type Surroundings,
} from '../../../src/runtime/wide.ts';

export const echo: Answer = (_context, params) => ok((params as { value: unknown }).value);

export interface Claimed {
  readonly message: StepsMessage;
  readonly around: Surroundings;
  readonly claimed: ClaimedItems;
}

/** A run and the messages that its object has sent. */
export class Wide {
  readonly plan: Plan;
  readonly driven: Driven;
  readonly sent: StepsMessage[] = [];
  /** The queue takes messages and says that it does not. */
  isLying: boolean;
  isDown = false;

  constructor(plan: Plan, options: DriveOptions = {}, isLying = false) {
    this.isLying = isLying;
    this.plan = plan;
    const send = (messages: readonly StepsMessage[]): Promise<void> => {
      if (this.isDown) return Promise.reject(new Error('the queue is down'));
      this.sent.push(...messages);
      return this.isLying ? Promise.reject(new Error('the queue lies')) : Promise.resolve();
    };
    this.driven = drive(plan, { answers: { 'list.act': echo }, ...options, steps: { send } });
  }

  get events(): StepEvent[] {
    return this.driven.rows.flat();
  }

  get output(): unknown {
    return this.driven.run.scope.steps['list'];
  }

  take(): StepsMessage {
    const message = this.sent.shift();
    if (message === undefined) throw new Error('nothing was sent');
    return message;
  }

  claim(message: StepsMessage, attempt = 1): Claimed | undefined {
    const text = claimItems(this.driven.drive, { ...message, attempt });
    if (text === null) return undefined;
    const [around, claimed] = JSON.parse(text) as [Surroundings, ClaimedItems];
    return { message, around, claimed };
  }

  run({ around, claimed, message }: Claimed): ReturnType<typeof runRange> {
    return runRange(around, claimed, { id: message.run, step: message.step, plan: this.plan, host, random: () => 0.5 });
  }

  deliver({ message, claimed }: Claimed, done: Omit<Delivered, 'more'>, more = false): boolean {
    const part = JSON.parse(JSON.stringify({ ...done, more })) as Delivered;
    return deliverItems(this.driven.drive, { ...message, epoch: claimed.epoch }, part);
  }

  async work(message: StepsMessage, attempt = 1): Promise<boolean> {
    const claimed = this.claim(message, attempt);
    if (claimed === undefined) return false;
    const parts = inParts(await this.run(claimed));
    return parts.every(({ more, ...part }) => this.deliver(claimed, part, more));
  }

  async workAll(): Promise<void> {
    while (this.sent.length > 0) await this.work(this.take());
  }
}
