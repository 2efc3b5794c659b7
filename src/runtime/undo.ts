/** Compensation: what a failed or cancelled run did is undone, the last first, one at a time. */

import type { Drive } from './drive.ts';
import { createFrame, outcome } from '../core/engine/engine.ts';
import { keyOf } from '../core/engine/journal.ts';
import type { Frame, Undoable } from '../core/engine/state.ts';

export interface Compensation {
  /** What is left to undo, the next last. */
  readonly left: Undoable[];
  current: Undoable | undefined;
}

/**
 * Goes on undoing as far as it goes, then calls `done`. One that fails for good is shown as failed and
 * does not keep the others from being undone.
 *
 * @returns when the next attempt is due
 */
export function compensate(
  drive: Drive,
  advanceFrame: (drive: Drive, frame: Frame) => number | undefined,
  done: (drive: Drive) => void,
): number | undefined {
  // A journal gives results in the order of the plan, so the order of the ends is restored here.
  const order = (a: Undoable, b: Undoable): number =>
    a.at - b.at || compare(keyOf(a.frame, a.step), keyOf(b.frame, b.step));
  drive.compensation ??= {
    left: drive.journal === undefined ? [] : drive.run.undoable.toSorted(order),
    current: undefined,
  };
  const { compensation } = drive;
  for (;;) {
    compensation.current ??= begin(compensation.left.pop());
    const undo = compensation.current?.undo;
    if (undo === undefined) {
      done(drive);
      return undefined;
    }
    const next = advanceFrame(drive, undo);
    if (outcome(undo) === undefined) return next;
    compensation.current = undefined;
  }
}

const compare = (a: number | string, b: number | string): number =>
  String(a).localeCompare(String(b), 'en', { numeric: true });

function begin(undoable: Undoable | undefined): Undoable | undefined {
  if (undoable === undefined) return undefined;
  const { frame, step } = undoable;
  const graph = step.undo === undefined ? [] : [step.undo];
  undoable.undo = createFrame(graph, frame.scope, frame.places, `${keyOf(frame, step)}~`, frame.item);
  return undoable;
}
