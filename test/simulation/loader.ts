/**
 * Loads production modules for the simulator: the gateway's edges are replaced by substitutes, and a mutant
 * changes one place of one file as it is read.
 */

import { registerHooks } from 'node:module';
import type { Mutant } from './mutants.ts';

const here = (path: string): string => new URL(path, import.meta.url).href;

const SUBSTITUTES: ReadonlyMap<string, string> = new Map([
  [here('../../src/runtime/access-log.ts'), here('./substitutes/access-log.ts')],
  [here('../../src/runtime/configuration.ts'), here('./substitutes/configuration.ts')],
  [here('../../src/store/runs.ts'), here('./substitutes/runs.ts')],
  [here('../../src/store/shards.ts'), here('./substitutes/shards.ts')],
  [here('../../src/connectors/index.ts'), here('./substitutes/connectors.ts')],
]);

/** @throws Error when the text that the mutant replaces is not there exactly once; also later, as the file loads */
export function registerLoader(mutant: Mutant | undefined): void {
  const mutated = mutant && here(`../../${mutant.file}`);
  registerHooks({
    resolve: (specifier, context, next) => {
      if (specifier === 'cloudflare:workers') {
        return { url: here('./substitutes/cloudflare-workers.ts'), shortCircuit: true };
      }
      if (specifier === 'cloudflare:sockets') {
        return { url: here('./substitutes/cloudflare-sockets.ts'), shortCircuit: true };
      }
      const resolved = next(specifier, context);
      const substitute = SUBSTITUTES.get(resolved.url);
      // A substitute may build on what it stands in for.
      return substitute === undefined || substitute === context.parentURL ? resolved : { ...resolved, url: substitute };
    },
    load: (url, context, next) => {
      const loaded = next(url, context);
      if (mutant === undefined || url !== mutated) return loaded;
      return { ...loaded, source: mutate(mutant, String(loaded.source)) };
    },
  });
}

/** @throws Error when the text is not there exactly once */
export function mutate({ name, file, text, replacement }: Mutant, source: string): string {
  const count = source.split(text).length - 1;
  if (count !== 1) throw new Error(`The mutant "${name}" no longer fits: its text stands ${count} times in ${file}.`);
  return source.replace(text, () => replacement);
}
