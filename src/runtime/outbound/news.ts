/** Operational events of an endpoint, for the log of its application and for chains that wait for them. */

import { messagesOf, type Identity, type Operation } from './objects.ts';
import { sendEvent } from '../runs.ts';
import type { Env } from '../../env.ts';

export class News {
  readonly #env: Env;
  #telling: Promise<void> = Promise.resolve();

  constructor(env: Env) {
    this.#env = env;
  }

  /** One after the other, behind the work that they tell of. */
  tell({ application, endpoint }: Identity, { type, at, data }: Omit<Operation, 'endpoint'>): void {
    this.#telling = this.#telling.then(async () => {
      try {
        await messagesOf(this.#env, application).note({ type, at, endpoint, data });
        await sendEvent(this.#env, type, endpoint, { ...data, application, endpoint, at: new Date(at).toISOString() });
      } catch (thrown) {
        console.error(`${type} of endpoint ${endpoint} could not be told`, thrown);
      }
    });
  }
}
