/**
 * Health of connections: a cheap call of their connector, when somebody asks and on a schedule; and warnings of
 * those that expire.
 *
 * Guarantee: a probe takes at most `probeTimeoutMilliseconds`, there are at most `probesPerMinute` on the schedule,
 * and what is kept of one holds no credential and nothing that the other side sent.
 * Accepted weakness: a probe is traffic with the credentials of the connection, and may count against its quota.
 */

import { safeParse } from 'valibot';
import { connectorsByName } from './catalogue.ts';
import { hostOf, openRow } from './host.ts';
import type { ActionContext, OpenConnection } from '../connectors/kit/types.ts';
import { connectionPath } from '../core/chain/connection.ts';
import { fail, fault, faultOf, ok, type Fault, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import type { Reader } from '../core/seal.ts';
import { connectOnlyTo } from '../drivers/http/guarded-connect.ts';
import type { Env } from '../env.ts';
import { listDue, listExpiring, saveHealth, saveWarning, type HealthRow } from '../store/connection-health.ts';
import { listSwitches, type ConnectionRow } from '../store/connections.ts';
import { recordAction } from '../store/audit.ts';

const DAY_MILLISECONDS = 24 * 3_600_000;

/**
 * Fault `connection.disabled`, or `connection.invalid` where the connector has no probe. That the connection itself
 * is not well is no fault, but what the row says.
 */
export async function probeConnection(env: Env, row: ConnectionRow, reader: Reader): Promise<Result<HealthRow>> {
  const { tenant, name, connector } = row;
  const off = row.disabled ?? (await listSwitches(env.DB)).find((each) => each.connector === connector)?.disabled;
  if (off !== undefined) {
    return fail('connection.disabled', `The connection ${connectionPath(row)} is switched off: ${off.reason}`);
  }
  if (connectorsByName.get(connector)?.connection?.probe === undefined) {
    return fail('connection.invalid', `The connector ${connector} has no probe.`);
  }
  const at = Date.now();
  const opened = await openRow(env, row, reader);
  const wrong = opened.ok ? await call(env, connector, opened.value) : opened.fault;
  const milliseconds = Date.now() - at;
  const shown = wrong === undefined ? null : { code: wrong.code, message: wrong.message };
  return ok(await saveHealth(env.DB, { tenant, name, at, milliseconds, fault: shown }));
}

/** Undefined where all is well. */
async function call(env: Env, name: string, connection: OpenConnection): Promise<Fault | undefined> {
  const connector = connectorsByName.get(name);
  const probe = connector?.connection?.probe?.(connection.settings);
  if (probe === undefined) return fault('connection.invalid', 'Its settings leave nothing that could be probed.');
  const action = connector?.actions[probe.action];
  const params = action && safeParse(action.params, probe.params);
  if (params?.success !== true) throw new Error(`the probe of ${name} calls no action of its connector`);
  const signal = AbortSignal.timeout(LIMITS.probeTimeoutMilliseconds);
  try {
    const result = await Promise.race([
      action?.run(params.output, contextOf(env, connection, signal)),
      scheduler.wait(LIMITS.probeTimeoutMilliseconds).then(tooLate),
    ]);
    return result?.ok === false ? result.fault : undefined;
  } catch (thrown) {
    return faultOf(thrown);
  }
}

const tooLate = () => fail('upstream.timeout', `No answer within ${LIMITS.probeTimeoutMilliseconds / 1000} s.`);

function contextOf(env: Env, connection: OpenConnection, signal: AbortSignal): ActionContext {
  const host = hostOf(env);
  const none = (what: string) => () => Promise.resolve(fail('step.params', `A probe ${what}.`));
  return {
    fetch: (input, init) => host.fetch(input, init, { hops: undefined, origins: connection.origins }),
    connect: connectOnlyTo(host.connect, connection.sockets ?? []),
    connection,
    idempotencyKey: `probe:${crypto.randomUUID()}`,
    signal,
    now: host.now,
    input: null,
    written: null,
    template: () => undefined,
    data: host.data,
    bucket: host.bucket,
    hyperdrive: host.hyperdrive,
    openStore: none('opens no other store'),
    approvalLink: none('approves nothing'),
    sendMessage: none('sends no message'),
  };
}

/** The probes that are due. Never rejects for one that could not be made. */
export async function probeDue(env: Env): Promise<void> {
  const due = await listDue(env.DB, Date.now(), LIMITS.probesPerMinute);
  const reader = { kind: 'gateway', actor: 'probe' } as const;
  const worker = async (): Promise<void> => {
    for (let row = due.shift(); row !== undefined; row = due.shift()) {
      const path = connectionPath(row);
      const probed = await probeConnection(env, row, reader).catch((thrown: unknown) => {
        console.error(`the connection ${path} could not be probed`, faultOf(thrown).code);
        return undefined;
      });
      if (probed?.ok !== true) continue;
      const { fault: wrong, since, at } = probed.value;
      if (since === at && wrong !== null) console.warn(`the connection ${path} is not well: ${wrong.message}`);
    }
  };
  await Promise.all(Array.from({ length: LIMITS.probesAtOnce }, worker));
}

/** Tells the operator, once for each of `expiryWarningDays`, in the log and in the audit log. */
export async function warnOfExpiry(env: Env): Promise<void> {
  const now = Date.now();
  const [longest] = LIMITS.expiryWarningDays;
  for (const { tenant, name, expiresAt, warned } of await listExpiring(env.DB, now + longest * DAY_MILLISECONDS)) {
    const days = LIMITS.expiryWarningDays.findLast((each) => expiresAt - now <= each * DAY_MILLISECONDS) ?? longest;
    if (warned !== null && warned <= days) continue;
    const path = connectionPath({ tenant, name });
    const instant = new Date(expiresAt).toISOString();
    console.warn(`the connection ${path} ${expiresAt <= now ? 'has expired' : 'expires'}: ${instant}`);
    const detail = { tenant, expiresAt: instant };
    await recordAction(env.DB, { at: now, actor: 'gateway', action: 'connection.expires', subject: name, detail });
    await saveWarning(env.DB, { tenant, name, expiresAt, days });
  }
}
