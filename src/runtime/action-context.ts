/** What an attempt gives to an action. */

import type { ActionContext, Action, OpenConnection } from '../connectors/kit/types.ts';
import type { ActionFacts } from '../core/chain/catalogue.ts';
import type { Result } from '../core/errors.ts';
import type { Attempt } from './execute.ts';

/** What the gateway gives to all attempts alike. */
export interface ActionHost {
  /** By full name, e.g. `postgres.query`. */
  readonly actions: ReadonlyMap<string, Action>;
  readonly fetch: typeof fetch;
  readonly data: D1Database;
  readonly now: () => number;
  /** A connection with its secrets in the clear; for an action without one, `NO_CONNECTION`. */
  open(name: string | undefined, action: ActionFacts): Result<OpenConnection> | Promise<Result<OpenConnection>>;
}

export const NO_CONNECTION: OpenConnection = { name: '', settings: undefined, secrets: undefined };

/** The signal is made on first use: most pure actions never look at it. */
export function actionContext(attempt: Attempt, host: ActionHost, connection: OpenConnection): ActionContext {
  return {
    fetch: host.fetch,
    data: host.data,
    now: host.now,
    connection,
    input: attempt.run.start.input,
    written: attempt.step.written,
    idempotencyKey: `${attempt.run.start.id}:${attempt.step.id}:0`,
    get signal() {
      return attempt.signal();
    },
  };
}
