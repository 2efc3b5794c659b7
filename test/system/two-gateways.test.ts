import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { launch, type Gateway } from '../../scripts/launcher/launch.ts';

async function start(): Promise<Gateway> {
  const dataDirectory = mkdtempSync(join(tmpdir(), 'tidegate-two-'));
  const gateway = await launch({ port: 0, dataDirectory, samples: false });
  const stop = async (): Promise<void> => {
    await gateway.stop();
    rmSync(dataDirectory, { recursive: true, force: true });
  };
  return { ...gateway, stop };
}

const isUp = async ({ url }: Gateway): Promise<boolean> => (await fetch(`${url}/_/health`)).ok;

it('of two gateways in one process, each goes on and starts anew after the other is gone with its folder', async () => {
  const first = await start();
  onTestFinished(() => first.stop());
  const second = await start();
  expect(await Promise.all([first, second].map(isUp))).toEqual([true, true]);
  await second.stop();
  expect(await isUp(first)).toBe(true);
  await first.rebuild();
  expect(await isUp(first)).toBe(true);
});
