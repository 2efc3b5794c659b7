/// <reference types="@cloudflare/vitest-plugin/types" />

import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { TokenStore } from '../../../src/runtime/oauth/token-store.ts';
import { call, publish } from '../gateway/fixtures.ts';
import { age, authorized, connect, grantsOf, objectOf, register, statusOf, tokenIn, tokenOf } from './fixtures.ts';

const HOUR = 3_600_000;

describe('the tokens of a connection', () => {
  it('are refreshed once for a hundred steps that find an expired one', async () => {
    const { name, client } = await authorized();
    await tokenIn(name);
    await age(name, HOUR);
    await evict(name);
    const { succeeded } = await grantsOf(client);
    const object = objectOf(name);
    const replies = await Promise.all(
      Array.from({ length: 100 }, () => object.token({ tenant: '', name }, 0)),
    );
    expect(new Set(replies.map((reply) => (reply.ok ? reply.value.token : reply.code))).size).toBe(1);
    expect(await grantsOf(client)).toEqual({ succeeded: succeeded + 1, failed: 0 });
    expect(await statusOf(name)).toMatchObject({ state: 'authorized', rotations: 1, interruptedAt: null });
  });

  it('are used while they are renewed ahead of their end', async () => {
    const { name, client } = await authorized();
    const old = await objectOf(name).token({ tenant: '', name }, 0);
    // Of 300 seconds, the last 60 or so are for the renewal.
    await age(name, 280_000);
    const { succeeded } = await grantsOf(client);
    const during = await Promise.all([1, 2, 3].map(() => objectOf(name).token({ tenant: '', name }, 0)));
    for (const each of during) expect(each).toMatchObject({ ok: true, value: { token: old.ok && old.value.token } });
    await expect.poll(() => grantsOf(client)).toEqual({ succeeded: succeeded + 1, failed: 0 });
  });
});

const evict = (name: string): Promise<void> => evictDurableObject(objectOf(name));
