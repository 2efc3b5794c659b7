/** Puts the clock, timers and chance of a {@link World} in the place of the real ones. */

import { createHash } from 'node:crypto';
import type { Task, World } from './world.ts';

let world: World | undefined;

/** The world whose time passes now. */
export function enter(next: World | undefined): void {
  world = next;
}

function here(): World {
  if (world === undefined) throw new Error('A program asked for time or chance outside of a simulation.');
  return world;
}

function later(delayMilliseconds: number, label: string, run: () => void): Task {
  return here().after(delayMilliseconds, here().current, label, run);
}

function fill<T extends ArrayBufferView>(view: T): T {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  for (let index = 0; index < bytes.length; index++) bytes[index] = here().random.below(256);
  return view;
}

const setTimer = (run: (...args: unknown[]) => void, delay = 0, ...args: unknown[]): Task =>
  later(delay, `timer of ${Math.round(delay)} ms`, () => run(...args));

function abortAfter(milliseconds: number): AbortSignal {
  const controller = new AbortController();
  later(milliseconds, 'abort', () => controller.abort(new DOMException('timeout', 'TimeoutError')));
  return controller.signal;
}

/** The real digest ends on another thread, at a time of its own. */
const digest = (algorithm: string | { readonly name: string }, data: Uint8Array): Promise<ArrayBuffer> => {
  const name = typeof algorithm === 'string' ? algorithm : algorithm.name;
  const bytes = new Uint8Array(createHash(name.replace('-', '').toLowerCase()).update(data).digest());
  return Promise.resolve(bytes.buffer);
};

const noted = (...parts: unknown[]): void => world?.note(() => `console: ${parts.map(String).join(' ')}`);

const REPLACED: readonly (readonly [target: object, name: string, value: unknown])[] = [
  [Date, 'now', () => here().wall()],
  [globalThis, 'setTimeout', setTimer],
  [globalThis, 'clearTimeout', (task: Task | undefined) => void (task && (task.cancelled = true))],
  [globalThis, 'scheduler', { wait: (delay: number) => new Promise((done) => setTimer(done, delay)) }],
  [AbortSignal, 'timeout', abortAfter],
  [Math, 'random', () => here().random.next()],
  [performance, 'now', () => here().now],
  [crypto, 'getRandomValues', fill],
  [crypto.subtle, 'digest', digest],
  [console, 'error', noted],
  [console, 'warn', noted],
];

/** Returns what puts the real ones back. */
export function install(): () => void {
  const restores = REPLACED.map(([target, name, value]) => {
    const own = Object.getOwnPropertyDescriptor(target, name);
    Object.defineProperty(target, name, { value, configurable: true, writable: true });
    return () => {
      if (own === undefined) Reflect.deleteProperty(target, name);
      else Object.defineProperty(target, name, own);
    };
  });
  return () => {
    for (const restore of restores) restore();
  };
}
