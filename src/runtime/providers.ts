/**
 * The pause of a provider: a breaker for each connection, hence for each connector and tenant. While it is
 * open, a durable step that would call the provider waits before its attempt begins and uses up no retry;
 * other steps and runs go on. One call finds out when the provider is back, and then all go on.
 *
 * Accepted weakness: each run object finds out by itself and forgets with its memory, so a pool of sixteen
 * sends up to sixteen probes, and tells up to sixteen times.
 */

import type { Drive } from './drive.ts';
import type { Outcome } from './execute.ts';
import type { StoreGuard } from './guarded-store.ts';
import { knownConnection } from '../core/chain/connection.ts';
import type { StepPlan } from '../core/chain/plan.ts';
import { hold } from '../core/engine/engine.ts';
import type { Frame } from '../core/engine/state.ts';
import { fail, faultOf, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import {
  admit,
  breakerPolicy,
  createBreaker,
  settleCall,
  type Breaker,
  type CallOutcome,
  type Pass,
} from '../core/policy/breaker.ts';

const POLICY = breakerPolicy(LIMITS.retryDelayLongestMilliseconds);

interface Provider {
  readonly connection: string;
  readonly breaker: Breaker;
  /** The runs that wait for it, in the order in which they came. */
  readonly waiting: Set<string>;
}

/** A call that was let through to a provider. */
export interface ProviderCall {
  readonly provider: Provider;
  readonly pass: Pass;
}

/** What an operator is told, once for each outage. */
export interface OutageNews {
  /** By `connectionPath`. */
  readonly connection: string;
  readonly news: 'opened' | 'closed';
  /** What the last call failed with. */
  readonly reason: string | undefined;
}

export class Providers {
  readonly #release: (runs: readonly string[]) => void;
  readonly #tell: (news: OutageNews) => void;
  readonly #known = new Map<string, Provider>();

  /** @param release lets runs go on that wait; they may come to wait again */
  constructor(release: (runs: readonly string[]) => void, tell: (news: OutageNews) => void) {
    this.#release = release;
    this.#tell = tell;
  }

  /** Whether a step may start; where its provider is paused, it now waits. Undefined where it calls none. */
  admit(drive: Drive, frame: Frame, step: StepPlan): ProviderCall | 'waits' | undefined {
    const { timeoutMilliseconds } = step;
    const { identity } = drive.run.start.event;
    const connection = step.connection && knownConnection(step.connection, frame.scope, identity);
    if (connection === undefined) return undefined;
    const provider = this.#providerOf(connection);
    const admission = admit(
      provider.breaker,
      drive.host.now(),
      timeoutMilliseconds + LIMITS.breakerProbeGraceMilliseconds,
    );
    if (admission.pass !== undefined) return { provider, pass: admission.pass };
    hold(frame, step, admission.until);
    provider.waiting.add(drive.run.start.id);
    return 'waits';
  }

  /** Guards what an attempt under way calls besides the connection of its step. @param callMilliseconds at most */
  guard(connection: string, now: () => number, callMilliseconds: number): StoreGuard {
    return {
      call: async (work, blameless) => {
        const provider = this.#providerOf(connection);
        const { breaker } = provider;
        const admission = admit(breaker, now(), callMilliseconds + LIMITS.breakerProbeGraceMilliseconds);
        if (admission.pass === undefined) {
          return fail('upstream.unavailable', `The connection ${connection} is paused, since its calls failed.`, {
            retryAfterMilliseconds: Math.max(1, admission.until - now()),
          });
        }
        const call = { provider, pass: admission.pass };
        try {
          const result = await work();
          const own = result.ok || blameless?.(result.fault) !== true;
          this.settle(call, own ? outcomeOf(result) : UNKNOWN, now());
          return result;
        } catch (thrown) {
          this.settle(call, { kind: 'failed', fault: faultOf(thrown) }, now());
          throw thrown;
        }
      },
    };
  }

  #providerOf(connection: string): Provider {
    let provider = this.#known.get(connection);
    if (provider === undefined) {
      provider = { connection, breaker: createBreaker(POLICY), waiting: new Set() };
      this.#known.set(connection, provider);
    }
    return provider;
  }

  /** Must follow each call once, whatever came of it. */
  settle({ provider, pass }: ProviderCall, outcome: Outcome, now: number): void {
    const { connection, breaker, waiting } = provider;
    const news = settleCall(breaker, pass, callOutcomeOf(outcome), now);
    if (news !== undefined) {
      this.#tell({ connection, news, reason: outcome.kind === 'failed' ? outcome.fault.message : undefined });
    }
    if (!pass.probe || waiting.size === 0) return;
    // After a probe that failed, one of them comes to wait for the next; the others need not be woken for that.
    const runs = news === 'closed' ? [...waiting] : [...waiting].slice(0, 1);
    for (const run of runs) waiting.delete(run);
    this.#release(runs);
  }
}

/** Of a call that was neither made nor refused. */
const UNKNOWN: Outcome = { kind: 'skipped' };

const outcomeOf = (result: Result<unknown>): Outcome =>
  result.ok ? { kind: 'succeeded', success: { output: null } } : { kind: 'failed', fault: result.fault };

/** An answer that refuses is one of a provider that works; what failed before the call tells nothing of it. */
export function callOutcomeOf(outcome: Outcome): CallOutcome {
  if (outcome.kind === 'succeeded') return { kind: 'succeeded' };
  if (outcome.kind !== 'failed') return { kind: 'unknown' };
  const { code, retryable, retryAfterMilliseconds } = outcome.fault;
  if (code === 'step.timeout') return { kind: 'failed' };
  if (!code.startsWith('upstream.')) return { kind: 'unknown' };
  return retryable ? { kind: 'failed', retryAfterMilliseconds } : { kind: 'succeeded' };
}

/** Lets the steps of a run go on that wait for a provider. */
export function endHolds({ run, items, compensation }: Drive): void {
  const frames: readonly (Frame | undefined)[] = [run, ...items.keys(), compensation?.current?.undo];
  for (const state of frames.flatMap((frame) => frame?.steps ?? [])) {
    if (state.status === 'waiting' && state.held) state.retryAt = 0;
  }
}
