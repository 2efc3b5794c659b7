/** What the compiler must know of connectors and actions; the connectors' kit provides it. */

import type { JsonObject } from '../json.ts';

/**
 * What a repeated call does to the world: `pure` nothing (recomputed, never stored), `idempotent` the
 * same as one call, `keyed` the same where the receiver honours the idempotency key, `external` unknown.
 */
export type Effect = 'pure' | 'idempotent' | 'keyed' | 'external';

/** What an action does with the run itself. */
export type Control = 'switch' | 'respond' | 'fail' | 'each' | 'wait' | 'call';

/** Fields of `with` that the action itself evaluates, as often as it likes. */
export interface OwnTemplates {
  readonly fields: readonly string[];
  /** What their expressions may refer to besides all else, e.g. `row`. */
  readonly roots: readonly string[];
}

export interface ActionFacts {
  /** `connector.action`, e.g. `postgres.query`. */
  readonly name: string;
  readonly effect: Effect;
  /** JSON Schema (2020-12) of `with`. */
  readonly params: JsonObject;
  /** Whether a step that uses it names a connection. */
  readonly connection: 'required' | 'optional' | 'none';
  /** Set for the actions that steer the run itself. */
  readonly control?: Control;
  readonly templates?: OwnTemplates;
}

/** What a trigger may listen to. */
export interface SubscriptionFacts {
  /** `connector.subscription`, e.g. `postgres.channel`. */
  readonly name: string;
  /** JSON Schema (2020-12) of `with`. */
  readonly params: JsonObject;
  readonly connection: 'required' | 'optional' | 'none';
}

export interface Catalogue {
  action(name: string): ActionFacts | undefined;
  /** All action names, for the nearest right name in an error. */
  readonly names: readonly string[];
  subscription(name: string): SubscriptionFacts | undefined;
  readonly subscriptionNames: readonly string[];
}
