/**
 * An object store that a step opens by name, behind the breaker of its connection, as the steps of that connection
 * are. The attempt is under way, so it cannot wait for a store that is paused: the call fails, to be retried later.
 */

import type { Fault, Result } from '../core/errors.ts';
import type { ObjectStore, Parts } from '../drivers/kit/objects.ts';

/** The breaker of one connection, as an attempt meets it. */
export interface StoreGuard {
  /** Calls, unless the connection is paused, and counts what came of it. @param blameless faults of others */
  call<T>(work: () => Promise<Result<T>>, blameless?: (fault: Fault) => boolean): Promise<Result<T>>;
}

export function guardedStore(store: ObjectStore, guard: StoreGuard): ObjectStore {
  return {
    get: async (name, options) => {
      const opened = await guard.call(() => store.get(name, options));
      if (!opened.ok || opened.value === undefined) return opened;
      const brokeOff = (fault: Fault): void => void guard.call(() => Promise.resolve({ ok: false, fault }));
      return { ok: true, value: { ...opened.value, brokeOff } };
    },
    head: (name) => guard.call(() => store.head(name)),
    put: (name, bytes, options) => guard.call(() => store.put(name, bytes, options)),
    putParts(name, parts, options) {
      const watched = watch(parts);
      return guard.call(
        () => store.putParts(name, watched, options),
        (fault) => fault === watched.lost,
      );
    },
    delete: (name) => guard.call(() => store.delete(name)),
    list: (options) => guard.call(() => store.list(options)),
    copy: (from, to) => guard.call(() => store.copy(from, to)),
    // Computed here: nobody is called.
    presign: (name, options) => store.presign(name, options),
  };
}

/** Parts that come from another store: what breaks off there is no failure of the one that is written to. */
function watch(parts: Parts): Parts & { readonly lost: Fault | undefined } {
  let lost: Fault | undefined;
  return {
    get totalBytes() {
      return parts.totalBytes;
    },
    get lost() {
      return lost;
    },
    async next() {
      const part = await parts.next();
      if (!part.ok) lost = part.fault;
      return part;
    },
  };
}
