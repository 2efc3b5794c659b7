/** A large table goes from one store to another through the gateway as a process, which holds a few chunks of it. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AwsV4Signer } from 'aws4fetch';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { call } from '../../scripts/launcher/api.ts';
import { launch, type Gateway } from '../../scripts/launcher/launch.ts';

const MEGABYTE = 1024 * 1024;
/** Most of it is garbage that nobody had to collect yet; holding either object would take 300 MB and more. */
const GROWTH_LIMIT = 160 * MEGABYTE;
/** A busy machine must not decide. */
const TIMEOUT_MILLISECONDS = 240_000;
const ROWS = 2_000_000;

const { s3, azure } = inject('servers');
const data = mkdtempSync(join(tmpdir(), 'tidegate-transform-'));
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
});
afterAll(async () => {
  await gateway.stop();
  rmSync(data, { recursive: true, force: true });
});

const chain = (name: string, given: object, more: object = {}) =>
  call(gateway, 'PUT', `/chains/${name}`, {
    triggers: { api: { type: 'http', method: 'POST', path: `/${name}`, auth: 'public' } },
    timeout: '3m',
    steps: { table: { use: 'objects.transform', with: given, timeout: '3m' }, ...more },
    output: '{{ steps.table }}',
  });

/** In bytes. `VmHWM` is the most since the last call of {@link forgetPeak}. */
function memoryOf(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const kilobytes = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return Number(kilobytes) * 1024;
}
const forgetPeak = (pid: number): void => writeFileSync(`/proc/${pid}/clear_refs`, '5');

/** A request of the test's own to the S3 server. */
async function s3Put(key: string, body: Buffer): Promise<void> {
  const { accessKeyId, secretAccessKey, region } = s3;
  const url = `${s3.endpoint}/${s3.bucket}/${encodeURIComponent(key)}`;
  const signed = await new AwsV4Signer({
    method: 'PUT',
    url,
    service: 's3',
    region,
    accessKeyId,
    secretAccessKey,
  }).sign();
  const response = await fetch(signed.url, { method: 'PUT', headers: signed.headers, body });
  expect(response.status).toBe(200);
}

/** 200 MB: two million rows of 105 bytes. */
function table(): Buffer {
  const lines = Buffer.alloc(ROWS * 105 + 64);
  let length = lines.write('id,country,total,note\r\n');
  for (let row = 0; row < ROWS; row++) {
    const country = ['DE', 'FR', 'NL', 'SE'][row % 4];
    length += lines.write(
      `${String(row).padStart(8, '0')},${country},${row % 1_000}.25,"a, b ${'x'.repeat(74)}"\r\n`,
      length,
    );
  }
  return lines.subarray(0, length);
}

const started = async (name: string): Promise<unknown> =>
  (
    await fetch(`${gateway.url}/${name}`, {
      method: 'POST',
      body: '{"country":"DE"}',
      headers: { 'content-type': 'application/json' },
    })
  ).json();

describe('a transform of 200 MB', () => {
  it(
    'from S3 to Azure stays under 160 MB of memory, row by row and in groups',
    async () => {
      const original = table();
      await s3Put('table.csv', original);
      const from = { connection: 'warehouse', key: 'table.csv', format: 'csv' };
      await chain('rows', {
        from,
        types: { total: 'number' },
        where: '{{ row.country = input.country }}',
        map: { id: '{{ row.id }}', gross: '{{ row.total * 2 }}', note: '{{ row.note }}' },
        to: { connection: 'archive', key: 'rows.ndjson', format: 'ndjson' },
      });
      await chain('groups', {
        from: { connection: 'archive', key: 'rows.ndjson', format: 'ndjson' },
        aggregate: { by: { gross: 'gross' }, figures: { rows: { op: 'count' } } },
        to: { connection: 'warehouse', key: 'groups.csv.gz', format: 'csv', gzip: true },
      });
      const pid = gateway.worker.pid() ?? 0;
      const before = memoryOf(pid, 'VmRSS');
      forgetPeak(pid);
      const startedAt = performance.now();
      expect(await started('rows')).toMatchObject({
        rowsRead: ROWS,
        rowsWritten: ROWS / 4,
        rowsFiltered: (ROWS * 3) / 4,
        readBytes: original.byteLength,
      });
      const seconds = (performance.now() - startedAt) / 1_000;
      expect(await started('groups')).toMatchObject({ rowsRead: ROWS / 4, rowsWritten: 250 });
      const growth = memoryOf(pid, 'VmHWM') - before;
      console.info(
        `200 MB of CSV, typed, filtered and mapped: ${Math.round(ROWS / seconds)} rows a second; ` +
          `memory ${Math.round(before / MEGABYTE)} MB, ${Math.round(growth / MEGABYTE)} MB more at its peak`,
      );
      expect(growth).toBeLessThan(GROWTH_LIMIT);
    },
    TIMEOUT_MILLISECONDS,
  );

  it('is refused when it is published, where an expression refers to what is not there', async () => {
    const refused = chain('wrong', {
      from: { key: 'a', format: 'csv' },
      where: '{{ rwo.total > 1 }}',
      to: { key: 'b', format: 'csv' },
    });
    await expect(refused).rejects.toThrow(/rwo/);
  });
});
