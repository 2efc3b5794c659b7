import { describe, expect, it } from 'vitest';
import { newsOf, type Seen } from '../../../src/core/engine/news.ts';
import type { RunRecord, StepRecord } from '../../../src/core/engine/record.ts';

const NOW = 1_800_000_000_000;

const step = (id: string, status: StepRecord['status'], more: Partial<StepRecord> = {}): StepRecord => ({
  id,
  use: 'http.get',
  status,
  attempts: [],
  output: undefined,
  error: undefined,
  ...more,
});

const tried = (startedAt: number, endedAt?: number): Pick<StepRecord, 'attempts'> => ({
  attempts: [{ attempt: 1, startedAt, endedAt, error: undefined }],
});

const runOf = (steps: readonly StepRecord[], more: Partial<RunRecord> = {}): RunRecord => ({
  id: 'run_1',
  chain: 'orders',
  version: 1,
  trigger: 'manual',
  triggerType: 'manual',
  mode: 'durable',
  status: 'running',
  createdAt: NOW,
  endedAt: undefined,
  error: undefined,
  input: undefined,
  output: undefined,
  steps,
  ...more,
});

interface Told {
  readonly type: string;
  readonly run: { readonly status: string };
  readonly step?: { readonly id: string; readonly status: string; readonly output: unknown };
}

/** As `run:running` or `a:succeeded`. */
const statesOf = (news: readonly string[]): string[] =>
  news.map((text) => {
    const { run, step: told } = JSON.parse(text) as Told;
    return told === undefined ? `run:${run.status}` : `${told.id}:${told.status}`;
  });

const tell = (seen: Seen, record: RunRecord, since?: number): string[] => statesOf(newsOf(seen, record, since));

describe('the news of a run', () => {
  it('are at first everything, then only what has changed', () => {
    const seen: Seen = new Map();
    const before = [step('a', 'running', tried(NOW)), step('b', 'pending')];
    expect(tell(seen, runOf(before))).toEqual(['run:running', 'a:running', 'b:pending']);
    expect(tell(seen, runOf(before))).toEqual([]);
    const after = [step('a', 'succeeded', tried(NOW, NOW + 1)), step('b', 'running', tried(NOW + 1))];
    expect(tell(seen, runOf(after))).toEqual(['a:succeeded', 'b:running']);
  });

  it('hold the output of a step that settled', () => {
    const seen: Seen = new Map();
    newsOf(seen, runOf([step('a', 'running', tried(NOW))]));
    const [text = ''] = newsOf(seen, runOf([step('a', 'succeeded', { ...tried(NOW, NOW), output: { n: 1 } })]));
    expect(JSON.parse(text)).toMatchObject({ type: 'step', run: 'run_1', step: { output: { n: 1 } } });
  });

  it('end with the end of the run', () => {
    const steps = [step('a', 'succeeded', tried(NOW, NOW + 1)), step('b', 'skipped')];
    const ended = runOf(steps, { status: 'succeeded', endedAt: NOW + 2 });
    expect(tell(new Map(), ended)).toEqual(['a:succeeded', 'b:skipped', 'run:succeeded']);
  });

  it('never take back that a step settled, nor that the run ended', () => {
    const seen: Seen = new Map();
    tell(seen, runOf([step('a', 'succeeded', tried(NOW, NOW + 1))], { status: 'succeeded', endedAt: NOW + 1 }));
    for (const status of ['pending', 'running', 'waiting'] as const) {
      expect(tell(seen, runOf([step('a', status)]))).toEqual([]);
    }
  });

  it('tell of a settled step that it is undone', () => {
    const seen: Seen = new Map();
    const done = step('a', 'succeeded', tried(NOW, NOW + 1));
    tell(seen, runOf([done]));
    const undo = { status: 'running', error: undefined, ...tried(NOW + 2) } as const;
    expect(tell(seen, runOf([{ ...done, undo }]))).toEqual(['a:succeeded']);
    expect(tell(new Map(), runOf([{ ...done, undo }]), NOW + 2)).toEqual(['run:running', 'a:succeeded']);
  });

  it('leave out, since an instant, what had changed before it, and nothing that changed in it', () => {
    const steps = [
      step('before', 'succeeded', tried(NOW - 10, NOW - 1)),
      step('then', 'failed', tried(NOW - 10, NOW)),
      step('after', 'running', tried(NOW + 1)),
      step('never', 'pending'),
    ];
    const seen: Seen = new Map();
    expect(tell(seen, runOf(steps), NOW)).toEqual(['run:running', 'then:failed', 'after:running']);
    expect(tell(seen, runOf(steps), NOW)).toEqual([]);
  });

  it.each([
    ['a skipped step', step('a', 'skipped')],
    ['a step that waits', step('a', 'waiting', { ...tried(1), waitingFor: { kind: 'event', until: NOW } })],
    ['the progress of items', step('a', 'running', { ...tried(1), items: { count: 9, done: 4, failed: 0 } })],
  ])('hold %s since any instant, because it does not say when it changed', (_name, state) => {
    expect(tell(new Map(), runOf([state]), NOW)).toHaveLength(2);
  });
});
