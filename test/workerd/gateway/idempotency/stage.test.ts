import {
  createExecutionContext,
  runDurableObjectAlarm,
  runInDurableObject,
  waitOnExecutionContext,
} from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { exchangeOf, fresh, identity } from '../cache/fixtures.ts';
import { withIdempotency } from '../../../../src/gateway/idempotency/stage.ts';
import { IssueList } from '../../../../src/core/chain/issues.ts';
import { LIMITS } from '../../../../src/core/limits.ts';
import { compileIdempotency, idempotencyPolicy, type IdempotencyPlan } from '../../../../src/core/route/idempotency.ts';
import { currentConfiguration } from '../../../../src/runtime/configuration.ts';
import { IdempotencyObject, idempotencyStub } from '../../../../src/runtime/idempotency-object.ts';
import type { Exchange, Identity } from '../../../../src/gateway/exchange.ts';

const planOf = (document: v.InferInput<typeof idempotencyPolicy> = {}): IdempotencyPlan =>
  compileIdempotency(v.parse(idempotencyPolicy, document), 'idempotency', new IssueList());

interface Call {
  readonly path?: string;
  readonly method?: string;
  readonly body?: string;
  readonly headers?: Record<string, string>;
  readonly identity?: Identity | undefined;
  readonly plan?: IdempotencyPlan;
  readonly target?: string;
  /** Called when the head of the answer is there. */
  readonly onAnswer?: () => void;
}

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly code: unknown;
}

/** What is done, how often, and under which dedupe keys. */
class Target {
  readonly path = fresh();
  readonly key = crypto.randomUUID();
  readonly dedupeKeys: (string | undefined)[] = [];
  readonly bodies: string[] = [];
  answer: (request: Request) => Response | Promise<Response> = () => new Response(`done ${this.bodies.length}`);

  get times(): number {
    return this.bodies.length;
  }

  async call(call: Call = {}): Promise<Answer> {
    const ctx = createExecutionContext();
    const exchange = await this.#exchange(call, ctx);
    const who = 'identity' in call ? call.identity : identity('a');
    const response = await withIdempotency(call.plan ?? planOf(), exchange, who, async (request, dedupeKey) => {
      this.dedupeKeys.push(dedupeKey);
      this.bodies.push(await request.text());
      return this.answer(request);
    });
    call.onAnswer?.();
    const text = await response.text();
    await waitOnExecutionContext(ctx);
    const isProblem = response.headers.get('content-type') === 'application/problem+json';
    const code: unknown = isProblem ? (JSON.parse(text) as Record<string, unknown>)['code'] : undefined;
    return { status: response.status, headers: response.headers, text, code };
  }

  async #exchange(
    { path = this.path, method = 'POST', body = '{}', headers, target }: Call,
    ctx: ExecutionContext,
  ): Promise<Exchange> {
    const given = { method, headers: headers ?? { 'idempotency-key': `"${this.key}"` } };
    const made = exchangeOf(
      path,
      { ...given, ...(target === undefined ? {} : { target }) },
      ctx,
      await currentConfiguration(env),
    );
    return { ...made, request: new Request(made.request, { method, body }) };
  }
}

describe('a repeat', () => {
  it('gets the first response, and nothing is done again', async () => {
    const target = new Target();
    target.answer = () =>
      new Response('made', { status: 201, headers: { location: '/orders/1', 'set-cookie': 'a=b' } });
    const first = await target.call({ body: '{"amount":1}' });
    const again = await target.call({ body: '{"amount":1}' });
    expect([first.status, first.text, first.headers.get('idempotency-replayed')]).toEqual([201, 'made', null]);
    expect([again.status, again.text, again.headers.get('idempotency-replayed')]).toEqual([201, 'made', 'true']);
    expect([again.headers.get('location'), again.headers.getSetCookie()]).toEqual(['/orders/1', ['a=b']]);
    expect(target.bodies).toEqual(['{"amount":1}']);
  });

  it('finds the response as soon as there is an answer, unless it is a stream of events', async () => {
    const answeredAfter = async (type: string): Promise<number> => {
      const target = new Target();
      let sent = 0;
      let seen = -1;
      const pull = async (controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> => {
        await scheduler.wait(20);
        if (sent++ < 3) controller.enqueue(new TextEncoder().encode('part'));
        else controller.close();
      };
      target.answer = () => new Response(new ReadableStream({ pull }), { headers: { 'content-type': type } });
      await target.call({ onAnswer: () => (seen = sent) });
      return seen;
    };
    expect(await answeredAfter('application/json')).toBe(4);
    expect(await answeredAfter('text/event-stream')).toBeLessThan(2);
  });

  it('gets it also where it has no body', async () => {
    const target = new Target();
    target.answer = () => new Response(null, { status: 204 });
    await target.call();
    expect((await target.call()).status).toBe(204);
    expect(target.times).toBe(1);
  });

  it('with the same key as a token without quotes is the same', async () => {
    const target = new Target();
    await target.call();
    await target.call({ headers: { 'idempotency-key': target.key } });
    expect(target.times).toBe(1);
  });

  it('is refused by 409 with Retry-After while the first is under way', async () => {
    const target = new Target();
    const { promise, resolve } = Promise.withResolvers<void>();
    target.answer = async () => {
      await promise;
      return new Response('late');
    };
    const first = target.call();
    await expect.poll(() => target.times).toBe(1);
    const meanwhile = await target.call();
    expect([meanwhile.status, meanwhile.code, meanwhile.headers.get('retry-after')]).toEqual([
      409,
      'idempotency.running',
      '1',
    ]);
    resolve();
    expect((await first).text).toBe('late');
    expect((await target.call()).text).toBe('late');
    expect(target.times).toBe(1);
  });

  it('of a hundred at once, one is carried out', async () => {
    const target = new Target();
    const answers = await Promise.all(Array.from({ length: 100 }, () => target.call()));
    expect(target.times).toBe(1);
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200, 409]));
  });

  it.each([
    ['body', { body: '{"amount":2}' }],
    ['method', { method: 'PATCH' }],
    ['query', { path: '?page=2' }],
    ['path', { path: '/other' }],
  ])('with another %s is refused by 422', async (_, other) => {
    const target = new Target();
    await target.call();
    const path = 'path' in other ? target.path + other.path : target.path;
    const { status, code } = await target.call({ ...other, path });
    expect([status, code, target.times]).toEqual([422, 'idempotency.mismatch', 1]);
  });

  it.each([
    ['another caller', { identity: identity('b') }],
    ['a stranger', { identity: undefined }],
    ['another target', { target: 'route:other' }],
  ])('of the same key by %s is another request', async (_, other) => {
    const target = new Target();
    await target.call();
    expect((await target.call(other)).headers.has('idempotency-replayed')).toBe(false);
    expect(target.times).toBe(2);
  });

  it('of a stranger with another credential is told nothing of the first', async () => {
    const target = new Target();
    const as = (authorization: string) =>
      target.call({ identity: undefined, headers: { 'idempotency-key': target.key, authorization } });
    await as('Bearer one');
    expect((await as('Bearer two')).code).toBe('idempotency.mismatch');
    expect((await as('Bearer one')).headers.get('idempotency-replayed')).toBe('true');
  });

  it('finds a body that is too large for a row', async () => {
    const target = new Target();
    const body = 'x'.repeat(LIMITS.idempotencyRowBytes + 10);
    target.answer = () => new Response(body);
    expect((await target.call()).text).toHaveLength(body.length);
    const again = await target.call();
    expect([again.text.length, again.headers.get('idempotency-replayed'), target.times]).toEqual([
      body.length,
      'true',
      1,
    ]);
  });

  it('of what was too large to be kept at all is refused, not done again', async () => {
    const target = new Target();
    target.answer = () => new Response('x'.repeat(LIMITS.idempotencyBodyBytes + 10));
    expect((await target.call()).status).toBe(200);
    expect((await target.call()).code).toBe('idempotency.not-kept');
    expect(target.times).toBe(1);
  });
});

describe('a key', () => {
  it.each([500, 503, 429, 408])('is free again after a %s', async (status) => {
    const target = new Target();
    target.answer = () => new Response('no', { status });
    expect((await target.call()).status).toBe(status);
    target.answer = () => new Response('yes');
    expect((await target.call()).text).toBe('yes');
    expect(target.times).toBe(2);
  });

  it('is free again after the work has thrown, or its body has broken off', async () => {
    const target = new Target();
    target.answer = () => {
      throw new Error('broken');
    };
    await expect(target.call()).rejects.toThrow('broken');
    target.answer = () =>
      new Response(new ReadableStream({ pull: (controller) => controller.error(new Error('half')) }));
    await expect(target.call()).rejects.toThrow('half');
    target.answer = () => new Response('yes');
    expect((await target.call()).text).toBe('yes');
  });

  it.each([400, 404, 409, 422])('stands for a %s as for a success', async (status) => {
    const target = new Target();
    target.answer = () => new Response('no', { status });
    await target.call();
    expect((await target.call()).headers.get('idempotency-replayed')).toBe('true');
  });

  it('hands on the same dedupe key after a failure of which nothing is known, and another after a failed run', async () => {
    const target = new Target();
    target.answer = () => new Response('unknown', { status: 503 });
    await target.call();
    target.answer = () => new Response('failed', { status: 500, headers: { 'tidegate-run': 'run_1' } });
    await target.call();
    await target.call();
    const [first, second, third] = target.dedupeKeys;
    expect(first).toMatch(/^idempotency:[0-9a-f]{64}:0:/);
    expect([second === first, third === first]).toEqual([true, false]);
  });

  it.each([
    ['empty', ''],
    ['an open quote', '"abc'],
    ['two keys', '"a", "b"'],
    ['a space', 'a b'],
    ['too long', 'k'.repeat(LIMITS.idempotencyKeyCharacters + 1)],
  ])('that is %s is refused by 400', async (_, key) => {
    const target = new Target();
    const { status, code } = await target.call({ headers: { 'idempotency-key': key } });
    expect([status, code, target.times]).toEqual([400, 'request.invalid', 0]);
  });

  it('that is missing is refused by 400 where the route requires it, and only there', async () => {
    const target = new Target();
    const without = await target.call({ headers: {}, plan: planOf({ required: true }) });
    expect([without.status, without.code, target.times]).toEqual([400, 'idempotency.missing', 0]);
    await target.call({ headers: {} });
    expect([target.times, target.dedupeKeys]).toEqual([1, [undefined]]);
  });

  it('of another method is not looked at', async () => {
    const target = new Target();
    await target.call({ method: 'PUT' });
    await target.call({ method: 'PUT' });
    expect(target.times).toBe(2);
  });
});

describe('the object', () => {
  let now = 1_000_000;
  const ttlMilliseconds = 60_000;
  const ask = (fingerprint = 'f') => ({ id: 'id', fingerprint, ttlMilliseconds });
  const kept = { status: 200, headers: '[]', body: new ArrayBuffer(1), blob: undefined };

  class Clocked extends IdempotencyObject {
    protected override now(): number {
      return now;
    }
  }
  /** An object of its own, whose clock stands still. */
  const within = <T>(work: (object: Clocked) => Promise<T>): Promise<T> =>
    runInDurableObject(env.IDEMPOTENCY.getByName(crypto.randomUUID()), (_, state) => work(new Clocked(state, env)));

  it('gives the key of a request that is dead to the next, and takes nothing more of the dead one', async () => {
    await within(async (object) => {
      const dead = await object.begin(ask());
      now += LIMITS.idempotencyLockMilliseconds - 1;
      expect(await object.begin(ask())).toMatchObject({ kind: 'running' });
      now += 1;
      const next = await object.begin(ask());
      if (dead.kind !== 'first' || next.kind !== 'first') throw new Error('not free');
      expect(next.epoch).toBe(dead.epoch);
      expect(await object.finish('id', dead.token, kept)).toBe(false);
      expect(await object.release('id', dead.token, true)).toBe(false);
      expect(await object.finish('id', next.token, kept)).toBe(true);
      expect(await object.begin(ask())).toMatchObject({ kind: 'done' });
    });
  });

  it('holds the key of a request that says that it lives', async () => {
    await within(async (object) => {
      const begun = await object.begin(ask());
      if (begun.kind !== 'first') throw new Error('not free');
      for (let times = 0; times < 10; times++) {
        now += LIMITS.idempotencyLockMilliseconds - 1;
        expect(await object.renew('id', begun.token)).toBe(true);
      }
      expect(await object.begin(ask())).toMatchObject({ kind: 'running' });
      expect(await object.begin(ask('other'))).toEqual({ kind: 'mismatch' });
    });
  });

  it('forgets a key when its time is over, and its row with the next sweep', async () => {
    await within(async (object) => {
      const begun = await object.begin(ask());
      if (begun.kind !== 'first') throw new Error('not free');
      await object.finish('id', begun.token, kept);
      now += ttlMilliseconds - 1;
      expect(await object.begin(ask())).toMatchObject({ kind: 'done' });
      now += 1;
      expect(await object.begin(ask('other'))).toMatchObject({ kind: 'first' });
    });
    const stub = idempotencyStub(env, '00000000');
    const expired = { id: '00000000', fingerprint: 'f', ttlMilliseconds: 0 };
    const begun = await stub.begin(expired);
    await stub.finish(expired.id, begun.kind === 'first' ? begun.token : 0, kept);
    expect(await runDurableObjectAlarm(stub)).toBe(true);
    await runInDurableObject(stub, (_, state) => {
      const left = state.storage.sql.exec(`select id from keys where id = '00000000'`).toArray();
      expect(left).toEqual([]);
    });
  });
});
