import { describe, expect, it } from 'vitest';
import { PermitCounter } from '../../../src/core/policy/permits.ts';
import { LIMITS } from '../../../src/core/limits.ts';

const SILENCE = LIMITS.limiterPermitMilliseconds;

function counterOf(limit: number) {
  let id = 0;
  const counter = new PermitCounter({ kind: 'permits', limit });
  return {
    ask: (now: number, need: number, want = 0) => counter.ask(now, need, want, () => ++id),
    hold: (now: number, grant: number, held: number) =>
      counter.settle(now, { id: grant, used: [0, held], returned: held === 0 ? 0 : undefined }),
    isIdle: (now: number) => counter.isIdle(now),
  };
}

describe('permits', () => {
  it('are refused while as many as may be are held', () => {
    const { ask, hold } = counterOf(2);
    const first = ask(0, 1);
    ask(0, 1);
    expect(ask(0, 1)).toMatchObject({ ok: false, tokens: 0 });
    hold(1, first.id, 0);
    expect(ask(1, 1)).toMatchObject({ ok: true, remaining: 0 });
  });

  it('of an isolate that is silent are free again, and not before', () => {
    const { ask } = counterOf(1);
    ask(0, 1);
    expect(ask(SILENCE - 1, 1).ok).toBe(false);
    expect(ask(SILENCE, 1).ok).toBe(true);
  });

  it('are held as long as the isolate says so', () => {
    const { ask, hold } = counterOf(1);
    const { id } = ask(0, 1);
    for (let now = 0; now < 10 * SILENCE; now += SILENCE / 2) hold(now, id, 1);
    expect(ask(10 * SILENCE, 1).ok).toBe(false);
  });

  it('end at the isolate before they end at the object', () => {
    const { ask } = counterOf(1);
    expect(ask(0, 1).lifeMilliseconds).toBeLessThan(SILENCE - LIMITS.limiterAnswerMilliseconds);
  });

  it('are known again after a restart of the object when the isolate speaks', () => {
    const { ask, hold } = counterOf(1);
    hold(0, 77, 1);
    expect(ask(1, 1).ok).toBe(false);
  });

  it('that come back twice make no room', () => {
    const { ask, hold } = counterOf(2);
    const { id } = ask(0, 1);
    ask(0, 1);
    hold(1, id, 0);
    hold(1, id, 0);
    expect(ask(1, 1).ok).toBe(true);
    expect(ask(1, 1).ok).toBe(false);
  });

  it('are stored by an isolate only where there are many', () => {
    expect(counterOf(10).ask(0, 1, 5).tokens).toBe(1);
    expect(counterOf(100).ask(0, 1, 50).tokens).toBe(6);
  });

  it('leave nothing behind', () => {
    const { ask, isIdle } = counterOf(3);
    ask(0, 1);
    expect(isIdle(1)).toBe(false);
    expect(isIdle(SILENCE)).toBe(true);
  });
});
