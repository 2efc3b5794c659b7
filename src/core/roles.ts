/** What people and programs may do in the management API: each role may what those before it may. */

export const ROLES = ['viewer', 'developer', 'admin', 'owner'] as const;

/**
 * `viewer` reads; `developer` publishes chains and handles runs; `admin` keeps keys, connections and sources;
 * `owner` decides who may do what.
 */
export type Role = (typeof ROLES)[number];

export const mayAs = (role: Role, needed: Role): boolean => ROLES.indexOf(role) >= ROLES.indexOf(needed);
