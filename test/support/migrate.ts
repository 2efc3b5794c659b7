/** A setup file of the workerd project: brings D1 to the newest migration before the tests of a file. */

/// <reference types="@cloudflare/vitest-plugin/types" />
/// <reference types="vite/types/importMeta.d.ts" />

import { applyD1Migrations } from 'cloudflare:test';
import { env } from 'cloudflare:workers';

declare global {
  namespace Cloudflare {
    interface Env {
      readonly DB: D1Database;
    }
  }
}

const files = import.meta.glob<string>('../../migrations/*.sql', { query: '?raw', import: 'default', eager: true });

const migrations = Object.entries(files)
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([path, sql]) => ({ name: path.split('/').at(-1) ?? path, queries: sql.split('--> statement-breakpoint') }));

await applyD1Migrations(env.DB, migrations);
