/** From the text of a document to the active version of its chain. */

import { CANARY_DEFAULTS, stableFor } from './canary.ts';
import { routesOf } from './versions.ts';
import { compileNamed } from '../documents.ts';
import type { ControlPorts } from '../ports.ts';
import { hashDocument } from '../../core/chain/canonical.ts';
import { compileChain } from '../../core/chain/compile.ts';
import { connectionPath, howToMake } from '../../core/chain/connection.ts';
import type { Plan } from '../../core/chain/plan.ts';
import { ok, type Issue, type Result } from '../../core/errors.ts';
import { startCanary } from '../../store/canaries.ts';
import { publishChain } from '../../store/chains.ts';
import { listConnections } from '../../store/connections.ts';
import { listSources } from '../../store/sources.ts';

export interface Published {
  readonly created: boolean;
  readonly version: number;
  readonly hash: string;
  readonly plan: Plan;
  /** What is not there yet and will make runs fail. */
  readonly warnings: readonly Issue[];
}

export interface PublishOptions {
  /** False: no run takes the version yet. */
  readonly activate: boolean;
  /** Percent of the runs that the version gets as a canary, instead of all. */
  readonly canary: number | undefined;
}

/** Faults `chain.invalid`, `chain.route-taken`, `canary.refused`. Resolves when the version is live in this isolate. */
export async function publish(
  ports: ControlPorts,
  name: string,
  given: unknown,
  actor: string,
  activation: PublishOptions,
): Promise<Result<Published>> {
  const compiled = compileNamed(given, name, 'chain.invalid', (document) => compileChain(document, ports.catalogue));
  if (!compiled.ok) return compiled;
  const { document, plan } = compiled.value;
  const { canary } = activation;
  // Before the version is stored, which would stay.
  const stable = canary === undefined ? undefined : await stableFor(ports, name, document);
  if (stable?.ok === false) return stable;
  const hash = await hashDocument(document);
  const now = ports.now();
  const activate = activation.activate && canary === undefined;
  const publication = { name, document, hash, routes: routesOf(plan), activate, actor, now };
  const published = await publishChain(ports.db, publication);
  if (!published.ok) return published;
  if (canary !== undefined && stable !== undefined) {
    const { version } = published.value;
    await startCanary(ports.db, {
      ...{ ...CANARY_DEFAULTS, chain: name, version, stable: stable.value, weight: canary, actor, now },
    });
  }
  // Also where nothing was stored: an earlier attempt may have died between storing and telling.
  await ports.configurationChanged();
  return ok({ ...published.value, hash, plan, warnings: await warningsOf(ports.db, plan) });
}

async function warningsOf(db: D1Database, plan: Plan): Promise<Issue[]> {
  const [connections, sources] = await Promise.all([listConnections(db, undefined), listSources(db)]);
  const paths = new Set(connections.map(connectionPath));
  const sourceNames = new Set(sources.map((source) => source.name));
  return [
    ...plan.triggers.flatMap((trigger) => {
      if (trigger.type !== 'webhook' || sourceNames.has(trigger.source)) return [];
      const message = `There is no webhook source "${trigger.source}" yet; PUT /_/api/v1/sources/${trigger.source} makes it.`;
      return [{ path: `triggers.${trigger.name}.source`, message }];
    }),
    ...plan.steps.flatMap(({ id, connection }) => {
      // Which one an expression gives is known only in a run.
      if (connection?.constant === undefined || paths.has(connectionPath(connection.constant))) return [];
      const message = `There is no connection "${connection.written}" yet; ${howToMake(connection.constant)}`;
      return [{ path: `steps.${id}.connection`, message }];
    }),
  ];
}
