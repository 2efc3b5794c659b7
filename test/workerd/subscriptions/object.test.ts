/// <reference types="@cloudflare/vitest-plugin/types" />

import { abortAllDurableObjects, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, it } from 'vitest';
import { Topic } from './fixtures.ts';
import { postgres } from '../../../src/connectors/postgres/index.ts';
import { reloadConfiguration } from '../../../src/runtime/configuration.ts';
import { deliverEvents } from '../../../src/runtime/subscriptions/delivery.ts';
import { watchSubscriptions } from '../../../src/runtime/subscriptions/index.ts';
import { targetOf } from '../../../src/runtime/subscriptions/target.ts';
import { actionsOf, output, servers } from '../drivers/fixtures.ts';
import { codeOf, manage, upstream } from '../gateway/fixtures.ts';

let count = 0;

type Fields = Readonly<Record<string, unknown>>;

interface Status {
  readonly state: string;
  readonly cursor: string | null;
  readonly counts: Fields;
  readonly error: Fields | null;
  readonly failedEvent: Fields | null;
}

/** A chain that listens to a topic, through a connection of its own. */
class Follower {
  readonly name = `follower-${++count}`;
  readonly topic = new Topic();
  readonly document = { triggers: { feed: this.trigger() }, mode: 'durable', steps: {}, output: '{{ trigger.body }}' };

  trigger(more: Fields = {}): Fields {
    return {
      type: 'subscription',
      to: 'http.events',
      connection: this.name,
      with: { url: this.topic.path },
      ...more,
    };
  }

  async connect(secrets: Fields = { bearer: 'a token' }, settings: Fields = { baseUrl: upstream }): Promise<void> {
    const { status, text } = await manage(`PUT /connections/${this.name}`, { connector: 'http', settings, secrets });
    expect(status, text).toBeLessThan(300);
  }

  async publish(more: Fields = {}): Promise<void> {
    const { status, text } = await manage(`PUT /chains/${this.name}`, { ...this.document, ...more });
    expect(status, text).toBeLessThan(300);
  }

  async start(more: Fields = {}): Promise<this> {
    await this.connect();
    await this.publish({ triggers: { feed: this.trigger(more) } });
    await this.is('open');
    return this;
  }

  get stub() {
    return env.SUBSCRIPTIONS.getByName(JSON.stringify([this.name, 'feed']));
  }

  async status(): Promise<Status> {
    const { status, text, body } = await manage(`GET /subscriptions/${this.name}/feed`);
    expect(status, text).toBe(200);
    return body as unknown as Status;
  }

  async is(state: string): Promise<void> {
    await expect.poll(async () => (await this.status()).state, { timeout: 10_000 }).toBe(state);
  }

  /** What its runs gave, sorted. */
  async outputs(): Promise<unknown[]> {
    const { body } = await manage(`GET /runs?chain=${this.name}&limit=100`);
    const runs = body['items'] as { id: string }[];
    const records = await Promise.all(runs.map(({ id }) => manage(`GET /runs/${id}`)));
    return records.map((record) => record.body['output']).toSorted((a, b) => String(a).localeCompare(String(b)));
  }

  async ran(...outputs: readonly unknown[]): Promise<void> {
    await expect.poll(() => this.outputs(), { timeout: 10_000 }).toEqual(outputs);
  }
}

const sweep = async (): Promise<void> => watchSubscriptions(env, await reloadConfiguration(env));

describe('a subscription', () => {
  it('starts a run for each event, and shows how it is going', async () => {
    const follower = await new Follower().start();
    await follower.topic.add('"a"', '"b"');
    await follower.ran('a', 'b');
    expect(await follower.status()).toMatchObject({
      chain: follower.name,
      trigger: 'feed',
      to: 'http.events',
      connection: follower.name,
      delivery: 'at-least-once',
      state: 'open',
      cursor: '2',
      counts: { events: 2, runs: 2, duplicates: 0, filtered: 0, failed: 0 },
      error: null,
    });
    const { body } = await manage('GET /subscriptions');
    expect(body['items']).toContainEqual(expect.objectContaining({ chain: follower.name, state: 'open' }));
    const runs = await manage(`GET /runs?chain=${follower.name}`);
    expect(runs.body['items']).toContainEqual(
      expect.objectContaining({ trigger: 'feed', triggerType: 'subscription' }),
    );
  });

  it('goes on where it was after the stream is cut, with each event once', async () => {
    const follower = await new Follower().start();
    await follower.topic.add('1');
    await follower.ran(1);
    await follower.topic.order('close');
    await follower.topic.add('2', '3');
    await follower.ran(1, 2, 3);
    expect((await follower.topic.requests()).map(({ headers }) => headers['last-event-id'])).toEqual([undefined, '1']);
    expect((await follower.status()).error).toMatchObject({ code: 'upstream.unreachable' });
  });

  it('is opened again by its alarm, or by the sweep, after the object was lost', async () => {
    for (const revive of [(follower: Follower) => runDurableObjectAlarm(follower.stub), sweep]) {
      const follower = await new Follower().start();
      await follower.topic.add('1');
      await follower.ran(1);
      await abortAllDurableObjects();
      await follower.topic.order('close');
      await follower.topic.add('2');
      await revive(follower);
      await follower.ran(1, 2);
    }
  });

  it('has an alarm that comes within 30 seconds for as long as it is open, and none when it is stopped', async () => {
    const follower = await new Follower().start();
    const alarm = () => runInDurableObject(follower.stub, (_object, state) => state.storage.getAlarm());
    expect(await alarm()).toBeLessThan(Date.now() + 30_000);
    await runDurableObjectAlarm(follower.stub);
    expect(await alarm()).toBeGreaterThan(Date.now());
    expect(await follower.topic.order('open')).toBe(1);
    await manage(`DELETE /chains/${follower.name}`);
    await runDurableObjectAlarm(follower.stub);
    expect(await alarm()).toBeNull();
  });

  it('starts no second run for an event that comes again', async () => {
    const follower = await new Follower().start();
    await follower.topic.add('1', '2');
    await follower.ran(1, 2);
    const { status } = await manage(`POST /subscriptions/${follower.name}/feed/restart?cursor=forget`);
    expect(status).toBe(200);
    await expect.poll(async () => (await follower.status()).counts).toMatchObject({ runs: 2, duplicates: 2 });
    expect(await follower.outputs()).toEqual([1, 2]);
  });

  it('leaves out what its filter does, and tells of an event that can start no run without stopping for it', async () => {
    const input = '{{ $number(trigger.body) }}';
    const follower = await new Follower().start({ filter: '{{ trigger.body != 2 }}', input });
    await follower.topic.add('1', '2', '"no number"', '4');
    await follower.ran(1, 4);
    const { counts, failedEvent, cursor, state } = await follower.status();
    expect(counts).toEqual({ events: 4, runs: 2, duplicates: 0, filtered: 1, failed: 1 });
    expect(failedEvent).toMatchObject({ id: '3', code: 'expression.failed' });
    expect([cursor, state]).toEqual(['4', 'open']);
  });

  it('uses the version that is active when an event comes, without a new connection for it', async () => {
    const follower = await new Follower().start();
    await follower.publish({ output: '{{ trigger.headers.id }}' });
    await follower.topic.add('"x"');
    await follower.ran('1');
    expect(await follower.topic.requests()).toHaveLength(1);
  });

  it('is opened anew, from the beginning, when it is to listen to something else', async () => {
    const follower = await new Follower().start();
    await follower.topic.add('1');
    await follower.ran(1);
    const other = new Topic();
    await other.add('10');
    await follower.publish({ triggers: { feed: follower.trigger({ with: { url: other.path } }) } });
    await follower.ran(1, 10);
    expect(await follower.topic.order('open')).toBe(0);
    expect((await other.requests())[0]?.headers['last-event-id']).toBeUndefined();
  });

  it('is opened with the new credentials when they are replaced, at its cursor', async () => {
    const follower = await new Follower().start();
    await follower.topic.add('1');
    await follower.ran(1);
    await follower.connect({ bearer: 'another token' });
    await expect.poll(async () => (await follower.topic.requests()).length).toBe(2);
    const [, request] = await follower.topic.requests();
    expect(request?.headers).toMatchObject({ authorization: 'Bearer another token', 'last-event-id': '1' });
    const { text } = await manage('GET /vault/accesses');
    expect(text).toContain(JSON.stringify({ kind: 'subscription', chain: follower.name, trigger: 'feed' }));
  });

  it.each([
    ['the connection', (name: string) => `/connections/${name}`],
    ['the connector', () => '/connectors/http'],
  ])('is closed while %s is switched off', async (_, path) => {
    const follower = await new Follower().start();
    await manage(`POST ${path(follower.name)}/disable`, { reason: 'maintenance' });
    await expect.poll(() => follower.topic.order('open')).toBe(0);
    await expect.poll(async () => (await follower.status()).error).toMatchObject({ code: 'connection.disabled' });
    await follower.topic.add('1');
    await manage(`POST ${path(follower.name)}/enable`);
    await follower.ran(1);
  });

  it.each([
    ['the chain is deleted', (follower: Follower) => manage(`DELETE /chains/${follower.name}`)],
    ['the trigger is taken away', (follower: Follower) => follower.publish({ triggers: {} })],
  ])('stops when %s', async (_, change) => {
    const follower = await new Follower().start();
    await change(follower);
    await expect.poll(() => follower.topic.order('open')).toBe(0);
    expect(codeOf(await manage(`GET /subscriptions/${follower.name}/feed`))).toEqual([404, 'subscription.not-found']);
    await sweep();
    await runDurableObjectAlarm(follower.stub);
    expect(await follower.topic.order('open')).toBe(0);
  });

  it('is over when the other side says so, until somebody restarts it', async () => {
    const follower = await new Follower().start();
    await follower.topic.order('gone');
    await follower.topic.order('close');
    await follower.is('ended');
    await follower.topic.order('open');
    await sweep();
    await runDurableObjectAlarm(follower.stub);
    expect((await follower.status()).state).toBe('ended');
    await manage(`POST /subscriptions/${follower.name}/feed/restart`);
    await follower.is('open');
  });

  it('waits longer after each failure, and never reaches a private address', async () => {
    const follower = new Follower();
    await follower.connect({ bearer: 'x' }, { baseUrl: 'http://10.0.0.1' });
    await follower.publish();
    await follower.is('waiting');
    expect((await follower.status()).error).toMatchObject({ code: 'egress.refused' });
    const waits: number[] = [];
    for (let turn = 0; turn < 4; turn++) {
      const { reopenAt, since } = (await follower.stub.status()) ?? { reopenAt: 0, since: 0 };
      waits.push(reopenAt - since);
      await expect.poll(async () => (await follower.stub.status())?.since, { timeout: 10_000 }).toBeGreaterThan(since);
      await follower.is('waiting');
    }
    expect(waits.every((wait, index) => index === 0 || wait > (waits[index - 1] ?? 0))).toBe(true);
  });

  it('says what is missing where its connection is', async () => {
    const follower = new Follower();
    await follower.publish();
    await expect.poll(async () => (await follower.status()).error).toMatchObject({ code: 'connection.not-found' });
    await follower.connect();
    await follower.is('open');
  });

  it('refuses events whose runs cannot be stored, so that they come again', async () => {
    const follower = await new Follower().start();
    const target = targetOf(await reloadConfiguration(env), { chain: follower.name, trigger: 'feed' });
    if (target === undefined) throw new Error('the chain is not active');
    const broken = { ...env, RUNS: { getByName: () => ({ accept: () => Promise.reject(new Error('away')) }) } };
    const events = [{ id: '1', body: 1 }];
    const delivering = deliverEvents(broken as unknown as typeof env, target, events, AbortSignal.abort());
    await expect(delivering).rejects.toMatchObject({ fault: { code: 'storage.unavailable' } });
  });

  it('keeps no cursor of an event whose run is not stored, and gets it again when it is opened anew', async () => {
    const follower = await new Follower().start();
    const { promise: asked, resolve } = Promise.withResolvers<void>();
    const accept = (): Promise<never> => {
      resolve();
      return Promise.reject(new Error('away'));
    };
    await runInDurableObject(follower.stub, (object) => {
      const value = { ...env, RUNS: { getByName: () => ({ accept }) } };
      Object.defineProperty(object, 'env', { value, configurable: true });
    });
    await follower.topic.add('1');
    await asked;
    expect((await follower.status()).cursor).toBeNull();
    await runInDurableObject(follower.stub, (object) => {
      Object.defineProperty(object, 'env', { value: env });
    });
    await manage(`POST /subscriptions/${follower.name}/feed/restart`);
    await follower.ran(1);
    expect((await follower.topic.requests()).map(({ headers }) => headers['last-event-id'])).toEqual([
      undefined,
      undefined,
    ]);
    expect((await follower.status()).cursor).toBe('1');
  });

  it('listens to a database', async () => {
    const name = `follower-${++count}`;
    const { connectionString } = servers.postgres;
    const connection = { connector: 'postgres', settings: { tls: 'disable' }, secrets: { connectionString } };
    await manage(`PUT /connections/${name}`, connection);
    const listening = { type: 'subscription', to: 'postgres.channel', connection: name, with: { channels: [name] } };
    const { status, text } = await manage(`PUT /chains/${name}`, {
      triggers: { told: listening },
      steps: {},
      output: '{{ trigger.headers.channel & trigger.body.n }}',
    });
    expect(status, text).toBeLessThan(300);
    const state = async () => (await manage(`GET /subscriptions/${name}/told`)).body['state'];
    await expect.poll(state).toBe('open');
    const act = actionsOf(postgres, connection);
    await output(act('query', { sql: 'select pg_notify($1, $2)', params: [name, '{"n": 1}'] }));
    const runs = async () => (await manage(`GET /runs?chain=${name}`)).body['items'];
    await expect.poll(runs).toMatchObject([{ trigger: 'told', status: 'succeeded' }]);
  });
});
