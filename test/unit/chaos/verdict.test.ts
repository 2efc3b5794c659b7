import { describe, expect, it } from 'vitest';
import { judge, stepKey, type Evidence, type RunView } from '../../../scripts/chaos/verdict.ts';

const STEPS = ['a', 'b'];

const record = (id: string, output: readonly unknown[], more: Partial<RunView> = {}): RunView => ({
  id,
  status: 'succeeded',
  output,
  createdAt: '2026-01-01T00:00:00.000Z',
  endedAt: '2026-01-01T00:00:01.000Z',
  steps: STEPS.map((step) => ({ id: step, status: 'succeeded', output: {}, attempts: [{}] })),
  ...more,
});

const effect = (run: string, step: string, token: number, key = `${run}:${step}:0`) => ({ run, step, key, token });
const request = (run: string, step: string, at: number) => ({ run, step, key: `${run}:${step}:0`, at });

/** Two runs that went as promised. */
const right: Evidence = {
  steps: STEPS,
  accepted: ['r1', 'r2'],
  records: new Map([
    ['r1', record('r1', [0, 1])],
    ['r2', record('r2', [2, 3])],
  ]),
  receipts: [request('r1', 'a', 1), request('r1', 'b', 2), request('r2', 'a', 3), request('r2', 'b', 4)],
  effects: [effect('r1', 'a', 0), effect('r1', 'b', 1), effect('r2', 'a', 2), effect('r2', 'b', 3)],
  committed: new Map([[stepKey('r1', 'a'), 1.5]]),
};

const withRecord = (run: RunView): Evidence['records'] => new Map([...right.records, [run.id, run]]);
const broken = (evidence: Partial<Evidence>) =>
  judge({ ...right, ...evidence }).map(({ promise, run }) => [promise, run]);

describe('the verdict', () => {
  it('finds nothing where every promise was kept', () => {
    expect(judge(right)).toEqual([]);
  });

  it('finds an accepted run that is not there', () => {
    expect(broken({ accepted: ['r1', 'r2', 'r3'] })).toEqual([['every accepted run succeeds', 'r3']]);
  });

  it.each(['failed', 'cancelled', 'running', 'waiting', 'queued'])('finds an accepted run that is %s', (status) => {
    const records = withRecord(record('r1', [0, 1], { status }));
    expect(broken({ records })).toEqual([['every accepted run succeeds', 'r1']]);
  });

  it('finds a request for a step whose result had been shown', () => {
    const records = withRecord(
      record('r1', [0, 1], {
        steps: STEPS.map((id) => ({ id, status: 'succeeded', output: {}, attempts: [{}, {}] })),
      }),
    );
    const receipts = [...right.receipts, request('r1', 'a', 9)];
    expect(broken({ receipts, records })).toEqual([['no committed step is computed again', 'r1']]);
  });

  it('lets a step be asked for again whose result nobody had seen', () => {
    const steps = STEPS.map((id) => ({ id, status: 'succeeded', output: {}, attempts: [{}, {}] }));
    const records = withRecord(record('r1', [0, 1], { steps }));
    expect(broken({ receipts: [...right.receipts, request('r1', 'b', 9)], records })).toEqual([]);
  });

  it('finds a second effect under another key, also of a run that was never confirmed', () => {
    const effects = [...right.effects, effect('r9', 'a', 4), effect('r9', 'a', 5, 'r9:a:1')];
    expect(broken({ effects })).toEqual([['no effect happens twice', 'r9']]);
  });

  it('finds a request that no attempt tells of', () => {
    const receipts = [...right.receipts, request('r2', 'b', 5)];
    expect(broken({ receipts })).toEqual([['every request was noted before it was sent', 'r2']]);
  });

  it('finds a run that gives the reply of another', () => {
    const records = withRecord(record('r1', [0, 3]));
    expect(broken({ records })).toEqual([['a run gives the replies that its own effects had', 'r1']]);
  });
});
