/** What goes wrong in one simulation, and how often. All of it is chosen by the seed. */

import type { World } from './world.ts';

export type Mode = 'safety' | 'liveness';

/** Where an object may be killed. */
export type KillPoint =
  /** Writes were made and are not durable. */
  | 'before-durable'
  /** They are durable; what waited for them (requests, replies, acknowledgements) is not yet released. */
  | 'before-release'
  /** The request has reached the upstream and taken effect. */
  | 'after-effect'
  /** The object has the upstream's reply; what it wrote is not durable. */
  | 'after-response'
  /** Between an alarm and the end of its handler. */
  | 'in-alarm';

export type Behaviour = 'ok' | 'error' | 'limited' | 'lost' | 'hang' | 'drip' | 'slow' | 'reset';

export interface Faults {
  /** From here on, the world is kind. */
  readonly stopped: boolean;
  stop(): void;
  kills(point: KillPoint): boolean;
  commitDelay(): number;
  networkDelay(): number;
  behaviour(): Behaviour;
  /** Of the upstream behind the connection, which is sometimes down as a whole. */
  providerBehaviour(): Behaviour;
  readonly providerOutages: number;
  setProvider(down: boolean): void;
  readonly d1Down: boolean;
  /** Whether the gateway's cron trigger sweeps. Where it does not, alarms are late and doubled but never lost. */
  readonly sweeps: boolean;
  alarm(): { readonly lateMilliseconds: number; readonly lost: boolean; readonly doubled: boolean };
  /** How many times each misfortune of a certain instant happens. */
  readonly freezes: number;
  readonly clockJumps: number;
  readonly outages: number;
  readonly randomKills: number;
  setD1(down: boolean): void;
}

const BEHAVIOURS: readonly [Behaviour, ...Behaviour[]] = [
  'error',
  'error',
  'limited',
  'lost',
  'hang',
  'drip',
  'slow',
  'reset',
];

export function createFaults(world: World): Faults {
  const { random } = world;
  // Some seeds are calm in one respect, so that a fault is also seen alone.
  const rate = (usual: number): number => (random.chance(0.4) ? 0 : usual * (0.3 + random.next()));
  const killRates: Readonly<Record<KillPoint, number>> = {
    'before-durable': rate(0.06),
    'before-release': rate(0.06),
    'after-effect': rate(0.08),
    'after-response': rate(0.08),
    'in-alarm': rate(0.1),
  };
  const upstreamRate = rate(0.25);
  const lateRate = rate(0.3);
  const slowDisk = random.chance(0.2) ? 300 : 8;
  const sweeps = random.chance(0.5);
  const lostRate = sweeps ? rate(0.5) : 0;
  let killsLeft = 8;
  let stopped = false;
  let d1Down = false;
  let providerDown = false;
  const behaviour = (): Behaviour => (!stopped && random.chance(upstreamRate) ? random.pick(BEHAVIOURS) : 'ok');
  const several = (most: number): number => (random.chance(0.5) ? 0 : random.between(1, most));
  return {
    get stopped() {
      return stopped;
    },
    stop: () => void ((stopped = true), (d1Down = false), (providerDown = false)),
    kills: (point) => {
      if (stopped || killsLeft === 0 || !random.chance(killRates[point])) return false;
      killsLeft--;
      return true;
    },
    commitDelay: () => 0.2 + random.next() * (stopped ? 3 : slowDisk),
    networkDelay: () => 0.5 + random.next() * 20,
    behaviour,
    providerBehaviour: () => (providerDown ? random.pick(['error', 'lost', 'lost', 'limited']) : behaviour()),
    providerOutages: random.chance(0.8) ? random.between(1, 2) : 0,
    setProvider: (down) => void (providerDown = down && !stopped),
    get d1Down() {
      return d1Down;
    },
    setD1: (down) => void (d1Down = down && !stopped),
    sweeps,
    alarm: () => ({
      lateMilliseconds: !stopped && random.chance(lateRate) ? random.below(60_000) : random.below(50),
      lost: !stopped && random.chance(lostRate),
      doubled: !stopped && random.chance(lateRate / 2),
    }),
    freezes: random.chance(0.2) ? 1 : 0,
    clockJumps: random.chance(0.15) ? random.between(1, 2) : 0,
    outages: random.chance(0.25) ? 1 : 0,
    randomKills: several(3),
  };
}
