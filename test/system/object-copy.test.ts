/** A large object goes from one store to another through the gateway as a process, which holds a part of it at a time. */

import { createHash, randomBytes, type Hash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AwsV4Signer } from 'aws4fetch';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { call } from '../../scripts/launcher/api.ts';
import { launch, type Gateway } from '../../scripts/launcher/launch.ts';

const MEGABYTE = 1024 * 1024;
const SIZE = 200 * MEGABYTE + 4_321;
const GROWTH_LIMIT = 128 * MEGABYTE;

const { s3, azure } = inject('servers');
const data = mkdtempSync(join(tmpdir(), 'tidegate-copy-'));
let gateway: Gateway;

beforeAll(async () => {
  gateway = await launch({ port: 0, dataDirectory: data, samples: false, env: { TIDEGATE_EGRESS_ALLOW: '127.0.0.1' } });
  const { endpoint, region, bucket, accessKeyId, secretAccessKey } = s3;
  await call(gateway, 'PUT', '/connections/warehouse', {
    connector: 's3',
    settings: { endpoint, region, bucket },
    secrets: { accessKeyId, secretAccessKey },
  });
  const { account, accountKey } = azure;
  await call(gateway, 'PUT', '/connections/archive', {
    connector: 'azure-blob',
    settings: { account, endpoint: azure.endpoint, bucket: azure.bucket },
    secrets: { accountKey },
  });
  await chain('there', { connection: 'warehouse', key: '200 MB' }, { connection: 'archive', key: '200 MB' });
  await chain('back', { connection: 'archive', key: '200 MB' }, { connection: 'warehouse', key: '200 MB again' });
});
afterAll(async () => {
  await gateway.stop();
  rmSync(data, { recursive: true, force: true });
});

const chain = (name: string, from: object, to: object) =>
  call(gateway, 'PUT', `/chains/${name}`, {
    triggers: { api: { type: 'http', method: 'POST', path: `/${name}`, auth: 'public' } },
    timeout: '2m',
    steps: { copy: { use: 'objects.copy', with: { from, to }, timeout: '2m' } },
    output: '{{ steps.copy }}',
  });

/** In bytes. `VmHWM` is the most since the last call of {@link forgetPeak}. */
function memoryOf(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const kilobytes = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}
const forgetPeak = (pid: number): void => writeFileSync(`/proc/${pid}/clear_refs`, '5');

/** A request of the test's own to the S3 server. */
async function s3Fetch(method: 'GET' | 'PUT', key: string, body?: Buffer): Promise<Response> {
  const { accessKeyId, secretAccessKey, region } = s3;
  const url = `${s3.endpoint}/${s3.bucket}/${encodeURIComponent(key)}`;
  const signed = await new AwsV4Signer({ method, url, service: 's3', region, accessKeyId, secretAccessKey }).sign();
  const response = await fetch(signed.url, { method, headers: signed.headers, ...(body !== undefined && { body }) });
  expect(response.status).toBe(200);
  return response;
}

async function copied(name: string): Promise<unknown> {
  const response = await fetch(`${gateway.url}/${name}`, { method: 'POST' });
  return response.json();
}

describe('a copy of 200 MB', () => {
  it('between two stores stays under 128 MB of memory, and is the same when it comes back', async () => {
    const original = randomBytes(SIZE);
    await (await s3Fetch('PUT', '200 MB', original)).text();
    const pid = gateway.worker.pid() ?? 0;
    const before = memoryOf(pid, 'VmRSS');
    forgetPeak(pid);
    const startedAt = Date.now();
    expect(await copied('there')).toMatchObject({ sizeBytes: SIZE });
    const there = Date.now() - startedAt;
    expect(await copied('back')).toMatchObject({ sizeBytes: SIZE });
    const growth = memoryOf(pid, 'VmHWM') - before;
    console.info(
      `200 MB: S3 to Azure in ${there} ms, back in ${Date.now() - startedAt - there} ms; ` +
        `memory ${Math.round(before / MEGABYTE)} MB, ${Math.round(growth / MEGABYTE)} MB more at its peak`,
    );
    expect(growth).toBeLessThan(GROWTH_LIMIT);
    const digest: Hash = createHash('sha256');
    for await (const chunk of (await s3Fetch('GET', '200 MB again')).body ?? []) digest.update(chunk);
    expect(digest.digest('hex')).toBe(createHash('sha256').update(original).digest('hex'));
  });
});
