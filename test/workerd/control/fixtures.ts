/** The management API over the real database and vault, with hand-made runs and connectors. */

import { createExecutionContext } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import * as v from 'valibot';
import { expect } from 'vitest';
import type { Connector } from '../../../src/connectors/kit/types.ts';
import { createControl, endpoints } from '../../../src/control/index.ts';
import type { ControlPorts } from '../../../src/control/ports.ts';
import { readTraffic } from '../../../src/store/traffic.ts';
import type { ActionFacts } from '../../../src/core/chain/catalogue.ts';
import { fail, ok } from '../../../src/core/errors.ts';
import type { RunRecord } from '../../../src/core/engine/record.ts';
import { judgeCanary } from '../../../src/core/policy/canary.ts';
import { countOutcomes, loadCanary } from '../../../src/store/canaries.ts';
import type { Trust } from '../../../src/runtime/address.ts';
import { oauthOf } from '../../../src/runtime/oauth/index.ts';
import { outboundOf } from '../../../src/runtime/outbound/index.ts';
import { subscriptionsOf } from '../../../src/runtime/subscriptions/index.ts';
import { listRuns, saveRuns } from '../../../src/store/runs.ts';
import { endpointSettings } from '../../../src/core/outbound/settings.ts';
import { addApplication, saveEventType } from '../../../src/store/outbound.ts';
import { saveEndpoint } from '../../../src/store/outbound-endpoints.ts';
import { createVault, endpointContext } from '../../../src/vault/vault.ts';

export const ADMIN_KEY = 'admin-key-of-the-tests';
export const ORIGIN = 'https://gateway.test';
export const NOW = Date.parse('2026-05-01T12:00:00Z');
export const db = env.DB;

export const vault = createVault(`1:${btoa('k'.repeat(32))}`);

const crm: Connector = {
  name: 'crm',
  title: 'CRM',
  actions: {
    lookup: { title: 'Look up', effect: 'idempotent', params: v.object({}), example: {}, run: () => ok(null) },
  },
  connection: {
    required: true,
    // Lets unknown fields pass, as a connector's author may; the API refuses them nevertheless.
    settings: v.object({ url: v.pipe(v.string(), v.url()), region: v.optional(v.string()) }),
    secrets: v.strictObject({ token: v.pipe(v.string(), v.startsWith('crm-')), refresh: v.optional(v.string()) }),
  },
};
const plain: Connector = { name: 'plain', title: 'Without connections', actions: {} };

const lookup: ActionFacts = {
  name: 'crm.lookup',
  effect: 'idempotent',
  params: { type: 'object', properties: { id: { type: 'string' } }, additionalProperties: false },
  connection: 'required',
};

/** Runs as the rest of the gateway would keep them: what is started is queued until it is cancelled. */
function memoryRuns(): Pick<ControlPorts, 'startRun' | 'getRun' | 'listRuns' | 'cancelRun'> {
  const runs = new Map<string, RunRecord>();
  const noRun = (id: string) => fail('run.not-found', `There is no run ${id}.`);
  return {
    async startRun(chain, input) {
      if (chain !== 'orders') return fail('chain.not-found', `There is no chain named ${chain}.`);
      const id = `run_0_${runs.size + 1}`;
      const run = runRecord(id, { input });
      runs.set(id, run);
      await saveRuns(db, [{ summary: run }]);
      return ok({ id });
    },
    async getRun(id) {
      const run = runs.get(id);
      return run === undefined ? noRun(id) : ok(run);
    },
    listRuns: (filter) => listRuns(db, filter),
    async cancelRun(id) {
      const run = runs.get(id);
      if (run === undefined) return noRun(id);
      if (run.status === 'cancelled') return fail('run.ended', 'The run has ended.');
      const cancelled = { ...run, status: 'cancelled' as const, endedAt: NOW + 1_000 };
      runs.set(id, cancelled);
      return ok(cancelled);
    },
  };
}

export const runRecord = (id: string, more?: Partial<RunRecord>): RunRecord => ({
  id,
  chain: 'orders',
  version: 1,
  trigger: 'manual',
  triggerType: 'manual',
  mode: 'durable',
  status: 'queued',
  createdAt: NOW,
  endedAt: undefined,
  error: undefined,
  input: {},
  output: undefined,
  steps: [],
  ...more,
});

export interface Called {
  readonly status: number;
  readonly headers: Headers;
  /** The parsed body, or undefined where there is none. */
  readonly body: Record<string, unknown> & { readonly items: readonly Record<string, unknown>[] };
  readonly text: string;
}

export interface TestControl {
  /** How often the configuration was said to have changed. */
  readonly changes: () => number;
  send(request: Request): Promise<Called>;
  /** With the admin key; `path` is relative to the API, and `body` is sent as JSON. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Called>;
}

/** A canary of which no run is known. */
async function storedCanary(chain: string): ReturnType<ControlPorts['canaryStatus']> {
  const canary = await loadCanary(db, chain);
  if (canary === undefined) return fail('canary.not-found', 'There is no canary.');
  return ok({ canary, judgement: judgeCanary(canary, await countOutcomes(db, canary, NOW)) });
}

export function testControl(overrides: Partial<ControlPorts> = {}, bindings: Trust = {}): TestControl {
  let changes = 0;
  const ports: ControlPorts = {
    db,
    vault,
    catalogue: {
      action: (name) => (name === lookup.name ? lookup : undefined),
      names: [lookup.name],
      subscription: () => undefined,
      subscriptionNames: [],
    },
    connectors: new Map([crm, plain].map((connector) => [connector.name, connector])),
    adminKey: ADMIN_KEY,
    signIn: {
      oidc: undefined,
      access: undefined,
      keys: {
        fetch: () => Promise.reject(new Error('nobody signs in here')),
        now: () => NOW,
        waitUntil: () => undefined,
      },
    },
    now: () => NOW,
    async configurationChanged() {
      changes++;
    },
    streamRun: (id) => Promise.resolve(fail('run.not-found', `There is no run ${id}.`)),
    pauseRun: (id) => Promise.resolve(fail('run.not-found', `There is no run ${id}.`)),
    retryRun: (id) => Promise.resolve(ok({ id: `${id}_again` })),
    replayRun: (id) => Promise.resolve(ok({ id: `${id}_again` })),
    canaryStatus: (chain) => storedCanary(chain),
    readTraffic: (filter) => readTraffic(db, filter),
    replayShadow: () => Promise.resolve(ok([])),
    sendEvent: () => Promise.resolve(0),
    custody: {
      rotationStatus: () => Promise.resolve(fail('vault.closed', 'There is no rotation here.')),
      startRotation: () => Promise.resolve(fail('vault.closed', 'There is no rotation here.')),
      probe: () => Promise.resolve(fail('connection.invalid', 'There is no probe here.')),
      quotaUsage: () => Promise.resolve(ok([])),
      flushAccesses: () => Promise.resolve(),
    },
    inbox: {
      list: () => Promise.resolve({ items: [], next: undefined }),
      read: (_source, id) => Promise.resolve(fail('event.not-found', `There is no event ${id}.`)),
      stream: () => Promise.resolve(fail('inbox.busy', 'Too many clients listen.')),
      replay: () => Promise.resolve(ok([])),
      recover: () => Promise.resolve({ looked: 0, items: [], next: undefined }),
    },
    oauth: oauthOf(env),
    outbound: outboundOf(env),
    subscriptions: subscriptionsOf(env),
    ...memoryRuns(),
    ...overrides,
  };
  const app = createControl(() => ports);

  async function send(request: Request): Promise<Called> {
    const response = await app.fetch(request, bindings, createExecutionContext());
    const text = await response.text();
    const body = text === '' ? undefined : JSON.parse(text);
    if (response.ok) expectDocumented(request, response.status, body);
    else if (text !== '') expectProblem(response, body);
    return { status: response.status, headers: response.headers, body, text };
  }

  return {
    changes: () => changes,
    send,
    call: (method, path, body, headers = {}) =>
      send(
        new Request(`${ORIGIN}/_/api/v1${path}`, {
          method,
          headers: {
            authorization: `Bearer ${ADMIN_KEY}`,
            ...(body === undefined ? {} : { 'content-type': 'application/json' }),
            ...headers,
          },
          ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
        }),
      ),
  };
}

/** Holds every reply of every test to what the OpenAPI document says of it. */
function expectDocumented(request: Request, status: number, body: unknown): void {
  if (request.method === 'HEAD' || request.method === 'OPTIONS') return;
  const { pathname } = new URL(request.url);
  const called = endpoints.find(
    (item) =>
      item.method === request.method && new RegExp(`^${item.path.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(pathname),
  );
  const facts = Object.entries(called?.replies ?? {}).find(([code]) => code === String(status))?.[1];
  if (facts === undefined) throw new Error(`${request.method} ${pathname} may not answer ${status}`);
  if (facts.schema === undefined) expect(body).toBeUndefined();
  else v.parse(facts.schema, body);
}

function expectProblem(response: Response, body: unknown): void {
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  expect(body).toMatchObject({ status: response.status, code: expect.any(String), detail: expect.any(String) });
}

export const chainDocument = (name: string, more: Record<string, unknown> = {}): Record<string, unknown> => ({
  name,
  triggers: { api: { type: 'http', method: 'POST', path: `/${name}/{id}` } },
  steps: {},
  output: { done: true },
  ...more,
});

export const codeOf = (called: Called): unknown => called.body['code'];

/** An application with that uid, whose one endpoint gets nothing, and an event type. */
export async function addCustomer(uid: string, endpoint: string, eventType: string): Promise<void> {
  const application = `app_${crypto.randomUUID().replaceAll('-', '')}`;
  const dates = { createdAt: NOW, updatedAt: NOW };
  await saveEventType(db, { name: eventType, description: '', schema: null, archivedAt: null }, 'test', NOW);
  await addApplication(db, { id: application, uid, name: uid, ...dates }, 'test');
  if (!vault.ok) throw new Error(vault.fault.message);
  const settings = v.parse(endpointSettings, { url: 'https://acme.example/', eventTypes: ['never.sent'] });
  const parts = { keys: [{ secret: `whsec_${btoa('k'.repeat(32))}` }], headers: {} };
  const sealed = await vault.value.seal(endpointContext(application, endpoint), parts);
  const row = { application, id: endpoint, settings, headerNames: [], sealed, disabled: null, ...dates };
  await saveEndpoint(db, row, 'endpoint.add', 'test', NOW);
}

/** Empties every table. */
export async function emptyDatabase(): Promise<void> {
  const tables =
    'chains chain_activations chain_canaries chain_versions chain_routes runs sources connections api_keys api_key_uses management_tokens people cache_purges configuration audit_log ' +
    'event_types applications webhook_endpoints connector_switches connection_health';
  await db.batch(tables.split(' ').map((table) => db.prepare(`delete from ${table}`)));
}
