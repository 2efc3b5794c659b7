/** The stores of the test run, opened by name as connections are. */

import type { CallOptions } from './fixtures.ts';
import { stores, type StoreName } from './object-stores.ts';
import type { StoreContext } from '../../../src/connectors/kit/types.ts';
import { fail } from '../../../src/core/errors.ts';

export const STORE_NAMES = Object.keys(stores) as StoreName[];

/** Connections named as the stores are; what they send is told to `fetch`. */
export function optionsFor(given: Partial<CallOptions> = {}): CallOptions {
  return {
    ...given,
    openStore: (name) => {
      const found = Object.entries(stores).find(([store]) => store === name)?.[1];
      const facts = found?.connector.connection;
      if (facts?.store === undefined || found?.credentials === undefined) {
        return Promise.resolve(fail('connection.not-found', `There is no connection named ${name}.`));
      }
      const { settings, secrets } = found.credentials;
      const context: StoreContext = {
        fetch: given.fetch ?? fetch,
        signal: given.signal,
        now: Date.now,
        connection: { name, settings, secrets },
      };
      return Promise.resolve(facts.store(context));
    },
  };
}

export function cutAfter(bytes: number): TransformStream<Uint8Array, Uint8Array> {
  let left = bytes;
  return new TransformStream({
    transform(chunk, controller) {
      controller.enqueue(chunk.subarray(0, left));
      left -= chunk.byteLength;
      if (left <= 0) controller.terminate();
    },
  });
}
