/**
 * The configuration that an isolate holds in memory: active chains with their plans, sources, keys,
 * connections. The hot path reads it without a round trip.
 *
 * Guarantee: a request sees one whole configuration, never a mixture; publishing replaces it as one. The
 * isolate that publishes sees the change before it answers; others within `configurationAgeMilliseconds`
 * of their next request, and at once where the change added a path, source or key that they miss. No
 * credential is accepted by what nobody has confirmed for `configurationConfirmedMilliseconds`.
 * Accepted weakness: while D1 does not answer, the last configuration goes on, and so does a revoked key.
 */

import { waitUntil } from 'cloudflare:workers';
import { noteAccess } from './access-log.ts';
import { catalogue } from './catalogue.ts';
import { compileChain } from '../core/chain/compile.ts';
import { connectionPath } from '../core/chain/connection.ts';
import type { Plan } from '../core/chain/plan.ts';
import { FaultError, fault, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { isCanary, shareOf } from '../core/policy/canary.ts';
import { compileRoute } from '../core/route/compile.ts';
import type { RoutePlan } from '../core/route/plan.ts';
import { compilePool, type PoolPlan } from '../core/route/upstream.ts';
import type { Env } from '../env.ts';
import { loadChainVersion, type ChainVersion } from '../store/chains.ts';
import {
  loadConfiguration,
  loadRevision,
  type ConnectionRow,
  type KeyRow,
  type SourceRow,
  type SwitchedOff,
} from '../store/configuration.ts';
import { createVault, type Vault } from '../vault/vault.ts';

export interface ActiveVersion {
  readonly name: string;
  readonly version: number;
  readonly plan: Plan;
}

export interface ActiveChain extends ActiveVersion {
  /** Gets a part of the runs, in percent. Its triggers are those of the chain. */
  readonly canary?: ActiveVersion & { readonly weight: number };
}

export interface Configuration {
  readonly revision: number;
  readonly chains: ReadonlyMap<string, ActiveChain>;
  readonly routes: ReadonlyMap<string, RoutePlan>;
  readonly upstreams: ReadonlyMap<string, PoolPlan>;
  readonly sources: ReadonlyMap<string, SourceRow>;
  /** By the hash of the key, and by that of the key that it replaced. */
  readonly keys: ReadonlyMap<string, KeyRow>;
  /** By `connectionPath`. */
  readonly connections: ReadonlyMap<string, ConnectionRow>;
  /** Connectors that are switched off. */
  readonly switches: ReadonlyMap<string, SwitchedOff>;
  /** By what was purged of the cache, the revision that did it. */
  readonly purges: ReadonlyMap<string, number>;
}

let current: Configuration | undefined;
let checkedAt = 0;
/** Start of the last look that D1 answered: what is in memory was the newest at that time. */
let confirmedAt = 0;
let gaveUpAt = 0;

/** When it was last known that nothing is newer than what is in memory, in unix milliseconds. */
export const configurationConfirmedAt = (): number => confirmedAt;

/** The configuration in memory, or a promise of it in an isolate that has none yet. */
export function currentConfiguration(env: Env): Configuration | Promise<Configuration> {
  return current ?? reloadConfiguration(env);
}

/** Reads everything anew. Never shared between requests: a promise belongs to the request that made it. */
export async function reloadConfiguration(env: Env): Promise<Configuration> {
  const startedAt = Date.now();
  const stored = await loadConfiguration(env.DB);
  const canaries = new Map(stored.canaries.map((canary) => [canary.chain, canary]));
  const chains = stored.chains.flatMap((chain): ActiveChain[] => {
    const active = compiled(chain);
    const canary = canaries.get(chain.name);
    const other = active && canary && compiled({ ...canary, name: chain.name });
    if (active === undefined) return [];
    return [other && canary ? { ...active, canary: { ...other, weight: canary.weight } } : active];
  });
  const loaded: Configuration = {
    revision: stored.revision,
    chains: new Map(chains.map((chain) => [chain.name, chain])),
    routes: routePlans(stored.routes),
    upstreams: poolPlans(stored.upstreams),
    sources: new Map(stored.sources.map((source) => [source.name, source])),
    keys: new Map(stored.keys.flatMap((key) => hashesOf(key).map((hash) => [hash, key]))),
    connections: new Map(stored.connections.map((connection) => [connectionPath(connection), connection])),
    switches: new Map(stored.switches.map(({ connector, disabled }) => [connector, disabled])),
    purges: new Map(stored.purges.map((purge) => [purge.scope, purge.revision])),
  };
  checkedAt = startedAt;
  confirmedAt = Math.max(confirmedAt, startedAt);
  // A slower reload must not put back what a faster one has replaced.
  if (current === undefined || current.revision < loaded.revision) current = loaded;
  return current;
}

const hashesOf = ({ hash, previousHash }: KeyRow): readonly string[] =>
  previousHash === null ? [hash] : [hash, previousHash];

function compiled({ name, version, document }: Pick<ChainVersion, 'name' | 'version' | 'document'>) {
  const plan = planOf(name, version, document);
  if (plan.ok) return { name, version, plan: plan.value };
  console.error(`chain ${name} version ${version} cannot be compiled`, plan.fault.issues);
  return undefined;
}

/** Keeps plans as long as their documents stay as they are: what hangs on a plan outlives changes of others. */
function planCache<Plan>(kind: string, compile: (document: unknown) => Result<Plan>) {
  let known: ReadonlyMap<string, { readonly text: string; readonly plan: Plan }> = new Map();
  return (rows: readonly { readonly name: string; readonly document: unknown }[]): ReadonlyMap<string, Plan> => {
    known = new Map(
      rows.flatMap(({ name, document }) => {
        const text = JSON.stringify(document);
        const before = known.get(name);
        if (before?.text === text) return [[name, before]];
        const made = compile(document);
        if (made.ok) return [[name, { text, plan: made.value }]];
        console.error(`${kind} ${name} cannot be compiled`, made.fault.issues);
        return [];
      }),
    );
    return new Map([...known].map(([name, { plan }]) => [name, plan]));
  };
}

const routePlans = planCache('route', compileRoute);
const poolPlans = planCache('upstream', compilePool);

/** The version that a new run takes. Runs with the same key, such as a delivery that comes again, take the same. */
export function versionFor(chain: ActiveChain, key: string | undefined): ActiveVersion {
  const { canary } = chain;
  if (canary === undefined) return chain;
  const share = key === undefined ? Math.random() : shareOf(`${chain.name}:${key}`);
  return isCanary(share, canary.weight) ? canary : chain;
}

/** Reloads where D1 has a newer revision and the last look is older than `ageMilliseconds`. */
export async function checkConfiguration(env: Env, ageMilliseconds: number): Promise<Configuration> {
  const now = Date.now();
  if (current === undefined) return reloadConfiguration(env);
  if (now - checkedAt < ageMilliseconds) return current;
  checkedAt = now;
  if ((await loadRevision(env.DB)) > current.revision) return reloadConfiguration(env);
  confirmedAt = Math.max(confirmedAt, now);
  return current;
}

/**
 * Whether what is in memory may decide about a credential. In traffic it always may, since each look in the
 * background comes well before its time; after a quiet while somebody has to look first. While D1 does not
 * answer it may as well, but for one request now and then that tries.
 */
export const isConfirmed = (now: number): boolean =>
  now - confirmedAt < LIMITS.configurationConfirmedMilliseconds || now - gaveUpAt < LIMITS.configurationAgeMilliseconds;

/** Looks whether there is a newer configuration, and waits for the answer, though not for long. */
export async function confirmConfiguration(env: Env, ctx: Pick<ExecutionContext, 'waitUntil'>): Promise<Configuration> {
  const looking = checkConfiguration(env, 0).catch((thrown: unknown) => {
    console.error('configuration', thrown);
    return undefined;
  });
  // Also where it comes too late for this request, it comes for the next.
  ctx.waitUntil(looking);
  const found = await Promise.race([looking, scheduler.wait(LIMITS.configurationWaitMilliseconds)]);
  if (found === undefined) gaveUpAt = Date.now();
  return found ?? currentConfiguration(env);
}

/**
 * The configuration by which a step is let through to what can be switched off. In traffic it is there at once;
 * after a quiet while somebody looks first, so that a switch acts everywhere within five seconds.
 */
export const confirmedConfiguration = (env: Env): Configuration | Promise<Configuration> =>
  current !== undefined && isConfirmed(Date.now()) ? current : confirmConfiguration(env, { waitUntil });

/** Looks for a newer configuration after the response, when it is time to. */
export function checkInBackground(env: Env, ctx: Pick<ExecutionContext, 'waitUntil'>): void {
  if (Date.now() - checkedAt >= LIMITS.configurationAgeMilliseconds) {
    ctx.waitUntil(checkConfiguration(env, LIMITS.configurationAgeMilliseconds));
  }
}

/** Plans by chain and version, also of versions that are active no more but still have runs. */
const plans = new Map<string, Plan>();

function planOf(name: string, version: number, document: unknown): Result<Plan> {
  const key = `${name}@${version}`;
  const known = plans.get(key);
  if (known !== undefined) return { ok: true, value: known };
  const compiled = compileChain(document, catalogue);
  if (compiled.ok) {
    if (plans.size >= LIMITS.plansInMemory) plans.clear();
    plans.set(key, compiled.value);
  }
  return compiled;
}

/**
 * The plan of a version, from memory or D1.
 * @throws FaultError `chain.not-found` | `chain.invalid`
 */
export function loadPlan(env: Env, name: string, version: number): Plan | Promise<Plan> {
  return plans.get(`${name}@${version}`) ?? fetchPlan(env, name, version);
}

async function fetchPlan(env: Env, name: string, version: number): Promise<Plan> {
  const stored = await loadChainVersion(env.DB, name, version);
  if (stored === undefined) {
    throw new FaultError(fault('chain.not-found', `There is no version ${version} of the chain ${name}.`));
  }
  const plan = planOf(name, version, stored.document);
  if (!plan.ok) throw new FaultError(plan.fault);
  return plan.value;
}

let vault: { readonly keys: string | undefined; readonly vault: Result<Vault> } | undefined;

/** The vault of this isolate; a fault where the Worker has no usable master key. */
export function vaultOf(env: Env): Result<Vault> {
  const keys = env.TIDEGATE_MASTER_KEY;
  if (vault === undefined || vault.keys !== keys) vault = { keys, vault: createVault(keys, noteAccess(env)) };
  return vault.vault;
}
