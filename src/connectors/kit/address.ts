/** The fields by which a connection names a server of sockets, and who it is there. */

import * as v from 'valibot';

export const hostName = v.pipe(
  v.string(),
  v.regex(/^[^\s:/?#@\\[\]]+$/, 'Must be the name or the IPv4 address of a host, without a port.'),
);

export const portOr = (usual: number) =>
  v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(65_535)), usual);

/** `verify` unless the owner says otherwise. */
export const tlsOr = (description: string) =>
  v.optional(v.pipe(v.picklist(['verify', 'disable']), v.description(description)), 'verify');

export const user = v.pipe(v.string(), v.minLength(1));
export const password = v.pipe(v.string(), v.minLength(1));
