/** What people and programs may do in the management API: each role may what those before it may. */

export const ROLES = ['viewer', 'developer', 'admin', 'owner'] as const;

/**
 * `viewer` reads; `developer` publishes chains and handles runs; `admin` keeps keys, connections and sources;
 * `owner` decides who may do what.
 */
export type Role = (typeof ROLES)[number];

/** What is no role, as in a row that was written by hand, may nothing and lets nobody in. */
export function mayAs(role: Role, needed: Role): boolean {
  const rank = ROLES.indexOf(needed);
  return rank !== -1 && ROLES.indexOf(role) >= rank;
}
