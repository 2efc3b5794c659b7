/** A compiled route: what the gateway looks at while it answers. Immutable. */

import type { RequestEdits, ResponseEdits } from './edits.ts';
import type { Policies } from './policies.ts';
import type { Json } from '../json.ts';

export interface VersionPlan {
  /** Undefined in a route without versions. */
  readonly name: string | undefined;
  /** Name of the pool. */
  readonly upstream: string;
  readonly request: RequestEdits | undefined;
  readonly response: ResponseEdits | undefined;
  /** Headers that tell callers of its end. */
  readonly notices: readonly (readonly [name: string, value: string])[];
  /** Unix milliseconds from which on it is refused. */
  readonly endsAt: number | undefined;
}

/** How a request names its version, where neither path nor host does. */
export interface VersionChoice {
  readonly by: 'header' | 'query';
  readonly name: string;
  readonly byDefault: VersionPlan | undefined;
  readonly versions: ReadonlyMap<string, VersionPlan>;
}

export interface RoutePlan {
  readonly name: string;
  /** What the router is given: each path with the hosts (empty: all) and methods that it answers. */
  readonly entries: readonly RouteEntry[];
  readonly policies: Policies;
  readonly timeoutMilliseconds: number | undefined;
  readonly bodyLimitBytes: number | undefined;
  readonly compress: boolean;
  readonly document: Json;
}

export interface RouteEntry {
  readonly hosts: readonly string[];
  /** `*` for all. */
  readonly methods: readonly string[];
  readonly path: string;
  readonly version: VersionPlan | VersionChoice;
}
