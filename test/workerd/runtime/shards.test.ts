import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { beforeEach, describe, expect, it } from 'vitest';
import { answerOf, publish } from '../gateway/fixtures.ts';
import { LIMITS } from '../../../src/core/limits.ts';
import type { Env } from '../../../src/env.ts';
import { acceptAndWait, acceptRuns, type RunRequest } from '../../../src/runtime/accept.ts';
import { checkConfiguration } from '../../../src/runtime/configuration.ts';
import type { RunObject } from '../../../src/runtime/run-object.ts';
import { readRun, sweepRuns } from '../../../src/runtime/runs.ts';
import { objectsOf, stubOf } from '../../../src/runtime/shards.ts';

/** Objects that are asked, in order, and those that have too much to do. */
let asked: string[] = [];
let isBusy: (name: string) => boolean = () => false;
const refuse = (): Promise<never> => Promise.reject(new Error('run.busy'));

const crowded: Env = Object.create(env, {
  RUNS: {
    value: {
      getByName: (name: string) => {
        asked.push(name);
        return isBusy(name) ? { accept: refuse, acceptAndWait: refuse } : env.RUNS.getByName(name);
      },
    },
  },
});

beforeEach(() => {
  asked = [];
  isBusy = () => false;
});

async function requestOf(more: Partial<RunRequest> = {}): Promise<RunRequest> {
  const { name } = await publish({ triggers: {}, mode: 'durable', output: 'done' });
  await checkConfiguration(env, 0);
  const event = { type: 'manual', params: {}, query: {}, headers: {}, body: {}, receivedAt: Date.now() } as const;
  return { chain: name, version: 1, trigger: 'manual', event, ...more };
}

describe('a run without a key', () => {
  it('is kept near its caller, in an object that its id names and that is swept', async () => {
    const [accepted] = await acceptRuns(crowded, undefined, [await requestOf({ colo: 'FRA' })]);
    expect(accepted?.id).toMatch(/^run_fra[0-3]_[0-9a-f]{32}$/);
    expect(await readRun(env, accepted?.id ?? '')).toMatchObject({ ok: true, value: { status: 'succeeded' } });
    asked = [];
    await sweepRuns(crowded);
    expect(asked).toContain(`runs-${accepted?.id.slice(4, 8)}`);
  });

  it('goes to an object without a location where the data centre is not known', async () => {
    for (const colo of [undefined, '', 'nowhere', '../']) {
      const [accepted] = await acceptRuns(crowded, undefined, [await requestOf({ colo })]);
      expect(accepted?.id).toMatch(/^run_[01]_/);
    }
  });

  it('goes to another object near its caller where the first has too much to do, then to any', async () => {
    const request = await requestOf({ colo: 'cdg' });
    let first = '';
    isBusy = (name) => name === (first ||= name);
    const { id, answer } = await acceptAndWait(crowded, request, 5_000);
    expect(id).toMatch(/^run_cdg\d_/);
    expect(`runs-${id.slice(4, 8)}`).not.toBe(first);
    expect(answer).toMatchObject({ status: 'succeeded' });
    isBusy = (name) => name.includes('cdg');
    expect((await acceptAndWait(crowded, request, 5_000)).id).toMatch(/^run_[01]_/);
  });

  it('is refused with a time to come back only where every object has too much to do', async () => {
    isBusy = () => true;
    const refused = acceptRuns(crowded, undefined, [await requestOf({ colo: 'lhr' })]);
    await expect(refused).rejects.toMatchObject({ fault: { code: 'run.busy', retryAfterMilliseconds: 1_000 } });
    expect(new Set(asked).size).toBe(4);
  });
});

describe('a run with a key', () => {
  it('goes to the object of its key, wherever its caller is', async () => {
    const request = await requestOf({ dedupeKey: 'delivery-1' });
    const here = await acceptRuns(env, 'delivery-1', [{ ...request, colo: 'FRA' }]);
    const there = await acceptRuns(env, 'delivery-1', [{ ...request, colo: 'SIN' }]);
    expect(there).toEqual([{ id: here[0]?.id, duplicate: true }]);
  });

  it('never goes to another, where its duplicate would not be found', async () => {
    isBusy = () => true;
    const refused = acceptRuns(crowded, 'k', [await requestOf({ dedupeKey: 'k', colo: 'FRA' })]);
    await expect(refused).rejects.toMatchObject({ fault: { code: 'run.busy' } });
    expect(asked).toHaveLength(1);
  });
});

describe('an object', () => {
  it('refuses new runs while too many arrive, and loses none that it took', async () => {
    const request = await requestOf();
    const runs = Array.from({ length: LIMITS.arrivingRunsPerObject + 2 }, (_, n) => ({
      id: `run_0_${n.toString(16).padStart(32, '0')}`,
      chain: request.chain,
      version: 1,
      receivedAt: Date.now(),
      start: JSON.stringify({ trigger: 'manual', event: request.event }),
    }));
    const late = { ...runs[0], id: `run_0_${'f'.repeat(32)}` } as (typeof runs)[number];
    await runInDurableObject(stubOf(env, '0'), async (object: RunObject) => {
      const taken = object.accept(runs);
      await expect(object.accept([late])).rejects.toThrow('run.busy');
      // What it has is not new.
      await expect(object.accept(runs.slice(0, 1))).resolves.toEqual([{ id: runs[0]?.id, duplicate: true }]);
      await taken;
      await expect(object.accept([late])).resolves.toEqual([{ id: late.id, duplicate: false }]);
    });
    for (const run of [runs[1], runs.at(-1), late]) expect(await answerOf(run?.id ?? '')).toBeDefined();
  });
});

it('objects are found also where D1 is away', async () => {
  const away: Env = Object.create(env, { DB: { value: undefined } });
  expect((await objectsOf(away)).length).toBeGreaterThanOrEqual(2);
});
