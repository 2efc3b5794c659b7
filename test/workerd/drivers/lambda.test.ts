import { describe, expect, it } from 'vitest';
import { lambda } from '../../../src/connectors/lambda/index.ts';
import { actionsOf, DEAD_ADDRESS, faultOf, output, servers, written } from './fixtures.ts';

const { endpoint, region, ...secrets } = servers.lambda;
const settings = { endpoint, region };
const call = actionsOf(lambda, { settings, secrets });
const invoke = (name: string, more: Record<string, unknown> = {}) => call('invoke', { function: name, ...more });

describe('a function', () => {
  it('is called with its payload, and told the idempotency key of the step', async () => {
    expect(await output(invoke('echo', { payload: { text: 'ünï "quoted"' } }))).toEqual({
      payload: {
        payload: { text: 'ünï "quoted"' },
        qualifier: null,
        context: { custom: { idempotencyKey: 'run:step:0' } },
      },
      executedVersion: '$LATEST',
    });
  });

  it.each(['echo', 'arn:aws:lambda:eu-central-1:123456789012:function:echo'])(
    'is found as %s, at a version',
    async (name) => {
      const reply = await output(invoke(name, { qualifier: '$LATEST' }));
      expect(reply).toMatchObject({ payload: { payload: null, qualifier: '$LATEST' } });
    },
  );

  it('is that of the connection where a step names none', async () => {
    const own = actionsOf(lambda, { settings: { ...settings, function: 'echo' }, secrets });
    expect(await output(own('invoke', { payload: 1 }))).toMatchObject({ payload: { payload: 1 } });
    expect((await faultOf(call('invoke', {}), 'step.params')).message).toContain('function');
  });

  it('that returns nothing gives null', async () => {
    expect(await output(invoke('nothing'))).toMatchObject({ payload: null });
  });

  it('shows the end of its log only where that is asked for', async () => {
    expect(await output(invoke('echo', { logTail: true }))).toMatchObject({ log: expect.stringContaining('hello') });
    expect(await output(invoke('echo'))).not.toHaveProperty('log');
  });

  it('that failed is a fault with its own error and log', async () => {
    const fault = await faultOf(invoke('fails', { logTail: true }), 'upstream.rejected');
    expect(fault).toMatchObject({
      retryable: false,
      message: 'The function failed: OrderError: no such order.',
      data: {
        functionError: 'Unhandled',
        error: { errorMessage: 'no such order' },
        log: expect.stringContaining('END'),
      },
    });
  });

  it('takes an event without being waited for', async () => {
    const id = crypto.randomUUID();
    expect(await output(call('send', { function: 'slow', payload: { id } }))).toEqual({});
    expect(await output(invoke('queue'))).toMatchObject({ payload: expect.arrayContaining([{ id }]) });
  });

  it('is checked without being run', async () => {
    expect(await output(call('check', { function: 'fails' }))).toEqual({});
    expect((await faultOf(call('check', { function: 'denied' }), 'upstream.unauthorized')).message).toContain(
      'AccessDeniedException',
    );
    await faultOf(call('check', { function: 'nobody' }), 'upstream.rejected');
  });
});

describe('a call is refused', () => {
  it.each(['../../2015-03-31/functions', '..', '.hidden', 'a/b', 'a?Qualifier=b', 'a b', 'a\r\nhost: b', ''])(
    'for the function %j, before anything is sent',
    async (name) => {
      await expect(invoke(name)).rejects.toThrow(/name or the ARN/);
    },
  );

  it('for a qualifier that would be a path or a query', async () => {
    await expect(invoke('echo', { qualifier: '1&x=y' })).rejects.toThrow(/version/);
  });

  it.each(['evil.example/#', 'a.evil.example', 'EU', ''])('for the region %j', async (wrong) => {
    const other = actionsOf(lambda, { settings: { region: wrong }, secrets });
    await expect(other('check', { function: 'echo' })).rejects.toThrow(/region/);
  });

  it('for a payload that was changed on its way', async () => {
    const tampering: typeof fetch = (input, init) => fetch(input, { ...init, body: '{"amount":1000000}' });
    const sent = call('invoke', { function: 'echo', payload: { amount: 1 } }, { fetch: tampering });
    expect((await faultOf(sent, 'upstream.unauthorized')).message).toContain('InvalidSignatureException');
  });

  it.each(['accessKeyId', 'secretAccessKey', 'sessionToken'])('for a wrong %s, without a word of it', async (field) => {
    const wrong = actionsOf(lambda, {
      settings: { ...settings, function: 'echo' },
      secrets: { ...secrets, [field]: 'not-it-0123' },
    });
    const probe = lambda.connection?.probe?.({ ...settings, function: 'echo' });
    const fault = await faultOf(wrong(probe?.action ?? '', probe?.params), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    expect(written(fault)).not.toContain('not-it-0123');
    expect(written(fault)).not.toContain(secrets.secretAccessKey);
  });

  it('for a function that is not there, for good', async () => {
    const fault = await faultOf(invoke('nobody'), 'upstream.rejected');
    expect(fault.retryable).toBe(false);
    expect(fault.message).toContain('ResourceNotFoundException');
  });
});

describe('a call may be made again', () => {
  it('after a throttle, when Lambda says', async () => {
    const fault = await faultOf(invoke('throttled'), 'upstream.rate-limited');
    expect(fault).toMatchObject({ retryable: true, retryAfterMilliseconds: 2_000 });
  });

  it('where nobody listens, or the reply breaks off', async () => {
    const nowhere = actionsOf(lambda, { settings: { ...settings, endpoint: DEAD_ADDRESS }, secrets });
    expect((await faultOf(nowhere('invoke', { function: 'echo' }), 'upstream.unreachable')).retryable).toBe(true);
    expect((await faultOf(invoke('breaks'), 'upstream.unreachable')).retryable).toBe(true);
  });

  it('where the function took too long', async () => {
    const late = call('invoke', { function: 'slow' }, { signal: AbortSignal.timeout(200) });
    expect((await faultOf(late, 'step.timeout')).retryable).toBe(true);
  });
});

describe('a result', () => {
  it('that is too large for the memory of an isolate is refused', async () => {
    await faultOf(invoke('large'), 'upstream.too-large');
  });

  it('that is no JSON is unreadable', async () => {
    await faultOf(invoke('garbled'), 'upstream.invalid');
  });
});

describe('the probe', () => {
  const probe = lambda.connection?.probe;

  it('checks the function of the connection', async () => {
    const chosen = probe?.({ ...settings, function: 'echo' });
    const own = actionsOf(lambda, { settings: { ...settings, function: 'echo' }, secrets });
    expect(await output(own(chosen?.action ?? '', chosen?.params))).toEqual({});
  });

  it('is left out where the connection names none', () => {
    expect(probe?.(settings)).toBeUndefined();
  });
});
