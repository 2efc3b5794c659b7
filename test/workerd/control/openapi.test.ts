import { expect, test } from 'vitest';
import { ORIGIN, testControl } from './fixtures.ts';
import kept from '../../../docs/openapi.json';
import manifest from '../../../package.json';
import { endpoints } from '../../../src/control/index.ts';

const served = await testControl().send(new Request(`${ORIGIN}/_/api/v1/openapi.json`));

test('docs/openapi.json is what the gateway serves', () => {
  expect(served.body).toEqual(kept);
});

test('the document and health tell the version of the package', () => {
  expect(served.body).toMatchObject({ openapi: '3.1.0', info: { version: manifest.version } });
});

test('every endpoint is described under a name of its own', () => {
  const operations = Object.values(kept.paths).flatMap((path) => Object.values(path));
  const names = operations.map((operation) => operation.operationId);
  expect(names.map(String).toSorted()).toEqual(endpoints.map((item) => item.id).toSorted());
  expect(new Set(names).size).toBe(names.length);
});

test('every reference leads somewhere', () => {
  for (const [, path] of served.text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
    const found = (path ?? '').split('/').reduce<unknown>((at, key) => (at as Record<string, unknown>)?.[key], kept);
    expect(found, path).toBeDefined();
  }
});

test('only health and the document itself are open', () => {
  const open = Object.entries(kept.paths).filter(([, path]) => JSON.stringify(path).includes('"security":[]'));
  expect(open.map(([path]) => path)).toEqual(['/_/health', '/_/api/v1/openapi.json']);
});
