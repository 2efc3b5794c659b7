import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { describe, expect, it } from 'vitest';
import * as v from 'valibot';
import { manage } from '../gateway/fixtures.ts';
import { authorized, connect, FakeServer, grantsOf, objectOf, statusOf, tokenIn } from './fixtures.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const renewalSchema = v.nullable(v.pipe(v.string(), v.parseJson(), v.object({ at: v.number() })));

const state = (name: string) =>
  runInDurableObject(objectOf(name), async (_object, { storage }) => {
    const [row] = storage.sql.exec(`SELECT json_extract(facts, '$.renewal') AS renewal FROM tokens`).toArray();
    const renewal = v.parse(renewalSchema, row?.['renewal'] ?? null);
    return { at: renewal === null ? null : renewal.at - Date.now(), alarm: await storage.getAlarm() };
  });

/** As though nobody had used it for so long. */
const makeDue = (name: string): Promise<void> =>
  runInDurableObject(objectOf(name), (_object, { storage }) => {
    storage.sql.exec(`UPDATE tokens SET facts = json_set(facts, '$.renewal.at', ?)`, Date.now() - 1);
  });

/** A connection whose code is redeemed, and whose token is refreshed, at a server of the test's own. */
async function atFake(answer: Record<string, unknown>) {
  const server = await new FakeServer().answer({ token_type: 'Bearer', access_token: 'a', ...answer });
  const { name } = await authorized({ endpoints: { token: server.url } });
  return { server, name };
}

describe('a refresh token that no step uses', () => {
  it('is renewed by the alarm of its object, and again when that one is old', async () => {
    const { name, client } = await authorized();
    const fresh = await state(name);
    expect(fresh.at).toBeGreaterThan(26 * DAY);
    expect(fresh.at).toBeLessThan(30 * DAY + 1);
    const old = await tokenIn(name);
    const before = await grantsOf(client);
    for (const rotations of [1, 2]) {
      await makeDue(name);
      await runDurableObjectAlarm(objectOf(name));
      expect(await statusOf(name)).toMatchObject({ state: 'authorized', rotations });
    }
    expect(await grantsOf(client)).toEqual({ succeeded: before.succeeded + 2, failed: 0 });
    expect((await state(name)).at).toBeGreaterThan(26 * DAY);
    expect((await tokenIn(name, old)).token).not.toBe(old.token);
  });

  it('is left alone before its time, and remembered', async () => {
    const { name, client } = await authorized();
    const before = await grantsOf(client);
    await runDurableObjectAlarm(objectOf(name));
    expect(await grantsOf(client)).toEqual(before);
    expect((await state(name)).alarm).not.toBeNull();
  });

  it('is renewed ahead of the end that its server named', async () => {
    const { name } = await atFake({ refresh_token: 'r', refresh_expires_in: 3_600 });
    const { at, alarm } = await state(name);
    expect(at).toBeGreaterThan(0.59 * HOUR);
    expect(at).toBeLessThan(0.8 * HOUR + 1);
    expect(Math.abs((alarm ?? 0) - Date.now() - (at ?? 0))).toBeLessThan(1_000);
  });

  it('is tried again in an hour where the server does not answer, and given up where it refuses', async () => {
    const { server, name } = await atFake({ refresh_token: 'r' });
    await server.answer('sorry', 503, 'text/plain');
    await makeDue(name);
    await runDurableObjectAlarm(objectOf(name));
    const { at } = await state(name);
    expect(Math.abs((at ?? 0) - HOUR)).toBeLessThan(10_000);
    await server.answer({ error: 'invalid_grant' }, 400);
    await makeDue(name);
    await runInDurableObject(objectOf(name), (_object, ctx) => ctx.abort('forgets the last failure')).catch(
      () => undefined,
    );
    await runDurableObjectAlarm(objectOf(name));
    expect(await statusOf(name)).toMatchObject({ state: 'refused' });
    expect(await state(name)).toEqual({ at: null, alarm: null });
  });

  it('is none where there is none, or where nobody need consent again', async () => {
    const { name } = await atFake({});
    expect(await state(name)).toEqual({ at: null, alarm: null });
    const server = await new FakeServer().answer({ token_type: 'Bearer', access_token: 'a', refresh_token: 'r' });
    const endpoints = { token: server.url };
    const oauth = { issuer: undefined, grant: 'client_credentials', clientId: 'program', endpoints };
    const program = await connect({ oauth, secrets: { clientSecret: 's' } });
    await tokenIn(program);
    expect(await state(program)).toEqual({ at: null, alarm: null });
  });

  it('goes with its connection', async () => {
    const { name } = await authorized();
    expect((await manage(`DELETE /connections/${name}`)).status).toBe(204);
    expect(await state(name)).toEqual({ at: null, alarm: null });
  });

  it('is not sent for a connection that was changed meanwhile', async () => {
    const { name, client, secret } = await authorized();
    const scopes = ['openid', 'offline_access'];
    const oauth = { grant: 'authorization_code', clientId: client, scopes };
    await connect({ name, oauth, secrets: { clientSecret: secret }, baseUrl: 'https://elsewhere.example' });
    const before = await grantsOf(client);
    await makeDue(name);
    await runDurableObjectAlarm(objectOf(name));
    expect(await grantsOf(client)).toEqual(before);
    expect(await state(name)).toEqual({ at: null, alarm: null });
  });

  it('keeps its authorization where only the days are changed', async () => {
    const { name, client, secret } = await authorized();
    const scopes = ['openid', 'offline_access'];
    const oauth = { grant: 'authorization_code', clientId: client, scopes, renewIdleDays: 3 };
    await connect({ name, oauth, secrets: { clientSecret: secret } });
    expect(await statusOf(name)).toMatchObject({ state: 'authorized' });
    await makeDue(name);
    await runDurableObjectAlarm(objectOf(name));
    expect((await state(name)).at).toBeLessThan(3 * DAY + 1);
  });
});
