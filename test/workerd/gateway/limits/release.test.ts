import { createExecutionContext } from 'cloudflare:test';
import { describe, expect, it, vi } from 'vitest';
import { releaseAtEnd } from '../../../../src/gateway/limits/release.ts';

const wrap = (response: Response) => {
  const release = vi.fn<() => void>();
  return { release, wrapped: releaseAtEnd(response, release, createExecutionContext()) };
};

const endless = () =>
  new ReadableStream<Uint8Array>({
    async pull(controller) {
      await scheduler.wait(1);
      controller.enqueue(new Uint8Array([120]));
    },
  });

describe('a permit', () => {
  it('is given back when the body has been read, and not before', async () => {
    const { release, wrapped } = wrap(new Response('some text'));
    expect(release).not.toHaveBeenCalled();
    expect(await wrapped.text()).toBe('some text');
    await vi.waitFor(() => expect(release).toHaveBeenCalledTimes(1));
  });

  it('is held while a stream is read, and given back when the reader goes', async () => {
    const { release, wrapped } = wrap(new Response(endless()));
    const reader = wrapped.body?.getReader();
    await reader?.read();
    await reader?.read();
    expect(release).not.toHaveBeenCalled();
    await reader?.cancel();
    await vi.waitFor(() => expect(release).toHaveBeenCalledTimes(1));
  });

  it('is given back when the upstream breaks off', async () => {
    const broken = new ReadableStream({ pull: (controller) => controller.error(new Error('gone')) });
    const { release, wrapped } = wrap(new Response(broken));
    await expect(wrapped.text()).rejects.toThrow();
    await vi.waitFor(() => expect(release).toHaveBeenCalledTimes(1));
  });

  it('is given back at once without a body', () => {
    expect(wrap(new Response(null, { status: 204 })).release).toHaveBeenCalledTimes(1);
  });

  it('changes nothing of the response', async () => {
    const { wrapped } = wrap(new Response('abc', { status: 207, headers: { 'content-length': '3', 'x-a': '1' } }));
    expect(wrapped.status).toBe(207);
    expect(wrapped.headers.get('content-length')).toBe('3');
    expect(wrapped.headers.get('x-a')).toBe('1');
    expect(await wrapped.text()).toBe('abc');
  });
});
