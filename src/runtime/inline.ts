/**
 * The inline driver: a run in the isolate that received the request, its journal in memory, no storage
 * on the way. If the isolate dies, the caller sees an error and may repeat.
 */

import type { ActionHost } from './action-context.ts';
import { createDrive } from './drive.ts';
import type { Plan } from '../core/chain/plan.ts';
import { createRun } from '../core/engine/engine.ts';
import type { RunStart, RunState } from '../core/engine/state.ts';

export interface InlineRun {
  /** The state once there is an answer: the run has ended, or `flow.respond` has answered. */
  readonly answered: RunState | Promise<RunState>;
  /** Settles when the run has ended. The same as `answered` unless it goes on after an answer. */
  readonly ended: RunState | Promise<RunState>;
}

export function runInline(plan: Plan, start: RunStart, host: ActionHost, random: () => number): InlineRun {
  const run = createRun(plan, start, random);
  const answered = latch(run);
  const ended = latch(run);
  const drive = createDrive({
    run,
    host,
    random,
    journal: undefined,
    gather: undefined,
    recorded: undefined,
    deadline: start.event.receivedAt + plan.timeoutMilliseconds,
    changed: () => {
      answered.open();
      if (run.status !== 'running') ended.open();
    },
    sleep: (self, until) => {
      setTimeout(self.advance, Math.max(0, until - host.now()));
    },
    waiting: () => {},
  });
  drive.advance();
  return { answered: answered.value(), ended: ended.value() };
}

/** A value that is there at once when it was opened in time, and a promise otherwise. */
function latch<T>(result: T): { open(): void; value(): T | Promise<T> } {
  let opened = false;
  let resolve: ((value: T) => void) | undefined;
  return {
    open: () => {
      opened = true;
      resolve?.(result);
    },
    value: () => (opened ? result : new Promise<T>((done) => (resolve = done))),
  };
}
