/**
 * The platform around the objects: it starts an instance when something is sent to one, calls alarms,
 * evicts, kills, freezes and replaces instances, and carries calls.
 */

import { Instance } from './instance.ts';
import type { Faults } from './faults.ts';
import type { Change, Disk } from './storage.ts';
import type { Owner, Task, World } from './world.ts';

type Methods = Readonly<Record<string, (...args: unknown[]) => unknown>>;

interface SimulatedObject {
  readonly name: string;
  readonly disk: Disk;
  current: { readonly instance: Instance; readonly methods: Methods } | undefined;
  instances: number;
  alarm: Task | undefined;
  alarmRetries: number;
  /** Runs that have not ended, as the newest commit left them. */
  openRuns: number;
}

/** What the scenario makes for a new instance: the production object. */
export type Construct = (context: DurableObjectState, instance: Instance) => object;

const ALARM_RETRIES = 6;

class CallError extends Error {
  readonly retryable = true;
}

export class Platform {
  readonly objects = new Map<string, SimulatedObject>();
  readonly #world: World;
  readonly #faults: Faults;
  readonly #construct: Construct;

  constructor(world: World, faults: Faults, construct: Construct) {
    this.#world = world;
    this.#faults = faults;
    this.#construct = construct;
  }

  /**
   * What `namespace.getByName(name)` gives to the isolate that asks. `leave` holds a call back until what
   * the caller wrote before is durable.
   */
  stub(name: string, caller: Owner, leave: (release: () => void) => void = (release) => release()): object {
    return new Proxy(
      {},
      {
        get: (_target, method) =>
          typeof method === 'symbol' || method === 'then'
            ? undefined
            : (...args: unknown[]) =>
                new Promise((resolve, reject) =>
                  leave(() => void this.#call(this.#objectOf(name), method, args, caller).then(resolve, reject)),
                ),
      },
    );
  }

  #objectOf(name: string): SimulatedObject {
    let known = this.objects.get(name);
    if (known === undefined) {
      known = {
        name,
        disk: { writes: [], alarmAt: undefined },
        current: undefined,
        instances: 0,
        alarm: undefined,
        alarmRetries: 0,
        openRuns: 0,
      };
      this.objects.set(name, known);
    }
    return known;
  }

  #call(object: SimulatedObject, method: string, args: unknown[], caller: Owner): Promise<unknown> {
    const world = this.#world;
    return new Promise((resolve, reject) => {
      const failed = (reason: string): void => {
        world.after(this.#faults.networkDelay(), caller, `${method} fails: ${reason}`, () =>
          reject(new CallError(`The object was lost: ${reason}.`)),
        );
      };
      world.after(this.#faults.networkDelay(), undefined, `${method} arrives at ${object.name}`, () =>
        this.#deliver(object, (instance, methods) => {
          instance.calls.add(failed);
          this.#settle(
            invoke(methods, method, args),
            (value) =>
              instance.gate(() => {
                instance.calls.delete(failed);
                const reply: unknown = structuredClone(value);
                world.after(this.#faults.networkDelay(), caller, `${method} answers`, () => resolve(reply));
              }),
            (thrown) => {
              instance.calls.delete(failed);
              const text = thrown instanceof Error ? thrown.message : String(thrown);
              world.after(this.#faults.networkDelay(), caller, `${method} throws ${text}`, () =>
                reject(new Error(text)),
              );
            },
          );
        }),
      );
    });
  }

  #settle(value: unknown, resolved: (value: unknown) => void, rejected: (thrown: unknown) => void): void {
    void Promise.resolve(value).then(resolved, rejected);
  }

  /** Gives an event to the object's instance, and starts one where there is none. */
  #deliver(object: SimulatedObject, run: (instance: Instance, methods: Methods) => void): void {
    const { instance, methods } = object.current ?? this.#start(object);
    instance.usedAt = this.#world.now;
    // A turn of the instance begins here.
    this.#world.current = instance;
    run(instance, methods);
  }

  #start(object: SimulatedObject): { readonly instance: Instance; readonly methods: Methods } {
    const world = this.#world;
    const instance: Instance = new Instance(object.name, ++object.instances, object.disk, world, this.#faults, {
      commit: (from, changes) => this.#commit(object, from, changes),
      kill: (from, reason) => this.kill(object, from, reason),
    });
    world.note(() => `${instance.name} starts`);
    world.current = instance;
    const context = {
      id: { name: object.name },
      storage: instance.storage,
      waitUntil: () => undefined,
      getWebSockets: () => [],
    };
    const made = this.#construct(context as unknown as DurableObjectState, instance);
    object.current = { instance, methods: made as unknown as Methods };
    this.#evictLater(object, instance);
    return object.current;
  }

  #commit(object: SimulatedObject, instance: Instance, changes: readonly Change[]): boolean {
    if (object.current?.instance !== instance) {
      this.kill(object, instance, 'it wrote after another had taken over');
      return false;
    }
    for (const change of changes) {
      if (change.kind === 'sql') object.disk.writes.push(change);
      else object.disk.alarmAt = change.at;
    }
    if (changes.some((change) => change.kind === 'alarm')) this.#scheduleAlarm(object);
    object.openRuns = instance.storage.count('select count(*) from runs where ended_at is null');
    return true;
  }

  /** After 70 to 140 idle seconds, without a word to the object. */
  #evictLater(object: SimulatedObject, instance: Instance): void {
    const world = this.#world;
    const idle = world.random.between(70_000, 140_000);
    world.after(instance.usedAt + idle - world.now, undefined, `${instance.name} may be evicted`, () => {
      if (instance.state === 'dead') return;
      const isIdle = world.now - instance.usedAt >= 70_000 && instance.isClean && instance.calls.size === 0;
      if (isIdle && instance.outgoing === 0) this.kill(object, instance, 'evicted');
      else if (instance.state === 'alive') {
        instance.usedAt = Math.max(instance.usedAt, world.now - 60_000);
        this.#evictLater(object, instance);
      }
    });
  }

  kill(object: SimulatedObject, instance: Instance, reason: string): void {
    if (instance.state === 'dead') return;
    this.#world.count(`death ${reason}`);
    this.#world.note(() => `${instance.name} dies: ${reason}`);
    instance.state = 'dead';
    this.#leave(object, instance, reason);
    if (instance.inAlarm) this.#retryAlarm(object);
  }

  #leave(object: SimulatedObject, instance: Instance, reason: string): void {
    if (object.current?.instance === instance) object.current = undefined;
    for (const failed of [...instance.calls]) failed(reason);
    instance.calls.clear();
  }

  killInstance(instance: Instance, reason: string): void {
    for (const object of this.objects.values())
      if (instance.name.startsWith(`${object.name}#`)) this.kill(object, instance, reason);
  }

  killAll(reason: string): void {
    for (const object of this.objects.values()) {
      if (object.current !== undefined) this.kill(object, object.current.instance, reason);
    }
  }

  freezeAll(forMilliseconds: number): void {
    for (const object of this.objects.values()) this.#freeze(object, forMilliseconds);
  }

  /** Another instance takes over while this one is frozen; later it wakes and knows nothing of that. */
  #freeze(object: SimulatedObject, forMilliseconds: number): void {
    const instance = object.current?.instance;
    if (instance === undefined) return;
    this.#world.note(() => `${instance.name} freezes`);
    instance.state = 'frozen';
    this.#leave(object, instance, 'frozen');
    if (instance.inAlarm) this.#retryAlarm(object);
    this.#world.after(forMilliseconds, undefined, `${instance.name} wakes`, () => {
      if (instance.state === 'frozen') this.#world.thaw(instance);
    });
    this.#world.after(forMilliseconds + 60_000, undefined, `${instance.name} is found out`, () =>
      this.kill(object, instance, 'replaced'),
    );
  }

  /** The clock of the programs jumps, and what is due with it. */
  jump(milliseconds: number): void {
    this.#world.count('clock jump');
    this.#world.skewMilliseconds += milliseconds;
    for (const object of this.objects.values()) if (object.disk.alarmAt !== undefined) this.#scheduleAlarm(object);
  }

  #scheduleAlarm(object: SimulatedObject): void {
    if (object.alarm !== undefined) object.alarm.cancelled = true;
    object.alarm = undefined;
    const { alarmAt } = object.disk;
    if (alarmAt === undefined) return;
    const { lateMilliseconds, lost, doubled } = this.#faults.alarm();
    if (lost) {
      this.#world.count('alarm lost');
      this.#world.note(() => `the alarm of ${object.name} is lost`);
      return;
    }
    if (lateMilliseconds > 1_000) this.#world.count('alarm late');
    const due = Math.max(0, alarmAt - this.#world.wall()) + lateMilliseconds;
    object.alarm = this.#world.after(due, undefined, `alarm of ${object.name}`, () => {
      object.alarm = undefined;
      object.disk.alarmAt = undefined;
      object.alarmRetries = 0;
      this.#fire(object, doubled);
    });
  }

  #fire(object: SimulatedObject, doubled: boolean): void {
    const world = this.#world;
    this.#deliver(object, (instance, methods) => {
      instance.storage.alarmFired();
      instance.inAlarm = true;
      if (this.#faults.kills('in-alarm')) {
        const soon = world.random.next() * 10;
        world.after(soon, undefined, 'kill', () => this.kill(object, instance, 'in its alarm'));
      }
      this.#settle(
        invoke(methods, 'alarm', []),
        () =>
          instance.gate(() => {
            instance.inAlarm = false;
            if (!doubled) return;
            world.count('alarm doubled');
            world.after(world.random.below(2_000), undefined, 'alarm again', () => this.#fire(object, false));
          }),
        (thrown) => {
          world.note(() => `alarm() threw ${String(thrown)}`);
          instance.inAlarm = false;
          this.#retryAlarm(object);
        },
      );
    });
  }

  #retryAlarm(object: SimulatedObject): void {
    // What the handler has set meanwhile takes the place of its repetition.
    if (object.disk.alarmAt !== undefined) return;
    const world = this.#world;
    // Where nothing sweeps, the alarm is all that is left, so there it is never given up.
    const isExhausted = object.alarmRetries++ >= ALARM_RETRIES && this.#faults.sweeps;
    if (isExhausted || this.#faults.alarm().lost) {
      world.note(() => `the alarm of ${object.name} is not tried again`);
      return;
    }
    const delay = 2_000 * 2 ** Math.min(object.alarmRetries - 1, ALARM_RETRIES);
    object.alarm = world.after(delay, undefined, `alarm of ${object.name} again`, () => {
      object.alarm = undefined;
      if (object.disk.alarmAt === undefined) this.#fire(object, false);
    });
  }
}

/** A method may throw at once or later; both are a rejection for the caller. */
const invoke = (methods: Methods, method: string, args: unknown[]): unknown => {
  const call = methods[method];
  if (call === undefined) return Promise.reject(new Error(`There is no method ${method}.`));
  try {
    return Reflect.apply(call, methods, args);
  } catch (thrown) {
    return Promise.reject(thrown instanceof Error ? thrown : new Error(String(thrown)));
  }
};
