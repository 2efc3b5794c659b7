import { describe, expect, it } from 'vitest';
import { docker } from '../../../src/connectors/docker/index.ts';
import { outputOf } from '../../../src/drivers/docker/output.ts';
import { tarOf } from '../../../src/drivers/docker/tar.ts';
import { actionsOf, DEAD_ADDRESS, faultOf, output, servers, written } from './fixtures.ts';

const engine = servers.docker;
const url = engine?.url ?? DEAD_ADDRESS;
const image = engine?.image ?? '';
const secrets = { bearer: engine?.token ?? '' };
const call = actionsOf(docker, { settings: { url }, secrets });
const never: typeof fetch = () => Promise.reject(new Error('sent'));
const shell = (script: string, more: Record<string, unknown> = {}) =>
  call('run', { image, command: ['/bin/sh', '-c', script], network: 'none', memoryMegabytes: 64, ...more });
const own = (): string => `own-${crypto.randomUUID().slice(0, 8)}`;

describe.skipIf(engine === null)('a container', () => {
  it('runs to its end, and is gone then', async () => {
    const ran = await output(shell('echo "$GREETING"; echo oh >&2; exit 3', { environment: { GREETING: 'ünï' } }));
    expect(ran).toEqual({ exitCode: 3, stdout: 'ünï\n', stderr: 'oh\n', truncated: false });
    // The name is that of the step: it is free again.
    expect(await output(shell('true'))).toMatchObject({ exitCode: 0 });
  });

  it('takes words that no shell looks at', async () => {
    const command = ['/bin/busybox', 'echo', '$(id)', ';', 'rm -rf /', '`id`'];
    expect(await output(call('run', { image, command, network: 'none' }))).toMatchObject({
      stdout: '$(id) ; rm -rf / `id`\n',
    });
  });

  it('is held to its memory and processes', async () => {
    const limits = await output(
      shell('/bin/busybox cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null; true'),
    );
    expect(limits).toMatchObject({ stdout: expect.stringMatching(/^(?:67108864\n|)$/) });
    expect(await output(shell('/bin/busybox grep NoNewPrivs /proc/self/status'))).toMatchObject({
      stdout: expect.stringMatching(/NoNewPrivs:\s+1/),
    });
  });

  it('that runs for too long is removed, with what it printed', async () => {
    const fault = await faultOf(shell('echo begun; /bin/busybox sleep 60', { timeoutSeconds: 1 }), 'upstream.timeout');
    expect(fault).toMatchObject({ retryable: false, data: { stdout: 'begun\n' } });
    expect(await output(shell('true'))).toMatchObject({ exitCode: 0 });
  });

  it('is removed also where the step is given up', async () => {
    const command = ['/bin/busybox', 'sleep', '60'];
    const label = own();
    const params = { image, command, network: 'none', labels: { job: label } };
    await faultOf(call('run', params, { signal: AbortSignal.timeout(1_500) }), 'step.timeout');
    expect(await output(call('prune', { label: `job=${label}` }))).toEqual({ removed: [] });
    await output(shell('true'));
  });

  it('is made, started, asked, stopped and removed, each also a second time', async () => {
    const container = own();
    const command = ['/bin/sh', '-c', 'echo first; echo second; exec /bin/busybox sleep 60'];
    await output(call('create', { name: container, image, command, network: 'none' }));
    expect(await output(call('start', { container }))).toEqual({ started: true });
    expect(await output(call('start', { container }))).toEqual({ started: false });
    expect(await output(call('inspect', { container }))).toMatchObject({ name: container, running: true });
    expect(await output(call('exec', { container, command: ['/bin/sh', '-c', 'echo in; exit 4'] }))).toEqual({
      exitCode: 4,
      stdout: 'in\n',
      stderr: '',
      truncated: false,
    });
    expect(await output(call('logs', { container, tail: 1 }))).toMatchObject({ stdout: 'second\n' });
    expect(await output(call('stop', { container, graceSeconds: 0 }))).toEqual({ stopped: true });
    expect(await output(call('stop', { container, graceSeconds: 0 }))).toEqual({ stopped: false });
    expect(await output(call('inspect', { container }))).toMatchObject({ running: false });
    expect(await output(call('remove', { container }))).toEqual({ removed: true });
    expect(await output(call('remove', { container }))).toEqual({ removed: false });
    await faultOf(call('inspect', { container }), 'upstream.rejected');
  });

  it('that prints without end is read up to a bound', async () => {
    const ran = (await output(shell('/bin/busybox yes | /bin/busybox head -c 3000000'))) as { stdout: string };
    expect(ran).toMatchObject({ exitCode: 0, truncated: true });
    expect(ran.stdout.length).toBeGreaterThan(100_000);
    expect(ran.stdout.length).toBeLessThanOrEqual(1024 * 1024);
  });

  it('is pruned by its label only', async () => {
    const [mine, other] = [own(), own()];
    for (const name of [mine, other]) {
      await output(call('create', { name, image, command: ['/bin/sh'], network: 'none', labels: { job: name } }));
    }
    expect(await output(call('prune', { label: `job=${mine}` }))).toMatchObject({ removed: [expect.any(String)] });
    expect(await output(call('remove', { container: mine }))).toEqual({ removed: false });
    expect(await output(call('remove', { container: other }))).toEqual({ removed: true });
  });

  it('that cannot start is a fault with the reason, and leaves nothing', async () => {
    const failed = await call('run', { image, command: ['/no/such/program'], network: 'none' });
    expect(failed.ok ? '' : failed.fault.message).toMatch(/no such file|not found/i);
    await faultOf(call('run', { image: 'nobody/nothing:1', network: 'none' }), 'upstream.rejected');
    await output(shell('true'));
  });
});

describe('a container gets nothing of the host', () => {
  const host = { image: 'a', network: 'none' };
  it.each([
    [{ privileged: true }, 'privileged'],
    [{ mounts: [{ hostFolder: '/etc', path: '/x' }] }, '/etc'],
    [{ mounts: [{ hostFolder: '/srv/data/sub', path: '/x' }] }, '/srv/data/sub'],
    [{ mounts: [{ hostFolder: '/srv/data', volume: 'v', path: '/x' }] }, 'Give'],
    [{ mounts: [{ path: '/x' }] }, 'Give'],
  ])('with %j where the connection does not allow it', async (more, said) => {
    for (const settings of [{ url }, { url, allow: { hostFolders: ['/srv/data'] } }]) {
      const limited = actionsOf(docker, { settings, secrets });
      for (const given of [
        limited('run', { ...host, ...more }, { fetch: never }),
        limited('create', { ...host, ...more, name: 'a' }, { fetch: never }),
      ]) {
        expect((await faultOf(given, 'step.params')).message).toContain(said);
      }
    }
  });

  it.each([
    { network: 'host' },
    { network: 'container:other' },
    { mounts: [{ volume: '/etc', path: '/x' }] },
    { mounts: [{ volume: '..', path: '/x' }] },
    { mounts: [{ hostFolder: '/srv/data/../../etc', path: '/x' }] },
    { environment: { 'A=B\nC': 'x' } },
    { devices: ['/dev/sda'] },
    { HostConfig: { Privileged: true } },
  ])('by %j', async (more) => {
    await expect(call('run', { image: 'a', ...more }, { fetch: never })).rejects.toThrow();
  });

  it.each(['..', '../images', 'a/b', 'a?force=1', '', '.a', 'a\nb'])('by the name %j', async (container) => {
    for (const action of ['start', 'inspect', 'remove', 'logs']) {
      await expect(call(action, { container }, { fetch: never })).rejects.toThrow(/name of a container/);
    }
  });

  it.each(['../../containers/x', 'a/../b', 'a b', 'a?x', '', '-x', 'a@sha256:1'])('by the image %j', async (name) => {
    await expect(call('pull', { image: name }, { fetch: never })).rejects.toThrow(/name of an image/);
  });
});

describe.skipIf(engine === null)('a host folder that the connection allows', () => {
  it('is mounted', async () => {
    const allowing = actionsOf(docker, { settings: { url, allow: { hostFolders: ['/usr/share'] } }, secrets });
    const mounts = [{ hostFolder: '/usr/share', path: '/shared', readOnly: true }];
    const command = ['/bin/sh', '-c', '/bin/busybox ls /shared | /bin/busybox head -n 1; echo x > /shared/x'];
    expect(await output(allowing('run', { image, command, mounts, network: 'none' }))).toMatchObject({
      exitCode: 1,
      stdout: expect.stringMatching(/\S/),
      stderr: expect.stringContaining('Read-only'),
    });
  });
});

describe.skipIf(engine === null)('an image', () => {
  it('is built of files, listed, run and removed', async () => {
    const tag = `docker.io/tidegate/${own()}:1`;
    const files = [
      { path: 'Dockerfile', text: `FROM docker.io/${image}\nARG WHO\nCOPY a/hello.sh /hello.sh\nENV WHO=$WHO\n` },
      { path: 'a/hello.sh', text: '#!/bin/sh\necho "hello $WHO"\n', executable: true },
    ];
    const built = await output(call('build', { tag, files, arguments: { WHO: 'you' }, labels: { by: 'test' } }));
    expect(built).toMatchObject({ id: expect.stringMatching(/^sha256:/), log: expect.stringContaining('COPY') });
    const { images } = (await output(call('images', {}))) as { images: { tags: string[] }[] };
    expect(images.find(({ tags }) => tags.includes(tag))).toMatchObject({ labels: { by: 'test' } });
    const command = ['/hello.sh'];
    expect(await output(call('run', { image: tag, command, network: 'none' }))).toMatchObject({
      stdout: 'hello you\n',
    });
    expect(await output(call('removeImage', { image: tag }))).toEqual({ removed: true });
    expect(await output(call('removeImage', { image: tag }))).toEqual({ removed: false });
  });

  it('whose build fails is a fault, though the engine answers with 200', async () => {
    const files = [{ path: 'Dockerfile', text: 'FROM scratch\nCOPY nothing /x\n' }];
    const fault = await faultOf(call('build', { tag: 'tidegate/broken:1', files }), 'upstream.rejected');
    expect(fault.message).toContain('nothing');
  });

  it('that cannot be pulled is a fault, though the engine answers with 200', async () => {
    // Nothing listens there.
    const fault = await faultOf(call('pull', { image: '127.0.0.1:1/nobody/nothing:1' }), 'upstream.rejected');
    expect(fault.message).toContain('Docker could not do it');
  });
});

describe.skipIf(engine === null)('a volume', () => {
  it('keeps what one container writes for the next', async () => {
    const volume = own();
    expect(await output(call('createVolume', { volume, labels: { by: 'test' } }))).toEqual({ name: volume });
    await output(call('createVolume', { volume, labels: { by: 'test' } }));
    const mounts = [{ volume, path: '/data' }];
    await output(shell('echo kept > /data/file', { mounts }));
    expect(await output(shell('/bin/busybox cat /data/file', { mounts }))).toMatchObject({ stdout: 'kept\n' });
    const { volumes } = (await output(call('volumes', {}))) as { volumes: { name: string }[] };
    expect(volumes.find(({ name }) => name === volume)).toMatchObject({ labels: { by: 'test' } });
    expect(await output(call('removeVolume', { volume }))).toEqual({ removed: true });
    expect(await output(call('removeVolume', { volume }))).toEqual({ removed: false });
  });
});

describe.skipIf(engine === null)('connections', () => {
  it('are probed by the version of the engine', async () => {
    const probe = docker.connection?.probe?.({ url, allow: {} });
    expect(await output(call(probe?.action ?? '', probe?.params))).toMatchObject({ apiVersion: expect.any(String) });
    const wrong = actionsOf(docker, { settings: { url }, secrets: { bearer: 'not-it-0123' } });
    const fault = await faultOf(wrong(probe?.action ?? '', probe?.params), 'upstream.unauthorized');
    expect(fault.retryable).toBe(false);
    expect(written(fault)).not.toContain('not-it-0123');
  });

  it('to something else, or to nobody, fail', async () => {
    const other = actionsOf(docker, { settings: { url: `${servers.upstream.url}/json` }, secrets: {} });
    expect((await other('version', {})).ok).toBe(false);
    const nobody = actionsOf(docker, { settings: { url: DEAD_ADDRESS }, secrets: {} });
    expect((await faultOf(nobody('version', {}), 'upstream.unreachable')).retryable).toBe(true);
  });

  it('that are lost before the answer leave nothing that is in the way of the next attempt', async () => {
    const cutting = actionsOf(docker, { settings: { url: engine?.cuttingUrl ?? '' }, secrets });
    const label = own();
    const params = { image, network: 'none', labels: { job: label } };
    // Made, and nobody is told.
    const unheard = cutting('run', { ...params, command: ['/bin/busybox', 'echo', 'CUT-REPLY'] });
    expect((await faultOf(unheard, 'upstream.unreachable')).retryable).toBe(true);
    expect(await output(call('run', { ...params, command: ['/bin/busybox', 'true'] }))).toMatchObject({ exitCode: 0 });
    // Run to its end, and its output is lost on the way.
    const unread = cutting('run', { ...params, command: ['/bin/busybox', 'echo', 'CUT-DELIVERY'] });
    expect((await faultOf(unread, 'upstream.unreachable')).retryable).toBe(true);
    expect(await output(call('prune', { label: `job=${label}` }))).toEqual({ removed: [] });
  });

  it('are given up in time', async () => {
    const slow = actionsOf(docker, { settings: { url: `${url}/slow` }, secrets });
    const fault = await faultOf(slow('version', {}, { signal: AbortSignal.timeout(200) }), 'step.timeout');
    expect(fault.retryable).toBe(true);
  });
});

describe('frames of output', () => {
  const frame = (type: number, text: string): number[] => [type, 0, 0, 0, 0, 0, 0, text.length, ...Buffer.from(text)];
  const read = (...bytes: number[]) => outputOf({ bytes: new Uint8Array(bytes), truncated: false });

  it('come apart again', () => {
    expect(read(...frame(1, 'a'), ...frame(2, 'b'), ...frame(1, 'c'))).toMatchObject({ stdout: 'ac', stderr: 'b' });
  });

  it('that were cut, or were never frames, lose nothing', () => {
    expect(read(...frame(1, 'abc').slice(0, -1))).toMatchObject({ stdout: 'ab' });
    expect(read(...Buffer.from('a terminal printed this'))).toMatchObject({ stdout: 'a terminal printed this' });
    expect(read()).toMatchObject({ stdout: '', stderr: '' });
  });
});

describe('an archive', () => {
  it.each(['../up', '/etc/passwd', 'a//b', 'a/./b', '', 'a\\b', 'a\nb', 'x'.repeat(101), `${'d/'.repeat(150)}f`])(
    'holds no file at %j',
    (path) => {
      expect(tarOf([{ path, bytes: new Uint8Array(1), isExecutable: false }]).ok).toBe(false);
    },
  );

  it('holds long paths in two parts', () => {
    const path = `${'d'.repeat(90)}/${'e'.repeat(60)}/${'f'.repeat(99)}`;
    expect(tarOf([{ path, bytes: new Uint8Array(600), isExecutable: false }])).toMatchObject({ ok: true });
  });
});
