/** The pause of a provider: after failures in a row it is left alone, and then called by one at a time until it answers. */

import type { Judge } from './known.ts';
import type { Receipt } from './upstream.ts';

const FAILURES_IN_A_ROW = 5;
const PAUSE_MILLISECONDS = 1_000;
/** How long a call that began before the pause was noted may take to leave: two writes to a slow disk. */
const UNDER_WAY_MILLISECONDS = 700;
/** From so many calls on, their share of failures may have paused it as well, which this does not count. */
const WINDOW_CALLS = 20;

/** A request over the connection is leaving. Each object finds out by itself and forgets with its memory. */
export function calling(calls: readonly Receipt[], receipt: Receipt, judge: Judge): void {
  const own = calls.filter((call) => call.instance === receipt.instance);
  if (own.length >= WINDOW_CALLS) return;
  const { pausedBy, failedProbes } = lastPause(own);
  if (pausedBy === undefined || !isBehind(receipt, pausedBy)) return;
  const where = `${receipt.step} of ${receipt.run}`;
  const waited = Math.max(receipt.at - pausedBy.outcomeAt, receipt.wall - pausedBy.outcomeWall);
  const pause = pausedBy.retryAfterMilliseconds || PAUSE_MILLISECONDS * 2 ** failedProbes;
  judge(waited >= pause, 'pause', () => `${where} calls a provider ${waited} ms into its pause of ${pause} ms`);
  const probe = own.find((call) => isBehind(call, pausedBy) && call.outcome === undefined);
  judge(probe === undefined, 'pause', () => `${where} calls a paused provider beside ${probe?.step} of ${probe?.run}`);
}

/** Whether a call began when the pause had been noted. */
const isBehind = (call: Receipt, pausedBy: Receipt): boolean =>
  pausedBy.settled && call.at > pausedBy.settledAt + UNDER_WAY_MILLISECONDS;

interface Pause {
  /** The failure that the provider is paused by. */
  readonly pausedBy: Receipt | undefined;
  readonly failedProbes: number;
}

function lastPause(calls: readonly Receipt[]): Pause {
  let failedProbes = 0;
  let [inARow, countedFrom, openedAt] = [0, -1, 0];
  let pausedBy: Receipt | undefined;
  // One that was given up is a failure where its time was over, and tells nothing where its run was stopped:
  // from there on it cannot be seen from outside how many there were, until one succeeds.
  for (const call of calls.filter(({ outcome }) => outcome !== undefined).sort((a, b) => a.outcomeAt - b.outcomeAt)) {
    const { outcome } = call;
    if (pausedBy !== undefined) {
      if (call.at <= openedAt || outcome === 'given-up') continue;
      if (outcome !== 'failure') [pausedBy, inARow, countedFrom, failedProbes] = [undefined, 0, call.outcomeAt, 0];
      else if (isBehind(call, pausedBy)) [pausedBy, failedProbes] = [call, failedProbes + 1];
    } else if (outcome === 'given-up') inARow = -Infinity;
    else if (call.at > countedFrom) {
      inARow = outcome === 'success' ? 0 : inARow + 1;
      if (inARow >= FAILURES_IN_A_ROW) [pausedBy, openedAt] = [call, call.outcomeAt];
    }
  }
  return { pausedBy, failedProbes };
}
