/// <reference types="@cloudflare/vitest-plugin/types" />

import {
  createExecutionContext,
  runDurableObjectAlarm,
  runInDurableObject,
  waitOnExecutionContext,
} from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, it } from 'vitest';
import { reloadConfiguration } from '../../../src/runtime/configuration.ts';
import { unhealthyTargets, watchPools } from '../../../src/runtime/health.ts';
import { manage } from '../gateway/fixtures.ts';
import { poolOf, REFUSED, send, Upstreams } from '../gateway/proxy/fixtures.ts';

let count = 0;

/** A pool in the configuration: checked once when it is saved, then when the test says so. */
class CheckedPool {
  readonly name = `checked-${++count}`;
  readonly upstreams = new Upstreams(2);
  readonly document: Readonly<Record<string, unknown>>;

  constructor(active: Readonly<Record<string, unknown>> = {}, more: readonly string[] = []) {
    const targets = [...this.upstreams.urls, ...more].map((url) => ({ url }));
    this.document = {
      name: this.name,
      targets,
      health: { active: { path: '/health', interval: '1h', timeout: '200ms', unhealthy: 2, healthy: 2, ...active } },
    };
  }

  async save(document = this.document): Promise<void> {
    const { status, text } = await manage(`PUT /upstreams/${this.name}`, document);
    expect(status, text).toBeLessThan(300);
    await this.watch();
  }

  /** Resolves when the check that this starts, if it starts one, is over. */
  async watch(): Promise<void> {
    await watchPools(env, await reloadConfiguration(env));
    await expect.poll(() => alarmOf(this)).toBeGreaterThan(Date.now() + 60_000);
  }

  get stub() {
    return env.HEALTH.getByName(this.name);
  }

  async turns(number: number): Promise<void> {
    for (let turn = 0; turn < number; turn++) await runDurableObjectAlarm(this.stub);
  }
}

const alarmOf = (pool: CheckedPool): Promise<number | null> =>
  runInDurableObject(pool.stub, (_object, state) => state.storage.getAlarm());

describe('the checks of a pool', () => {
  it('take a target out after so many failures in a row, and back after so many successes', async () => {
    const pool = new CheckedPool();
    await pool.upstreams.behave(0, { kind: 'answer', status: 500 });
    await pool.save();
    expect(await pool.stub.unhealthy()).toEqual([]);
    await pool.turns(1);
    expect(await pool.stub.unhealthy()).toEqual([pool.upstreams.urls[0]]);
    await pool.upstreams.behave(0, { kind: 'echo' });
    await pool.turns(1);
    expect(await pool.stub.unhealthy()).toEqual([pool.upstreams.urls[0]]);
    await pool.turns(1);
    expect(await pool.stub.unhealthy()).toEqual([]);
    expect((await pool.upstreams.seen()).at(-1)?.path).toMatch(/\/health$/);
  });

  it('fail for an answer that does not come, a redirect and a port that nobody listens at', async () => {
    const pool = new CheckedPool({ unhealthy: 1 }, [REFUSED]);
    await pool.upstreams.behave(0, { kind: 'hang' });
    await pool.upstreams.behave(1, { kind: 'answer', status: 302, headers: { location: '/' } });
    await pool.save();
    expect((await pool.stub.unhealthy()).toSorted()).toEqual([...pool.upstreams.urls, REFUSED].toSorted());
  });

  it('never reach a private address that the owner did not list', async () => {
    const pool = new CheckedPool({ unhealthy: 1 }, ['http://10.0.0.1']);
    await pool.save();
    expect(await pool.stub.unhealthy()).toEqual(['http://10.0.0.1']);
  });

  it('stop when the pool is removed, and forget what they found', async () => {
    const pool = new CheckedPool({ unhealthy: 1 });
    await pool.upstreams.behave(0, { kind: 'answer', status: 500 });
    await pool.save();
    expect(await alarmOf(pool)).not.toBeNull();
    await manage(`DELETE /upstreams/${pool.name}`);
    await pool.turns(1);
    expect(await alarmOf(pool)).toBeNull();
    expect(await pool.stub.unhealthy()).toEqual([]);
  });

  it('begin again by the sweep when the alarm was lost, and not twice', async () => {
    const pool = new CheckedPool();
    await pool.save();
    await runInDurableObject(pool.stub, (_object, state) => state.storage.deleteAlarm());
    await pool.watch();
    const checks = (await pool.upstreams.seen()).length;
    await pool.watch();
    expect((await pool.upstreams.seen()).length).toBe(checks);
    expect(checks).toBe(2);
  });

  it('come sooner when the interval is made shorter', async () => {
    const pool = new CheckedPool();
    await pool.save();
    const active = { path: '/health', interval: '5m' };
    await pool.save({ ...pool.document, health: { active } });
    expect((await pool.upstreams.seen()).length).toBe(2);
    expect(await alarmOf(pool)).toBeLessThan(Date.now() + 301_000);
  });

  it('drop the verdict on a target that the pool has no more', async () => {
    const pool = new CheckedPool({ unhealthy: 1 }, [REFUSED]);
    await pool.save();
    expect(await pool.stub.unhealthy()).toEqual([REFUSED]);
    await pool.save({ ...pool.document, targets: pool.upstreams.urls.map((url) => ({ url })) });
    await pool.turns(1);
    expect(await pool.stub.unhealthy()).toEqual([]);
  });
});

describe('what an isolate knows of the checks', () => {
  it('comes after the response, once in a while, and keeps requests away from a target that is out', async () => {
    const pool = new CheckedPool({ unhealthy: 1 });
    await pool.upstreams.behave(0, { kind: 'answer', status: 500 });
    await pool.save();
    const now = Date.now();
    const ctx = createExecutionContext();
    expect([...unhealthyTargets(env, ctx, pool.name, now)]).toEqual([]);
    await waitOnExecutionContext(ctx);
    expect([...unhealthyTargets(env, ctx, pool.name, now + 1)]).toEqual([pool.upstreams.urls[0]]);
    await pool.upstreams.behave(0, { kind: 'echo' });
    const checks = (await pool.upstreams.seen()).length;
    const plan = poolOf(pool.document);
    for (let request = 0; request < 10; request++) expect((await send(plan)).status).toBe(200);
    expect((await pool.upstreams.seen()).length).toBe(checks);
  });

  it('asks at most once in its time, also when the answer fails', () => {
    const waited: Promise<unknown>[] = [];
    const ctx = { waitUntil: (promise: Promise<unknown>) => void waited.push(promise) };
    const failing = {
      ...env,
      HEALTH: { getByName: () => ({ unhealthy: () => Promise.reject(new Error('down')) }) } as unknown as Env['HEALTH'],
    };
    for (const now of [0, 1, 2_999, 3_000, 3_001]) unhealthyTargets(failing, ctx, 'nobody', now);
    expect(waited).toHaveLength(2);
    return Promise.all(waited);
  });
});

type Env = Cloudflare.Env;
