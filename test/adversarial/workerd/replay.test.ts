/** Attack row 18: a request that was signed once is sent again, also where its scheme signs no time. */

import { beforeAll, describe, expect, it } from 'vitest';
import { call, manage, publish, runsOf, type Called } from '../../workerd/gateway/fixtures.ts';
import { runsOfEvent, SECRET } from '../../workerd/gateway/hook-fixtures.ts';
import { sign } from '../../../src/core/webhook/index.ts';

const SECRETS = { standard: SECRET, github: 'a secret of GitHub', stripe: 'whsec_a-secret-of-stripe' };
const SCHEMES = Object.keys(SECRETS) as (keyof typeof SECRETS)[];
const BODY = '{"type":"push","id":"evt_1","ref":"main"}';
const chains = new Map<string, string>();

beforeAll(async () => {
  for (const scheme of SCHEMES) {
    await manage(`PUT /sources/replayed-${scheme}`, { scheme, secret: SECRETS[scheme] });
    const triggers = { hook: { type: 'webhook', source: `replayed-${scheme}` } };
    chains.set(scheme, (await publish({ triggers, output: 'done' })).name);
  }
});

const signed = (scheme: keyof typeof SECRETS) =>
  sign(scheme, SECRETS[scheme], {
    body: new TextEncoder().encode(BODY),
    nowMilliseconds: Date.now(),
    id: 'msg_replayed',
  });

const send = (scheme: string, headers: Record<string, string>): Promise<Called> =>
  call(`POST /hooks/replayed-${scheme}`, BODY, headers);

describe.each(SCHEMES)('a replay of what %s signed', (scheme) => {
  it('is answered with 2xx and starts one run, whatever unsigned headers say', async () => {
    const headers = await signed(scheme);
    const first = await send(scheme, headers);
    expect([first.status, first.body['duplicate']]).toEqual([200, false]);
    const disguises = [
      headers,
      { ...headers, 'x-github-delivery': 'another', 'x-request-id': 'another' },
      { ...headers, 'x-github-event': 'another' },
      { ...headers, 'user-agent': 'another', 'content-type': 'text/plain' },
    ];
    const replays = await Promise.all([...disguises, ...disguises].map((disguise) => send(scheme, disguise)));
    expect(replays.map(({ status, body }) => [status, body['duplicate'], body['event']])).toEqual(
      replays.map(() => [200, true, first.body['event']]),
    );
    expect(await runsOfEvent(first.body, `replayed-${scheme}`)).toHaveLength(1);
    expect(await runsOf(chains.get(scheme) ?? '')).toBe(1);
  });
});
