import { env } from 'cloudflare:workers';
import { runInDurableObject } from 'cloudflare:test';
import { describe, expect, it } from 'vitest';
import { answerOf, call, manage, publish, publishNext, type Published } from './fixtures.ts';
import type { RunSummary } from '../../../src/core/engine/record.ts';
import worker from '../../../src/index.ts';
import { currentConfiguration, versionFor } from '../../../src/runtime/configuration.ts';
import { saveRuns } from '../../../src/store/runs.ts';

const output = (mark: string) => ({ output: { mark } });

async function marksOf(route: string, times: number): Promise<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (let time = 0; time < times; time++) {
    const { body } = await call(route, {});
    const mark = String(body['mark']);
    counts[mark] = (counts[mark] ?? 0) + 1;
  }
  return counts;
}

/** Ended runs of a version, as they would be in D1 by now. */
async function record(chain: string, version: number, succeeded: number, failed: number, milliseconds = 5) {
  const createdAt = Date.now();
  const runs = Array.from({ length: succeeded + failed }, (_, index): RunSummary => ({
    ...{
      id: `run_${chain}_${version}_${createdAt}_${index}_${milliseconds}`,
      chain,
      version,
      trigger: 'api',
      triggerType: 'http',
    },
    ...{
      mode: 'inline',
      status: index < failed ? 'failed' : 'succeeded',
      createdAt,
      endedAt: createdAt + milliseconds,
    },
    error: index < failed ? { code: 'step.failed', message: 'It broke.' } : undefined,
  }));
  await saveRuns(
    env.DB,
    runs.map((summary) => ({ summary })),
  );
}

const canaryOf = async ({ name }: Published) => (await manage(`GET /chains/${name}/canary`)).body;
const tick = (): Promise<void> =>
  worker.scheduled({ scheduledTime: Date.now(), cron: '* * * * *', noRetry: () => {} }, env);

it('a run under way stays on its version while another is published, and the next run takes that', async () => {
  const held = { use: 'flow.wait', with: { event: 'canary.released' } };
  const chain = await publish({ mode: 'durable', steps: { held }, output: 'old {{ steps.held.data }}' });
  const first = await call(chain.route, {});
  const id = String(first.body['id']);
  const summaryOf = async () => (await manage(`GET /runs/${id}`)).body;
  await expect.poll(summaryOf).toMatchObject({ version: 1, status: 'waiting' });
  await publishNext(chain, { mode: 'durable', output: 'new' });
  const second = await call(chain.route, {});
  expect(await answerOf(String(second.body['id']))).toMatchObject({ status: 'succeeded', output: '"new"' });
  expect(await summaryOf()).toMatchObject({ version: 1, status: 'waiting' });
  await manage('POST /events', { name: 'canary.released', data: 200 });
  expect(await answerOf(id)).toMatchObject({ status: 'succeeded', output: '"old 200"' });
  expect(await summaryOf()).toMatchObject({ version: 1, output: 'old 200' });
});

describe('a canary', () => {
  it('gets about its part of the calls, all at 100, none at 0 and none once it is ended', async () => {
    const chain = await publish(output('stable'));
    await publishNext(chain, output('canary'), '?canary=30');
    const { canary = 0, stable = 0 } = await marksOf(chain.route, 200);
    expect([canary > 30, canary < 95, canary + stable]).toEqual([true, true, 200]);
    const weigh = (weight: number) => manage(`PUT /chains/${chain.name}/canary`, { version: 2, weight });
    await weigh(100);
    expect(await marksOf(chain.route, 10)).toEqual({ canary: 10 });
    await weigh(0);
    expect(await marksOf(chain.route, 10)).toEqual({ stable: 10 });
    await weigh(100);
    await manage(`DELETE /chains/${chain.name}/canary`);
    expect(await marksOf(chain.route, 10)).toEqual({ stable: 10 });
  });

  it('is chosen by the key of a delivery, the same each time and in whichever isolate', async () => {
    const chain = await publish(output('stable'));
    await publishNext(chain, output('canary'), '?canary=50');
    const active = (await currentConfiguration(env)).chains.get(chain.name);
    if (active === undefined) throw new Error('the chain is not live');
    const versions = Array.from({ length: 50 }, (_, index) => versionFor(active, `shop:evt_${index}`).version);
    expect(new Set(versions)).toEqual(new Set([1, 2]));
    expect(Array.from({ length: 50 }, (_, index) => versionFor(active, `shop:evt_${index}`).version)).toEqual(versions);
  });

  it('gets its part of the runs that are started by hand', async () => {
    const chain = await publish({ mode: 'durable', ...output('stable') });
    await publishNext(chain, { mode: 'durable', ...output('canary') }, '?canary=100');
    const { body } = await manage(`POST /chains/${chain.name}/runs`, {});
    expect(await answerOf(String(body['id']))).toMatchObject({ output: '{"mark":"canary"}' });
  });

  it('gets its part of the ticks of a schedule', async () => {
    const nightly = { type: 'schedule', cron: '0 * * * *', missed: 'all' };
    const chain = await publish({ triggers: { nightly }, mode: 'durable', ...output('stable') });
    await publishNext(chain, { triggers: { nightly }, mode: 'durable', ...output('canary') }, '?canary=50');
    let now = Date.parse('2126-05-05T12:30:00Z');
    const entry = { chain: chain.name, version: 1, trigger: 'nightly', timezone: 'UTC', missed: 'all' } as const;
    await runInDurableObject(env.SCHEDULER.getByName('canary'), async (scheduler) => {
      Object.defineProperty(scheduler, 'now', { value: () => now });
      await scheduler.reconcile([{ ...entry, cron: nightly.cron }]);
      now += 30 * 3_600_000;
      await scheduler.sweep();
      await scheduler.reconcile([]);
    });
    const { body } = await manage(`GET /runs?chain=${chain.name}`);
    const runs = body['items'] as { readonly version: number }[];
    expect(runs.length).toBeGreaterThanOrEqual(30);
    expect(new Set(runs.map(({ version }) => version))).toEqual(new Set([1, 2]));
  });

  it('that fails is rolled back by the minute’s sweep, with the reason shown, an audit line and no further run', async () => {
    const chain = await publish(output('stable'));
    await publishNext(chain, output('canary'), '?canary=50');
    await record(chain.name, 1, 100, 1);
    await record(chain.name, 2, 70, 30);
    await tick();
    expect(await marksOf(chain.route, 10)).toEqual({ stable: 10 });
    const canary = await canaryOf(chain);
    expect(canary).toMatchObject({
      ...{ state: 'rolled-back', weight: 0, version: 2, stable: 1 },
      reason: 'It fails more often: 30 of its 100 runs failed, and 1 of the 101 of the stable version.',
      errors: { canary: { runs: 100, bad: 30, rate: 0.3 } },
    });
    await tick();
    expect(await canaryOf(chain)).toEqual(canary);
    const { results } = await env.DB.prepare(
      `select actor, detail from audit_log where action = 'chain.canary-rollback' and subject = ?`,
    )
      .bind(chain.name)
      .all();
    expect(results).toEqual([{ actor: 'gateway', detail: JSON.stringify({ version: 2, reason: canary['reason'] }) }]);
  });

  it('is judged by its real runs when somebody looks', async () => {
    const fails = { steps: { stop: { use: 'flow.fail', with: { message: 'No.' } } } };
    const chain = await publish(output('stable'));
    await publishNext(chain, fails, '?canary=50');
    for (let time = 0; time < 60; time++) await call(chain.route, {});
    expect(await canaryOf(chain)).toMatchObject({
      state: 'rolled-back',
      reason: expect.stringContaining('fails more'),
    });
  });

  it('that is as good, cancelled, or failed by the gateway itself goes on', async () => {
    const chain = await publish(output('stable'));
    await publishNext(chain, output('canary'), '?canary=50');
    await record(chain.name, 1, 100, 10);
    await record(chain.name, 2, 100, 12);
    await record(chain.name, 2, 0, 40, 6);
    await env.DB.prepare(
      `update runs set status = 'cancelled' where chain = ? and id like '%_6' and id not like '%0_6'`,
    )
      .bind(chain.name)
      .run();
    await env.DB.prepare(`update runs set error = '{"code":"storage.unavailable"}' where chain = ? and id like '%0_6'`)
      .bind(chain.name)
      .run();
    expect(await canaryOf(chain)).toMatchObject({
      ...{ state: 'running', weight: 50 },
      errors: { stable: { runs: 110, bad: 10 }, canary: { runs: 112, bad: 12 } },
    });
  });

  it('that is slower is rolled back for its latency, and one whose latency is not judged goes on', async () => {
    for (const [latencyIncrease, state] of [
      [0.2, 'rolled-back'],
      [null, 'running'],
    ] as const) {
      const chain = await publish(output('stable'));
      await publishNext(chain, output('canary'), '?activate=false');
      await record(chain.name, 1, 100, 0, 20);
      await manage(`PUT /chains/${chain.name}/canary`, { version: 2, weight: 50, latencyIncrease });
      await record(chain.name, 1, 60, 0, 21);
      await record(chain.name, 2, 60, 0, 50);
      await scheduler.wait(60);
      const canary = await canaryOf(chain);
      expect(canary).toMatchObject({ state });
      if (state === 'running') expect(canary['latency']).toBeNull();
      else expect(canary['reason']).toContain('60 of its 60 runs took over 30 ms, and 0 of the 60');
    }
  });

  it('that was rolled back can be begun again, and counts anew', async () => {
    const chain = await publish(output('stable'));
    await publishNext(chain, output('canary'), '?canary=50');
    await record(chain.name, 2, 0, 30);
    expect(await canaryOf(chain)).toMatchObject({ state: 'rolled-back' });
    await scheduler.wait(5);
    const again = await manage(`PUT /chains/${chain.name}/canary`, { version: 2, weight: 100 });
    expect(again.body).toMatchObject({ state: 'running', reason: null, errors: { canary: { runs: 0, bad: 0 } } });
    expect(await marksOf(chain.route, 5)).toEqual({ canary: 5 });
  });
});
