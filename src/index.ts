/** The composition root: what the Worker answers, and what it is made of. */

import { createControl } from './control/index.ts';
import type { ControlPorts } from './control/ports.ts';
import { signInRulesOf } from './control/principal.ts';
import { problemResponse } from './core/errors.ts';
import { LIMITS } from './core/limits.ts';
import { HOPS_HEADER, hopsOf, loopFault } from './core/policy/hops.ts';
import type { Env } from './env.ts';
import { handleApproval } from './gateway/approvals.ts';
import { handleConnect, isConnectPath } from './gateway/connect/index.ts';
import { pathOf } from './gateway/event.ts';
import { handleRequest } from './gateway/front.ts';
import { handleHook } from './gateway/hooks.ts';
import { handlePayload } from './gateway/payloads.ts';
import { handlePortal } from './gateway/portal/index.ts';
import { flushAccesses } from './runtime/access-log.ts';
import { canaryStatus, judgeCanaries } from './runtime/canary.ts';
import { catalogue, connectorsByName } from './runtime/catalogue.ts';
import { listEvents, readEvent, streamEvents, sweepInboxes } from './runtime/inbox.ts';
import { recoverEvents, replayEvent } from './runtime/inbox-replay.ts';
import { reloadConfiguration, vaultOf, type Configuration } from './runtime/configuration.ts';
import { oauthOf } from './runtime/oauth/index.ts';
import { outboundOf } from './runtime/outbound/index.ts';
import {
  cancelRun,
  pauseRun,
  readRun,
  replayRun,
  retryRun,
  saveSummaries,
  sendEvent,
  startRun,
  streamRun,
  sweepRuns,
} from './runtime/runs.ts';
import { watchPools } from './runtime/health.ts';
import { hostOf } from './runtime/host.ts';
import { retentionMilliseconds } from './runtime/retention.ts';
import { probeConnection, probeDue, warnOfExpiry } from './runtime/probes.ts';
import { continueRotation, rotationStatus, startRotation } from './runtime/rotation.ts';
import { replayShadow } from './runtime/shadow.ts';
import type { ScheduleEntry } from './runtime/scheduler.ts';
import { consumeOwnerQueue } from './runtime/owner-queues.ts';
import { subscriptionsOf, watchSubscriptions } from './runtime/subscriptions/index.ts';
import { consumeDeadSteps, consumeSteps, type StepsWorker } from './runtime/steps-consumer.ts';
import { readQuota } from './runtime/connection-quota.ts';
import { pruneWarnings } from './store/connection-health.ts';
import { pruneAccesses, pruneUses } from './store/accesses.ts';
import { listRuns, pruneRuns } from './store/runs.ts';
import { foldTraffic, readTraffic } from './store/traffic.ts';
import { consumeTraffic, flushTraffic } from './telemetry/traffic.ts';

export { InboxObject } from './runtime/inbox-object.ts';
export { HealthObject } from './runtime/health-object.ts';
export { EndpointObject } from './runtime/outbound/endpoint-object.ts';
export { MessagesObject } from './runtime/outbound/messages-object.ts';
export { LimiterObject } from './runtime/limiter-object.ts';
export { IdempotencyObject } from './runtime/idempotency-object.ts';
export { ReplayObject } from './runtime/replay.ts';
export { RunObject } from './runtime/run-object.ts';
export { SchedulerObject } from './runtime/scheduler.ts';
export { SqliteObject } from './runtime/sqlite-object.ts';
export { SubscriptionObject } from './runtime/subscriptions/subscription-object.ts';
export { TokenObject } from './runtime/oauth/token-object.ts';
export { StepsWorker } from './runtime/steps-consumer.ts';

const control = createControl(portsOf);

/** What this module exports, as other invocations of it. */
interface Loopback {
  readonly StepsWorker: Service<StepsWorker>;
}

export default {
  fetch(request, env, ctx): Response | Promise<Response> {
    const { method, url, headers } = request;
    const path = pathOf(url);
    const passed = headers.get(HOPS_HEADER);
    const loop = loopFault(passed);
    if (loop !== undefined) return problemResponse(loop);
    if (path.startsWith('/_/approvals/')) return handleApproval(request, env, path);
    if (isConnectPath(path)) return handleConnect(request, env, path);
    if (path.startsWith('/_/docs/')) return handlePortal(request, env, path);
    if (path.startsWith('/_/payloads/')) return handlePayload(request, env, path);
    if (path.startsWith('/_/') || path === '/_') return control.fetch(request, env, ctx);
    if (path.startsWith('/hooks/')) return handleHook(request, env, path, ctx);
    return handleRequest({ request, method, url, path, headers, hops: hopsOf(passed) }, env, ctx);
  },

  /** Each minute, and when the gateway starts on one machine. */
  async scheduled(_event, env): Promise<void> {
    const configuration = await reloadConfiguration(env);
    await applyConfiguration(env, configuration);
    const prunedBefore = Date.now() - retentionMilliseconds(env);
    await Promise.all([
      sweepRuns(env),
      sweepInboxes(env, configuration.sources.keys()),
      schedulerOf(env).sweep(),
      judgeCanaries(env, configuration),
      pruneRuns(env.DB, prunedBefore),
      foldTraffic(env.DB, Date.now()),
      continueRotation(env),
      probeDue(env),
      warnOfExpiry(env),
      pruneAccesses(env.DB, Date.now() - LIMITS.accessLogMilliseconds),
      pruneUses(env.DB, Date.now() - LIMITS.connectionUsesMilliseconds),
      pruneWarnings(env.DB, Date.now() - LIMITS.accessLogMilliseconds),
    ]);
  },

  async queue(batch, env, ctx): Promise<void> {
    if (batch.queue.startsWith('tidegate-telemetry')) return consumeTraffic(batch, env);
    if (!batch.queue.startsWith('tidegate-steps')) return consumeOwnerQueue(batch, env);
    if (batch.queue.endsWith('-dead')) return consumeDeadSteps(batch, env);
    const { StepsWorker: worker } = ctx.exports as unknown as Loopback;
    return consumeSteps(batch, (message, attempt) => worker.work(message, attempt));
  },
} satisfies ExportedHandler<Env>;

const schedulerOf = (env: Env) => env.SCHEDULER.getByName('scheduler');

function portsOf(env: Env, ctx: Pick<ExecutionContext, 'waitUntil'>): ControlPorts {
  return {
    db: env.DB,
    vault: vaultOf(env),
    catalogue,
    connectors: connectorsByName,
    adminKey: env.TIDEGATE_ADMIN_KEY,
    signIn: {
      ...signInRulesOf(env),
      keys: { fetch: hostOf(env).fetch, now: Date.now, waitUntil: (work) => ctx.waitUntil(work) },
    },
    now: Date.now,
    configurationChanged: async () => applyConfiguration(env, await reloadConfiguration(env)),
    startRun: (chain, input, hops) => startRun(env, chain, input, hops),
    getRun: (id) => readRun(env, id),
    streamRun: (id, request) => streamRun(env, id, request),
    listRuns: async (filter) => {
      await saveSummaries(env);
      return listRuns(env.DB, filter);
    },
    readTraffic: async (filter) => {
      await flushTraffic(env);
      return readTraffic(env.DB, filter);
    },
    cancelRun: (id) => cancelRun(env, id),
    pauseRun: (id, paused) => pauseRun(env, id, paused),
    retryRun: (id, version) => retryRun(env, id, version),
    replayRun: (id, input) => replayRun(env, id, input),
    canaryStatus: (chain) => canaryStatus(env, chain),
    replayShadow: (request) => replayShadow(env, request),
    custody: {
      rotationStatus: () => rotationStatus(env),
      startRotation: (actor) => startRotation(env, actor),
      probe: (connection, actor) => probeConnection(env, connection, { kind: 'management', actor }),
      quotaUsage: (connection) => readQuota(env, connection),
      flushAccesses: () => flushAccesses(env),
    },
    inbox: {
      list: (source, filter) => listEvents(env, source, filter),
      read: (source, id) => readEvent(env, source, id),
      stream: (source, after) => streamEvents(env, source, after),
      replay: (source, request) => replayEvent(env, source, request),
      recover: (source, request) => recoverEvents(env, source, request),
    },
    sendEvent: (name, key, data) => sendEvent(env, name, key, data),
    oauth: oauthOf(env),
    subscriptions: subscriptionsOf(env),
    outbound: outboundOf(env),
  };
}

/** Tells the objects that work by themselves what they are to do. */
async function applyConfiguration(env: Env, configuration: Configuration): Promise<void> {
  await Promise.all([
    scheduleAll(env, configuration),
    watchPools(env, configuration),
    watchSubscriptions(env, configuration),
  ]);
}

function scheduleAll(env: Env, configuration: Configuration): Promise<void> {
  const entries = [...configuration.chains.values()].flatMap(({ name, version, plan }) =>
    plan.triggers.flatMap((trigger): ScheduleEntry[] => {
      if (trigger.type !== 'schedule') return [];
      const { cron, timezone, missed } = trigger;
      return [{ chain: name, version, trigger: trigger.name, cron, timezone, missed }];
    }),
  );
  return schedulerOf(env).reconcile(entries);
}
