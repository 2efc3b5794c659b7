/** Actions called as the executor calls them, against the real servers of the test run. */

import { connect } from 'cloudflare:sockets';
import { env } from 'cloudflare:workers';
import * as v from 'valibot';
import { expect, inject } from 'vitest';
import type { ActionContext, Connector, OpenConnection } from '../../../src/connectors/kit/types.ts';
import {
  connectOnlyTo,
  type GuardedConnect,
  type HyperdriveByName,
} from '../../../src/drivers/http/guarded-connect.ts';
import { compileTemplate } from '../../../src/core/expression/index.ts';
import { isObject } from '../../../src/core/json.ts';
import { ok, type ErrorCode, type Fault, type Result } from '../../../src/core/errors.ts';

declare global {
  namespace Cloudflare {
    interface Env {
      readonly DATA: D1Database;
      readonly OBJECTS: R2Bucket;
    }
  }
}

export const servers = inject('servers');

export interface Credentials {
  readonly settings: Record<string, unknown>;
  readonly secrets: Record<string, unknown>;
}

export interface CallOptions {
  readonly signal?: AbortSignal;
  readonly fetch?: typeof fetch;
  readonly connect?: GuardedConnect;
  readonly hyperdrive?: HyperdriveByName;
  readonly idempotencyKey?: string;
  readonly data?: D1Database;
  readonly sqlite?: ActionContext['sqlite'];
  readonly queues?: ActionContext['queues'];
  /** The end customer that the caller acts for. */
  readonly tenant?: string;
  readonly openStore?: ActionContext['openStore'];
  /** `with` as the author wrote it, where it is not what was evaluated. */
  readonly written?: unknown;
}

/** Actions of a connector by name, each with its parameters parsed first. */
export const actionsOf =
  (connector: Connector, credentials?: Credentials) =>
  async (action: string, params: unknown, options: CallOptions = {}): Promise<Result<unknown>> => {
    const found = connector.actions[action];
    if (found === undefined) throw new Error(`There is no action ${action}.`);
    const connection = openConnection(connector, credentials);
    const context: ActionContext = {
      fetch: options.fetch ?? fetch,
      connect: connectOnlyTo(
        options.connect ?? ((address, how) => ok(connect(address, how))),
        connection.sockets ?? [],
      ),
      hyperdrive: options.hyperdrive,
      connection,
      approvalLink: () => Promise.reject(new Error('no links here')),
      sendMessage: () => Promise.reject(new Error('no messages here')),
      idempotencyKey: options.idempotencyKey ?? 'run:step:0',
      signal: options.signal ?? new AbortController().signal,
      now: Date.now,
      input: {},
      written: options.written ?? params,
      template: (field) => templateIn(options.written ?? params, field),
      data: options.data ?? env.DATA,
      sqlite: options.sqlite,
      queues: options.queues,
      tenant: options.tenant,
      bucket: env.OBJECTS,
      openStore: options.openStore ?? (() => Promise.reject(new Error('no other stores here'))),
    };
    return found.run(v.parse(found.params, params), context);
  };

function templateIn(written: unknown, field: string): ReturnType<ActionContext['template']> {
  const value = isObject(written) ? written[field] : undefined;
  const template = value === undefined ? undefined : compileTemplate(value, field);
  if (template?.ok === false) throw new Error(template.fault.message);
  return template && ((roots) => template.value.evaluate(roots));
}

function openConnection(connector: Connector, credentials: Credentials | undefined): OpenConnection {
  if (connector.connection === undefined || credentials === undefined) {
    return { name: '', settings: undefined, secrets: undefined };
  }
  const facts = connector.connection;
  const settings = v.parse(facts.settings, credentials.settings);
  const secrets = v.parse(facts.secrets, credentials.secrets);
  return { name: 'test', settings, secrets, sockets: facts.sockets?.(settings, secrets) };
}

/** The output as a chain sees it: through JSON. */
export async function output(result: Promise<Result<unknown>>): Promise<unknown> {
  const settled = await result;
  if (!settled.ok) throw new Error(`Expected a success, not ${JSON.stringify(settled.fault)}`);
  const value: unknown = JSON.parse(JSON.stringify(settled.value));
  return value;
}

export async function faultOf(result: Promise<Result<unknown>>, code: ErrorCode): Promise<Fault> {
  const settled = await result;
  if (settled.ok) throw new Error(`Expected ${code}, not ${JSON.stringify(settled.value)}`);
  expect(settled.fault.code, settled.fault.message).toBe(code);
  return settled.fault;
}

/** Everything of a fault that may be shown or logged. */
export const written = (fault: Fault): string => `${JSON.stringify(fault)} ${String(fault.detail)}`;

/** Nothing listens there: the port is reserved and never given to anyone. */
export const DEAD_ADDRESS = 'http://127.0.0.1:1';
