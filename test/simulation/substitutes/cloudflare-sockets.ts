/** Stands in for `cloudflare:sockets`: the world has no sockets. */

export function connect(): never {
  throw new Error('There are no sockets in the simulation.');
}
