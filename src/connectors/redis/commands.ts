/**
 * Commands that a chain may send. Not in the list: scripts (the action `eval` sends those that its author wrote), the
 * server itself, what waits or changes the session, and KEYS, which stops the server for everyone (SCAN does not).
 * An owner may list more or fewer for a connection, but none of {@link NEVER}.
 */

import type { Command } from '../../drivers/redis/resp.ts';

const wordsOf = (lines: readonly string[]): ReadonlySet<string> => new Set(lines.flatMap((line) => line.split(' ')));

const COMMANDS = wordsOf([
  'append bitcount bitop bitpos decr decrby get getbit getdel getex getrange getset incr incrby incrbyfloat mget mset',
  'msetnx psetex set setbit setex setnx setrange strlen',
  'copy dbsize del exists expire expireat expiretime persist pexpire pexpireat pexpiretime ping pttl randomkey rename',
  'renamenx scan time touch ttl type unlink',
  'hdel hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen hvals',
  'lindex linsert llen lmove lmpop lpop lpos lpush lpushx lrange lrem lset ltrim rpop rpoplpush rpush rpushx',
  'sadd scard sdiff sdiffstore sinter sintercard sinterstore sismember smembers smismember smove spop srandmember srem',
  'sscan sunion sunionstore',
  'zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount zmpop zmscore zpopmax zpopmin',
  'zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex zremrangebyrank',
  'zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion zunionstore',
  'geoadd geodist geohash geopos geosearch geosearchstore pfadd pfcount pfmerge publish spublish',
  'xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange xtrim',
]);

/** They take over the server, its files or its users, or break the order of replies in a session. */
export const NEVER = wordsOf([
  'acl bgrewriteaof bgsave cluster config debug failover migrate module monitor pfdebug pfselftest psync replconf',
  'replicaof restore-asking save shutdown slaveof slowlog swapdb sync',
  'asking auth client discard exec hello multi psubscribe punsubscribe quit readonly readwrite reset select',
  'ssubscribe subscribe sunsubscribe unsubscribe unwatch watch',
]);

/** What the owner of a connection says of commands, in any case of letters. */
export interface Allowance {
  readonly allow?: readonly string[] | undefined;
  readonly refuse?: readonly string[] | undefined;
}

const includes = (names: readonly string[] | undefined, name: string): boolean =>
  names?.some((each) => each.toLowerCase() === name) === true;

const nameOf = (command: Command): string => String(command[0]).toLowerCase();

/** Whether the owner refuses a command that an action is made of; what is wrong then. */
export function refusalOf(command: Command, { refuse }: Allowance): string | undefined {
  const name = nameOf(command);
  return includes(refuse, name) ? `The connection refuses ${name.toUpperCase()}.` : undefined;
}

/** What is wrong with a command that an author wrote, or undefined. */
export function commandIssue(command: Command, allowance: Allowance, mayBlock: boolean): string | undefined {
  const name = nameOf(command);
  const shown = name.toUpperCase().slice(0, 40);
  const allowed = COMMANDS.has(name) || includes(allowance.allow, name);
  if (!allowed || NEVER.has(name)) return `The command ${shown} is not allowed in a chain.`;
  const refused = refusalOf(command, allowance);
  if (refused !== undefined) return refused;
  const blocks = name.startsWith('xread') && command.some((word) => String(word).toLowerCase() === 'block');
  return blocks && !mayBlock ? `${shown} may not BLOCK: over HTTP others share the connection.` : undefined;
}
