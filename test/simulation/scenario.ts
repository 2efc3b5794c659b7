/** One seed: a world with a gateway, objects, an upstream and D1, what happens in it, and the verdict. */

import { Callers } from './callers.ts';
import { chainOf, type SimulatedChain } from './chains.ts';
import { Checks } from './checks.ts';
import { createFaults, type Faults, type Mode } from './faults.ts';
import { enter } from './globals.ts';
import type { Instance } from './instance.ts';
import { Platform } from './platform.ts';
import { SimulatedD1 } from './d1.ts';
import { reclaimDatabases } from './storage.ts';
import { unheeded } from './substitutes/connectors.ts';
import { provide } from './substitutes/isolates.ts';
import { Upstream } from './upstream.ts';
import { World, type Owner } from './world.ts';
import type { Env } from '../../src/env.ts';
import { acceptAndWait, acceptRuns, type RunRequest } from '../../src/runtime/accept.ts';
import type { Configuration } from '../../src/runtime/configuration.ts';
import { RunObject } from '../../src/runtime/run-object.ts';
import { saveSummaries, sweepRuns } from '../../src/runtime/runs.ts';

export interface Verdict {
  readonly seed: number;
  readonly violation: { readonly invariant: string; readonly message: string } | undefined;
  /** Two plays of a seed have the same. */
  readonly digest: number;
  readonly runs: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly trace: readonly string[] | undefined;
}

/** Faults happen within this time; in liveness mode they stop then. */
const TROUBLE_MILLISECONDS = 4 * 60_000;
/** The longest that a run may take once faults have stopped: eight steps, each with its attempts and waits. */
const BOUND_MILLISECONDS = 2 * 3_600_000;

/** Far more than any seed needs; what does nothing else but run would run forever. */
const MOST_TURNS = 50_000;

export async function simulate(seed: number, mode: Mode, traced = false): Promise<Verdict> {
  const world = new World(seed, traced);
  enter(world);
  try {
    const scenario = new Scenario(world);
    await scenario.play(mode);
    return scenario.verdict(seed);
  } finally {
    enter(undefined);
    unheeded.clear();
    reclaimDatabases();
  }
}

interface Input {
  readonly n: number;
  readonly delivery: string;
  readonly group: string;
}

class Scenario {
  readonly #world: World;
  readonly #faults: Faults;
  readonly #checks: Checks;
  readonly #callers: Callers;
  readonly #d1: SimulatedD1;
  readonly #upstream: Upstream;
  readonly #platform: Platform;
  readonly #gateway: Owner = { name: 'gateway', state: 'alive', backlog: [] };
  readonly #env: Env;
  readonly #chain: SimulatedChain;
  /** Runs that call each other meet in one object, or across two. */
  readonly #shards: string;
  #version = 1;
  #clients = 0;

  constructor(world: World) {
    this.#world = world;
    this.#faults = createFaults(world);
    this.#chain = chainOf(world.random);
    this.#checks = new Checks({
      now: () => ({ at: world.now, wall: world.wall() }),
      get hasJumped() {
        return world.counts['clock jump'] !== undefined;
      },
    });
    this.#shards = this.#chain.features.has('call') && world.random.chance(0.7) ? '2' : '1';
    this.#d1 = new SimulatedD1(world, this.#faults);
    this.#platform = new Platform(world, this.#faults, (context, instance) => this.#construct(context, instance));
    this.#upstream = new Upstream(world, this.#faults, {
      kill: (instance, reason) => this.#platform.killInstance(instance, reason),
      received: (receipt) => this.#checks.received(receipt),
    });
    this.#env = this.#environment({
      RUNS: { getByName: (name: string) => this.#platform.stub(name, this.#gateway) },
      DB: this.#d1.binding(this.#gateway, (release) => release()),
    });
    provide(this.#env, {
      loadPlan: (name, version) => this.#chainNamed(name).plan(version),
      configuration: () => this.#configuration(),
    });
    this.#callers = new Callers({
      world,
      env: this.#env,
      checks: this.#checks,
      chain: this.#chain,
      controls: world.random.chance(0.2),
      at: (delay, label, run) => this.#at(delay, label, run),
    });
  }

  #environment(bindings: Readonly<Record<string, unknown>>): Env {
    return { TIDEGATE_RUN_SHARDS: this.#shards, ...bindings } as unknown as Env;
  }

  /** Its own, or one that it calls. */
  #chainNamed(name: string): SimulatedChain {
    return [...this.#chain.calls.values()].find(({ chain }) => chain.name === name)?.chain ?? this.#chain;
  }

  #configuration(): Configuration {
    const chains = [...this.#chain.calls.values()].map(
      ({ chain: { name, plan } }) => [name, { name, version: 1, plan: plan(1) }] as const,
    );
    const connection = {
      tenant: '',
      name: 'provider',
      connector: 'sim',
      settings: { baseUrl: 'https://upstream.example' },
      secretNames: [],
      sealed: 'sealed',
      createdAt: 0,
      updatedAt: 0,
      expiresAt: null,
      disabled: null,
      probeMinutes: null,
      quota: null,
    };
    return {
      revision: 1,
      chains: new Map(chains),
      routes: new Map(),
      upstreams: new Map(),
      sources: new Map(),
      keys: new Map(),
      purges: new Map(),
      switches: new Map(),
      connections: new Map([['provider', connection]]),
    };
  }

  /** The production object, in an isolate that has nothing in memory yet. */
  #construct(context: DurableObjectState, instance: Instance): RunObject {
    const gate = (release: () => void): void => instance.gate(release);
    const env = this.#environment({
      RUNS: { getByName: (name: string) => this.#platform.stub(name, instance, gate) },
      DB: this.#d1.binding(instance, gate),
      EGRESS: { fetch: (_url: URL, init: RequestInit) => this.#upstream.fetch(instance, init) },
    });
    const loaded = new Set<string>();
    /** Another object of the same isolate may have loaded it. */
    const load = <T>(what: string, make: () => T): T | Promise<T> => {
      if (loaded.has(what) || this.#world.random.chance(0.3)) return make();
      return this.#d1.ask(instance, gate, what, () => {
        loaded.add(what);
        return make();
      });
    };
    // Where no chain is called, the configuration is only asked for a connection.
    const configuration = (): Configuration => this.#configuration();
    provide(env, {
      loadPlan: (name, version) => load(`plan ${version} of ${name}`, () => this.#chainNamed(name).plan(version)),
      configuration: () => (this.#chain.calls.size === 0 ? configuration() : load('the configuration', configuration)),
    });
    return new RunObject(context, env);
  }

  async play(mode: Mode): Promise<void> {
    const { random } = this.#world;
    this.#scheduleTrouble();
    const deliveries = this.#chain.flow === undefined ? random.between(1, 3) : random.between(2, 6);
    for (let index = 0; index < deliveries; index++) this.#deliver(`delivery-${index}`);
    if (this.#faults.sweeps) this.#sweepEachMinute();
    const quiet = (): boolean => this.#isQuiet();
    if (mode === 'safety') await this.#run(TROUBLE_MILLISECONDS + BOUND_MILLISECONDS / 4, quiet);
    else {
      await this.#run(TROUBLE_MILLISECONDS, () => false);
      this.#faults.stop();
      await this.#run(this.#world.now + BOUND_MILLISECONDS, quiet);
      if (!quiet())
        this.#checks.fail('A', `${this.#openRuns()} runs have not ended ${BOUND_MILLISECONDS} ms after the last fault`);
    }
    await this.#readEverything(mode);
  }

  async #run(until: number, done: () => boolean): Promise<void> {
    await this.#world.run(until, () => {
      if (this.#world.turns > MOST_TURNS) this.#checks.fail('A', `it goes on and on: ${MOST_TURNS} turns`);
      return this.#checks.violation !== undefined || done();
    });
  }

  #openRuns(): number {
    let open = 0;
    for (const object of this.#platform.objects.values()) open += object.openRuns;
    return open;
  }

  #isQuiet(): boolean {
    return this.#clients === 0 && this.#callers.isIdle && this.#openRuns() === 0;
  }

  #at(delayMilliseconds: number, label: string, run: () => void | Promise<unknown>): void {
    this.#world.after(delayMilliseconds, this.#gateway, label, () => {
      const ended: unknown = run();
      // A caller that fails is a caller that was refused; the checks judge what it was told.
      if (ended instanceof Promise)
        ended.catch((thrown: unknown) => this.#world.note(() => `refused: ${String(thrown)}`));
    });
  }

  #scheduleTrouble(): void {
    const { random } = this.#world;
    const faults = this.#faults;
    const sometime = (): number => (random.chance(0.6) ? random.next() * 5_000 : random.next() * TROUBLE_MILLISECONDS);
    const trouble = (count: number, label: string, run: () => void): void => {
      for (let index = 0; index < count; index++) {
        this.#world.after(sometime(), undefined, label, () => {
          if (!faults.stopped) run();
        });
      }
    };
    trouble(faults.randomKills, 'a kill', () => this.#platform.killAll('at random'));
    trouble(faults.freezes, 'a freeze', () => this.#platform.freezeAll(random.between(100, 90_000)));
    trouble(faults.clockJumps, 'the clock jumps', () => this.#platform.jump(random.chance(0.5) ? 300_000 : -300_000));
    trouble(faults.outages, 'D1 goes down', () => {
      faults.setD1(true);
      this.#world.after(random.between(1_000, 120_000), undefined, 'D1 is back', () => faults.setD1(false));
    });
    if (this.#chain.features.has('provider')) {
      trouble(faults.providerOutages, 'the provider goes down', () => {
        this.#world.count('provider down');
        faults.setProvider(true);
        this.#world.after(random.between(3_000, 90_000), undefined, 'the provider is back', () =>
          faults.setProvider(false),
        );
      });
    }
    if (random.chance(0.2)) trouble(1, 'a new version is published', () => void (this.#version = 2));
  }

  #sweepEachMinute(): void {
    this.#at(60_000, 'the cron trigger sweeps', async () => {
      this.#sweepEachMinute();
      await sweepRuns(this.#env);
    });
  }

  /** One delivery, sent again until it is acknowledged, and sometimes when it was. */
  #deliver(key: string): void {
    const { random } = this.#world;
    const begin = random.next() * (random.chance(0.7) ? 200 : 60_000);
    const copies = random.chance(0.3) ? random.between(2, 3) : 1;
    const input = { n: random.below(12), delivery: key, group: random.chance(0.6) ? 'a' : 'b' };
    for (let copy = 0; copy < copies; copy++) {
      this.#clients++;
      const delay = begin + (copy === 0 ? 0 : random.next() * (random.chance(0.5) ? 20 : 90_000));
      this.#at(delay, `${key} is sent`, () => this.#send(key, input, 0));
    }
  }

  async #send(key: string, input: Input, tries: number): Promise<void> {
    const { random } = this.#world;
    const event = { type: 'webhook', params: {}, query: {}, headers: {}, body: input, receivedAt: Date.now() } as const;
    const request: RunRequest = {
      chain: this.#chain.name,
      version: this.#version,
      trigger: 'manual',
      event,
      input,
      dedupeKey: key,
    };
    try {
      await this.#accept(key, input.group, request);
      this.#clients--;
    } catch (thrown) {
      this.#world.note(() => `${key} was refused: ${String(thrown)}`);
      if (tries === 20) this.#clients--;
      else this.#at(random.between(500, 10_000), `${key} is sent again`, () => this.#send(key, input, tries + 1));
    }
  }

  async #accept(key: string, group: string, request: RunRequest): Promise<void> {
    const { random } = this.#world;
    this.#checks.delivered(key, group, this.#chain, request.version);
    // Who has gone away is told nothing, and so promised nothing.
    const listens = !random.chance(0.1);
    if (random.chance(0.6)) {
      const [accepted] = await acceptRuns(this.#env, key, [request]);
      if (accepted === undefined) throw new Error('nothing was accepted');
      if (listens) this.#checks.accepted(key, accepted.id, accepted.duplicate);
      else this.#world.count('client disconnect');
      return this.#callers.follow(accepted.id, key);
    }
    const { id, answer } = await acceptAndWait(this.#env, request, random.between(50, 60_000));
    // Others may know of the run nevertheless.
    this.#callers.follow(id, key);
    if (!listens) return this.#world.count('client disconnect');
    this.#checks.accepted(key, id, undefined);
    if (answer !== undefined) this.#checks.answered(id, answer);
  }

  /** Twice: as it is, and after a restart that leaves nothing but the disk. */
  async #readEverything(mode: Mode): Promise<void> {
    if (this.#checks.violation !== undefined) return;
    this.#faults.stop();
    await this.#readAll();
    this.#platform.killAll('at the end');
    await this.#readAll();
    if (mode === 'liveness') {
      await this.#finish(() => saveSummaries(this.#env));
      this.#checks.savedAs((id) => this.#d1.statusOf(id));
    }
    this.#checks.conclude();
  }

  async #readAll(): Promise<void> {
    for (const id of this.#checks.ids) {
      await this.#finish(() => this.#callers.look(id));
    }
  }

  async #finish(run: () => Promise<unknown>): Promise<void> {
    let done = false;
    // A kill that was already on its way may meet the first.
    for (let tries = 0; tries < 3 && !done; tries++) {
      this.#at(0, 'a last look', async () => {
        await run();
        done = true;
      });
      await this.#run(this.#world.now + 20_000, () => done);
    }
    if (!done) this.#checks.fail('A', 'a quiet object did not answer within a minute');
  }

  verdict(seed: number): Verdict {
    const { violation } = this.#checks;
    return {
      seed,
      violation: violation && { invariant: violation.invariant, message: violation.message },
      digest: this.#world.digest,
      runs: this.#checks.ids.length,
      counts: this.#world.counts,
      trace: this.#world.lines,
    };
  }
}
