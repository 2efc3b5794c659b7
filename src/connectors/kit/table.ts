/** A record whose keys a user chose: what valibot's own would pass over in silence is refused. */

import * as v from 'valibot';
import { isObject } from '../../core/json.ts';
import { LIMITS } from '../../core/limits.ts';

const RESERVED = ['__proto__', 'prototype', 'constructor'];

/** An object of a few members by name. A list is none, and neither is one with a name that JavaScript reserves. */
export function tableOf<T extends v.GenericSchema>(member: T) {
  const record = v.record(v.pipe(v.string(), v.minLength(1)), member);
  const strict: typeof record = {
    ...record,
    '~run'(dataset, config) {
      const { value } = dataset;
      if (isObject(value) && !RESERVED.some((name) => Object.hasOwn(value, name)))
        return record['~run'](dataset, config);
      const message = isObject(value)
        ? `The names ${RESERVED.join(', ')} are reserved; take another.`
        : 'Must be an object.';
      // A value that is none gives its failure the message.
      return record['~run']({ value: null }, { ...config, message });
    },
  };
  return v.pipe(strict, v.maxEntries(LIMITS.dataFields));
}
