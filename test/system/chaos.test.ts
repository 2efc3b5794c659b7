import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { runCampaign } from '../../scripts/chaos/campaign.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tidegate-chaos-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

it('a gateway that is killed twice while runs arrive keeps every promise', async () => {
  const { violations, figures } = await runCampaign({ runs: 100, kills: 2, seed: 7, directory, log: () => undefined });
  expect(violations).toEqual([]);
  expect(figures).toMatchObject({ 'runs accepted': 100, 'runs that ended as succeeded': 100 });
  // Else the kills hit nothing, and the test would prove nothing.
  expect(figures['effects cut off and asked for again']).toBeGreaterThan(0);
  expect(figures['results seen committed before a kill']).toBeGreaterThan(0);
});
