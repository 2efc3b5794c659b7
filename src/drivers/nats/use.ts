/** Opens a session for as long as it is used. */

import type { NatsWire, Line } from './line.ts';
import { NatsSession, type NatsTarget } from './session.ts';
import { FaultError, fault, ok, type Fault, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';

/** Faults: those of {@link NatsSession.open}, whatever ends the session, and what `use` throws as FaultError. */
export async function withNats<T>(
  target: NatsTarget,
  wire: NatsWire,
  use: (session: NatsSession) => Promise<T>,
): Promise<Result<T>> {
  const { signal } = wire;
  const given = Promise.withResolvers<never>();
  const giveUp = (): void => given.reject(new FaultError(abortFault(signal)));
  const timer = setTimeout(() => given.reject(new FaultError(LATE)), LIMITS.databaseConnectMilliseconds);
  let line: Line | undefined;
  let isOver = false;
  const opened = (made: Line): void => {
    line = made;
    if (isOver) made.close();
  };
  if (signal?.aborted) giveUp();
  else signal?.addEventListener('abort', giveUp, { once: true });
  try {
    const opening = signal?.aborted ? given.promise : NatsSession.open(target, wire, opened);
    opening.catch(() => undefined);
    const session = await Promise.race([opening, given.promise]);
    clearTimeout(timer);
    const work = use(session);
    work.catch(() => undefined);
    return ok(await Promise.race([work, session.over, given.promise]));
  } catch (thrown) {
    if (thrown instanceof FaultError) return { ok: false, fault: thrown.fault };
    throw thrown;
  } finally {
    isOver = true;
    clearTimeout(timer);
    signal?.removeEventListener('abort', giveUp);
    line?.close();
  }
}

const LATE = fault('upstream.timeout', 'NATS did not open a session in time.');

const abortFault = (signal: AbortSignal | undefined): Fault =>
  signal?.reason instanceof FaultError ? signal.reason.fault : fault('step.timeout', 'NATS did not answer in time.');
