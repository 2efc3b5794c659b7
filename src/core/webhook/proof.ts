/** What the three kinds of proof have in common. */

import type { Key } from './algorithms.ts';
import type { Reading } from './request.ts';
import { fail, type Result } from '../errors.ts';

export interface Proven {
  /** What stood in the id header, where it is signed. */
  readonly id: string;
  /** All that is signed. Undefined where the proof says nothing of the content. */
  readonly content: Uint8Array | undefined;
  /** The key that fitted. */
  readonly key: Key | undefined;
}

/** Fault `webhook.unverified`; a retryable one where a key could not be fetched. */
export type Prover = (reading: Reading) => Promise<Result<Proven>>;

export const unverified = (message: string): Result<never> => fail('webhook.unverified', message);

/** Names the form of a secret, and never repeats one. */
export const malformedSecret = (title: string, forms: string): Result<never> =>
  fail('source.invalid', `secret: Is not of the form that ${title} gives out: ${forms}.`);
