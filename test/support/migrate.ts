/** A setup file of the workerd project: brings D1 to the newest migration before the tests of a file. */

/// <reference types="@cloudflare/vitest-plugin/types" />

import { applyD1Migrations, type D1Migration } from 'cloudflare:test';
import { env } from 'cloudflare:workers';

declare global {
  namespace Cloudflare {
    interface Env {
      readonly DB: D1Database;
      /** Given by vitest.config.ts. */
      readonly TEST_MIGRATIONS: D1Migration[];
    }
  }
}

await applyD1Migrations(env.DB, env.TEST_MIGRATIONS);
