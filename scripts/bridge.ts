/** `npm run bridge -- --postgres <url> --redis <url> --mysql <url>`: see docs/bridges.md. */

import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import { createMysqlBridge } from './bridge/mysql.ts';
import { createPostgresBridge } from './bridge/postgres.ts';
import { createRedisBridge } from './bridge/redis.ts';
import { listen } from './servers/process.ts';

const USAGE = `Makes Postgres, Redis and MySQL reachable over HTTP.

  --postgres <url>        postgresql://user:password@host:5432/database
  --postgres-host <host>  instead: host:port that callers reach with credentials of their own (may be repeated)
  --redis <url>           redis://:password@host:6379/0
  --mysql <url>           mysql://user:password@host:3306/database, with ?tls=require where it can
  --port-postgres <port>  default 4444
  --port-redis <port>     default 4445
  --port-mysql <port>     default 4446
  --host <address>        default 127.0.0.1; put TLS in front before you open another
  --token <token>         default: BRIDGE_TOKEN, else a random one
`;

const { values } = parseArgs({
  options: {
    postgres: { type: 'string' },
    'postgres-host': { type: 'string', multiple: true },
    redis: { type: 'string' },
    mysql: { type: 'string' },
    'port-postgres': { type: 'string', default: '4444' },
    'port-redis': { type: 'string', default: '4445' },
    'port-mysql': { type: 'string', default: '4446' },
    host: { type: 'string', default: '127.0.0.1' },
    token: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

const token = values.token ?? process.env['BRIDGE_TOKEN'] ?? randomBytes(32).toString('base64url');
const hosts = values['postgres-host'];
const postgres = values.postgres ?? process.env['BRIDGE_POSTGRES'];
const redis = values.redis ?? process.env['BRIDGE_REDIS'];
const mysql = values.mysql ?? process.env['BRIDGE_MYSQL'];

if (values.help || [postgres, hosts, redis, mysql].every((each) => each === undefined)) {
  console.log(USAGE);
  process.exit(values.help ? 0 : 1);
}

const stops: (() => Promise<void>)[] = [];

if (postgres !== undefined || hosts !== undefined) {
  const bridge = createPostgresBridge({
    token,
    ...(postgres === undefined ? { hosts: hosts ?? [] } : { connectionString: postgres }),
  });
  const { port, stop } = await listen(bridge, Number(values['port-postgres']), values.host);
  stops.push(stop);
  console.log(`Postgres  http://${values.host}:${port}/sql`);
}
if (redis !== undefined) {
  const bridge = createRedisBridge({ url: redis, token });
  const { port, stop } = await listen(bridge, Number(values['port-redis']), values.host);
  stops.push(stop);
  console.log(`Redis     http://${values.host}:${port}`);
}
if (mysql !== undefined) {
  const bridge = createMysqlBridge({ url: mysql, token });
  const { port, stop } = await listen(bridge, Number(values['port-mysql']), values.host);
  stops.push(stop);
  console.log(`MySQL     http://${values.host}:${port}`);
}
const given = values.token !== undefined || process.env['BRIDGE_TOKEN'] !== undefined;
console.log(given ? 'Token     as given' : `Token     ${token}`);

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void Promise.all(stops.map((stop) => stop())).then(() => process.exit(0)));
}
