/**
 * `node bindings.ts <wrangler.toml> <out.json>`: what wrangler makes of the configuration, for miniflare. A
 * process of its own, because wrangler takes half a second and 120 MB that a running gateway has no use for.
 */

import { writeFileSync } from 'node:fs';
import { unstable_getMiniflareWorkerOptions } from 'wrangler';

const [configPath = 'wrangler.toml', outputPath = 'bindings.json'] = process.argv.slice(2);
const { workerOptions } = unstable_getMiniflareWorkerOptions(configPath);
// The rules are for sources; the build has one module. The root is where the reader is.
const { modulesRules: _rules, rootPath: _root, ...bindings } = workerOptions;
writeFileSync(outputPath, JSON.stringify(bindings));
