/** Bodies of events that are too large for a row, in R2. One belongs to one event, and goes with it. */

import { randomBytes, toHex } from '../vault/bytes.ts';
import { fault, FaultError } from '../core/errors.ts';

/** Returns the key. @throws FaultError `storage.unavailable` */
export async function keepBody(bucket: R2Bucket, source: string, body: Uint8Array): Promise<string> {
  const key = `inbox/${source}/${toHex(randomBytes(16))}`;
  try {
    await bucket.put(key, body);
    return key;
  } catch (detail) {
    throw new FaultError(fault('storage.unavailable', 'The event could not be stored; send it again.', { detail }));
  }
}

/** Of an event that came again. One that stays behind costs its room, until the bucket's own rule deletes it. */
export async function deleteBody(bucket: R2Bucket, key: string): Promise<void> {
  await bucket.delete(key).catch((thrown: unknown) => console.error(`the body ${key} stays behind`, thrown));
}
