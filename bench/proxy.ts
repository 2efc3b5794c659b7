/**
 * One GET to one upstream and back: forwarding alone, and the whole gateway, each against a Worker that only fetches;
 * and against one that does what a proxy has to.
 */

import { join } from 'node:path';
import { buildBench, ROOT } from './support/build.ts';
import { compare, startBenchWorker, startSides } from './support/sides.ts';
import { call } from '../scripts/launcher/api.ts';

const PATH = '/stock?sku=A1';
/** What a browser sends, about. */
const HEADERS = {
  'user-agent': 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36',
  accept: 'application/json',
  'accept-encoding': 'gzip, br',
  'accept-language': 'en',
};

export async function proxy(): Promise<void> {
  const sides = await startSides();
  const config = join(ROOT, 'bench/hand-written/proxy.toml');
  const variables = { UPSTREAM: sides.upstream, TIDEGATE_EGRESS_ALLOW: '127.0.0.1' };
  const start = async (name: string, entry: string) => {
    const build = await buildBench(name, config, join(ROOT, entry));
    return startBenchWorker(build, join(sides.directory, name), variables);
  };
  const forward = await start('bench-forward', 'bench/proxy-worker.ts');
  const handWritten = await start('bench-fetch', 'bench/hand-written/src/proxy.ts');
  const proxying = await start('bench-proxy', 'bench/hand-written/src/forwarding-proxy.ts');
  try {
    await call(sides.gateway, 'PUT', '/upstreams/bench', { name: 'bench', targets: [{ url: sides.upstream }] });
    const route = { name: 'bench', path: '/stock', upstream: 'bench', auth: 'public' };
    await call(sides.gateway, 'PUT', '/routes/bench', route);
    const limits = [{ limit: 100_000_000, period: '10s', by: 'key' }];
    await call(sides.gateway, 'PUT', '/routes/guarded', {
      ...{ name: 'guarded', path: '/guarded', upstream: 'bench', auth: 'key', limits },
      request: { path: '/stock' },
    });
    const side = (name: string, url: string, pid: number | undefined) => ({
      name,
      pid,
      request: { method: 'GET', headers: HEADERS, url: url + PATH },
    });
    const bare = side('hand-written', handWritten.url, handWritten.pid());
    const whole = side('proxy', sides.gateway.url, sides.gateway.worker.pid());
    await compare([side('forward', forward.url, forward.pid()), bare]);
    const byHand = side('hand-written proxy', proxying.url, proxying.pid());
    await compare([byHand, bare]);
    await compare([whole, bare, byHand]);
    const guarded = side('with key and limit', sides.gateway.url, sides.gateway.worker.pid());
    const request = {
      ...guarded.request,
      url: `${sides.gateway.url}/guarded?sku=A1`,
      headers: { ...HEADERS, authorization: `Bearer ${sides.key}` },
    };
    await compare([{ ...guarded, request }, bare]);
  } finally {
    await forward.stop();
    await handWritten.stop();
    await proxying.stop();
    await sides.stop();
  }
}
