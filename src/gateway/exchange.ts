/** One request on its way through the gateway, and who made it. */

import type { RunIdentity } from '../core/engine/state.ts';
import type { Env } from '../env.ts';
import type { Configuration } from '../runtime/configuration.ts';
import type { KeyRow } from '../store/configuration.ts';

/** What is known of a request once its target is found. Each field of a `Request` costs a call into the runtime, so it is read once. */
export interface Exchange {
  readonly request: Request;
  readonly method: string;
  /** As received. */
  readonly url: string;
  /** Of the URL, as received. */
  readonly path: string;
  readonly headers: Headers;
  /** Gateways that it has passed before this one; undefined for none. */
  readonly hops: number | undefined;
  /** Of the path, decoded. */
  readonly params: Readonly<Record<string, string>>;
  /** Unix milliseconds. */
  readonly receivedAt: number;
  /** Of what answers; the target notes it for the figures. */
  version: string;
  /** What answers: `chain:<name>` or `route:<name>`; the scope that a key needs. */
  readonly target: string;
  readonly env: Env;
  readonly ctx: ExecutionContext;
  readonly configuration: Configuration;
}

/** Who a request comes from, once that is proved. */
export interface Identity {
  readonly kind: RunIdentity['kind'];
  /** Unique among identities of all kinds, e.g. `key:key_1f…` or `jwt:https://issuer.example|subject`. */
  readonly id: string;
  /** The end customer that it acts for, where one is known. */
  readonly tenant: string | undefined;
  readonly scopes: readonly string[];
  /** Of a token. */
  readonly claims?: Readonly<Record<string, unknown>>;
  /** The API key, where it is one. */
  readonly key?: KeyRow;
}
