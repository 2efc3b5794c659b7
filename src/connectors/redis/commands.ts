/**
 * Commands that a chain may send. Not in the list: scripts (EVAL), the server itself (CONFIG, FLUSHALL,
 * SHUTDOWN), what holds or changes a connection that others share (BLPOP, SELECT, SUBSCRIBE, MULTI), and
 * KEYS, which stops the server for everyone (SCAN does not).
 */
const COMMANDS: ReadonlySet<string> = new Set(
  [
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
    'geoadd geodist geohash geopos geosearch geosearchstore pfadd pfcount pfmerge publish',
    'xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange xtrim',
  ].flatMap((line) => line.split(' ')),
);

/** What is wrong with a command, or undefined. */
export function commandIssue(command: readonly (string | number)[]): string | undefined {
  const name = String(command[0]).toLowerCase();
  if (!COMMANDS.has(name)) return `The command ${name.toUpperCase().slice(0, 40)} is not allowed in a chain.`;
  const blocks = name.startsWith('xread') && command.some((word) => String(word).toLowerCase() === 'block');
  return blocks ? `${name.toUpperCase()} may not BLOCK: others share the connection.` : undefined;
}
