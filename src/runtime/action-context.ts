/** What an attempt gives to an action. */

import type { ActionContext, Action, OpenConnection } from '../connectors/kit/types.ts';
import type { ActionFacts } from '../core/chain/catalogue.ts';
import { idempotencyKeyOf, keyOf } from '../core/engine/journal.ts';
import { fail, type Result } from '../core/errors.ts';
import type { Decidable } from '../vault/links.ts';
import type { Attempt } from './execute.ts';

/** What the gateway gives to all attempts alike. */
export interface ActionHost {
  /** By full name, e.g. `postgres.query`. */
  readonly actions: ReadonlyMap<string, Action>;
  readonly fetch: typeof fetch;
  readonly data: D1Database;
  readonly now: () => number;
  /** The address of a decision; a fault where links cannot be signed here. */
  linkTo(what: Decidable): Promise<Result<string>>;
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
    idempotencyKey: idempotencyKeyOf(attempt.run, attempt.frame, attempt.step),
    approvalLink: async (id, to) => {
      const waiting = attempt.frame.graph.find((step) => step.id === id && step.action.control === 'wait');
      if (waiting === undefined) return fail('step.params', `There is no flow.wait step "${id}" beside this one.`);
      const what = { run: attempt.run.start.id, step: keyOf(attempt.frame, waiting) };
      return host.linkTo(to === undefined ? what : { ...what, to });
    },
    get signal() {
      return attempt.signal();
    },
  };
}
