/** What callers do with a run that they know: they look, wait, cancel, pause, decide, send events, and ask for more. */

import type { SimulatedChain } from './chains.ts';
import type { Checks } from './checks.ts';
import { eventOf } from './features.ts';
import { SETTLED } from './known.ts';
import type { World } from './world.ts';
import type { RunRecord } from '../../src/core/engine/record.ts';
import { decide, retryRun, sendEvent } from '../../src/runtime/runs.ts';
import { objectOf } from '../../src/runtime/shards.ts';
import type { Env } from '../../src/env.ts';

export interface CallersOptions {
  readonly world: World;
  readonly env: Env;
  readonly checks: Checks;
  readonly chain: SimulatedChain;
  /** Whether runs are paused, stopped and retried more than usual. */
  readonly controls: boolean;
  /** Does it later, as the gateway. */
  at(delayMilliseconds: number, label: string, run: () => void | Promise<unknown>): void;
}

export class Callers {
  readonly #options: CallersOptions;
  /** What must be done before all is quiet. */
  #pending = 0;
  readonly #followed = new Set<string>();

  constructor(options: CallersOptions) {
    this.#options = options;
  }

  get isIdle(): boolean {
    return this.#pending === 0;
  }

  #soon(): number {
    const { random } = this.#options.world;
    return random.next() * (random.chance(0.7) ? 2_000 : 120_000);
  }

  follow(id: string, delivery: string, isRetry = false): void {
    const { world, env, checks, chain, controls } = this.#options;
    const { random } = world;
    const object = objectOf(env, id);
    if (object === undefined) return checks.fail('F', `${id} names no object`);
    const at = (label: string, run: () => Promise<unknown>): void => this.#options.at(this.#soon(), label, run);
    if (random.chance(0.4)) at('a look', () => this.look(id));
    if (random.chance(0.2)) {
      at('a caller waits', async () => {
        const answer = await object.wait(id, random.between(10, 30_000));
        if (answer !== undefined) checks.answered(id, answer);
      });
    }
    if (random.chance(chain.undoes || controls ? 0.3 : 0.12)) {
      at('a cancel', async () => {
        checks.loosens(id);
        const known = checks.asking(id);
        checks.cancelled(id, await object.cancel(id), known);
      });
    }
    if (this.#followed.has(id)) return;
    this.#followed.add(id);
    if (controls) this.#control(id, delivery, isRetry);
    for (const [step, { kind, long }] of chain.waits) {
      if (kind === 'approval') this.#decideSoon(id, step, long ? Infinity : random.between(2, 5));
      if (kind === 'event') this.#sendSoon(id, delivery, step, long ? Infinity : random.between(1, 4));
    }
  }

  async look(id: string): Promise<string | null> {
    const { env, checks } = this.#options;
    const known = checks.asking(id);
    const text = (await objectOf(env, id)?.read(id)) ?? null;
    this.#options.world.note(() => `shown: ${text}`);
    checks.shown(id, text, known);
    return text;
  }

  #control(id: string, delivery: string, isRetry: boolean): void {
    const { world, at } = this.#options;
    const { random } = world;
    if (random.chance(0.6)) {
      this.#pending++;
      at(this.#soon(), 'a pause', () => this.#pause(id));
    }
    // A retry is not retried: it could not be told whose it is when nobody hears of it.
    if (!isRetry && random.chance(0.7)) at(random.next() * 200_000, 'a retry', () => this.#retry(id, delivery));
  }

  async #pause(id: string): Promise<void> {
    const { world, env, checks, at } = this.#options;
    const known = checks.asking(id);
    const resume = async (): Promise<void> => {
      checks.loosens(id);
      try {
        const done = await objectOf(env, id)?.resume(id);
        checks.resumed(id, done === true);
        this.#pending--;
      } catch (thrown) {
        // Who has paused a run does not leave it so.
        at(world.random.between(500, 20_000), 'a resume again', resume);
        throw thrown;
      }
    };
    at(world.random.next() * (world.random.chance(0.5) ? 5_000 : 150_000) + 1_000, 'a resume', resume);
    checks.paused(id, (await objectOf(env, id)?.pause(id)) === true, known);
  }

  /** From the step that failed; refused for a run that has not. */
  async #retry(id: string, delivery: string): Promise<void> {
    const { env, checks } = this.#options;
    await this.look(id);
    if (!checks.retries(id)) return;
    const retried = await retryRun(env, id, 'same');
    if (!retried.ok) return;
    checks.retried(id, retried.value.id);
    this.#options.world.count('retry');
    this.follow(retried.value.id, delivery, true);
  }

  /** How a look shows a step that waits. */
  async #waitIn(id: string, step: string): Promise<Shown | undefined> {
    const text = await this.look(id);
    if (text === null) return undefined;
    const { version, steps } = JSON.parse(text) as RunRecord;
    const shown = steps.find((each) => each.id === step);
    return { version, isWaiting: shown?.waitingFor !== undefined, isOver: SETTLED.has(shown?.status ?? '') };
  }

  /** Somebody looks now and then, and decides once the run waits; sometimes twice, or with somebody else. */
  #decideSoon(id: string, step: string, looks: number): void {
    const { world, at } = this.#options;
    const { random } = world;
    at(random.next() * (random.chance(0.6) ? 6_000 : 60_000), 'somebody may decide', async () => {
      let shown: Shown | undefined;
      try {
        shown = await this.#waitIn(id, step);
      } finally {
        if (looks > 1 && shown?.isOver !== true) this.#decideSoon(id, step, looks - 1);
      }
      if (shown?.isWaiting !== true) return;
      const { version } = shown;
      const times = random.chance(0.4) ? 2 : 1;
      for (let time = 0; time < times; time++) {
        at(random.next() * (time === 0 ? 10 : 3_000), 'a decision', () => this.#decide(id, step, version));
      }
    });
  }

  async #decide(id: string, step: string, version: number): Promise<void> {
    const { world, env, checks, chain } = this.#options;
    const place = chain.plan(version).steps.find((each) => each.id === step)?.index ?? -1;
    const known = checks.asking(id);
    const message = checks.outside.sends('approval', step, id);
    const comment = String(message.number);
    const taken = await decide(env, id, place, { approved: true, by: 'somebody', comment, at: Date.now() });
    world.count(taken ? 'decision' : 'decision refused');
    checks.outside.told(message, taken ? 1 : 0);
    if (!taken) checks.refused(id, step, known);
  }

  #sendSoon(id: string, delivery: string, step: string, times: number): void {
    const { world, env, checks, at } = this.#options;
    const { random } = world;
    at(random.next() * (random.chance(0.6) ? 8_000 : 60_000), 'an event', async () => {
      let isOver = false;
      try {
        const looks = random.chance(0.5) || checks.deliveryOf(id) === undefined;
        isOver = looks && (await this.#waitIn(id, step))?.isOver === true;
      } finally {
        if (times > 1 && !isOver) this.#sendSoon(id, delivery, step, times - 1);
      }
      const known = checks.asking(id);
      // Where deliveries are the same run, it is known by the first.
      const key = checks.deliveryOf(id) ?? delivery;
      const message = checks.outside.sends('event', step, key);
      const taken = await sendEvent(env, eventOf(step), key, { value: message.number });
      world.count(taken > 0 ? 'event taken' : 'event for nobody');
      checks.outside.told(message, taken);
      if (taken === 0) checks.refused(id, step, known);
    });
  }
}

interface Shown {
  readonly version: number;
  readonly isWaiting: boolean;
  /** Nobody need do anything about the step any more. */
  readonly isOver: boolean;
}
