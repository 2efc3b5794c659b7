/** Actions on containers. */

import { defineAction, type Connector } from '../kit/types.ts';
import { fail, ok } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import {
  createContainer,
  execute,
  readLogs,
  removeContainer,
  runContainer,
  startContainer,
} from '../../drivers/docker/containers.ts';
import { call, callJson } from '../../drivers/docker/engine.ts';
import { connection, engineOf } from './connection.ts';
import {
  containerParams,
  createParams,
  execParams,
  logsParams,
  pruneParams,
  runParams,
  stopParams,
} from './schemas.ts';

const CONTAINER = { container: 'shop' };

/** The same for each attempt of a step, so that one which was interrupted leaves nothing behind for good. */
async function nameOf(idempotencyKey: string): Promise<string> {
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(idempotencyKey));
  return `tidegate-${[...new Uint8Array(digest, 0, 12)].map((byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}

export const containerActions: Connector['actions'] = {
  run: defineAction(
    {
      title: 'Run a container to its end',
      effect: 'external',
      params: runParams,
      example: { image: 'busybox:1', command: ['echo', 'hello'], network: 'none', memoryMegabytes: 64 },
      async run({ timeoutSeconds, ...given }, context) {
        const spec = { ...given, name: await nameOf(context.idempotencyKey) };
        const { allow } = context.connection.settings;
        return runContainer(engineOf(context), context, spec, allow, timeoutSeconds * 1000);
      },
    },
    connection,
  ),
  create: defineAction(
    {
      title: 'Make a container',
      effect: 'external',
      params: createParams,
      example: { name: 'shop', image: 'ghcr.io/acme/shop:1.2' },
      async run(spec, context) {
        const made = await createContainer(engineOf(context), context, spec, context.connection.settings.allow);
        return made.ok ? ok({ id: made.value }) : made;
      },
    },
    connection,
  ),
  start: defineAction(
    {
      title: 'Start a container',
      effect: 'idempotent',
      params: containerParams,
      example: CONTAINER,
      async run({ container }, context) {
        const started = await startContainer(engineOf(context), context, container);
        return started.ok ? ok({ started: started.value.status !== 304 }) : started;
      },
    },
    connection,
  ),
  stop: defineAction(
    {
      title: 'Stop a container',
      effect: 'idempotent',
      params: stopParams,
      example: { ...CONTAINER, graceSeconds: 5 },
      async run({ container, graceSeconds }, context) {
        const path = `containers/${container}/stop`;
        const query = { t: String(graceSeconds) };
        const stopped = await call(engineOf(context), context, { method: 'POST', path, query });
        return stopped.ok ? ok({ stopped: stopped.value.status !== 304 }) : stopped;
      },
    },
    connection,
  ),
  remove: defineAction(
    {
      title: 'Remove a container',
      effect: 'idempotent',
      params: containerParams,
      example: CONTAINER,
      async run({ container }, context) {
        const removed = await removeContainer(engineOf(context), context, container);
        return removed.ok ? ok({ removed: removed.value }) : removed;
      },
    },
    connection,
  ),
  inspect: defineAction(
    {
      title: 'Look at the state of a container',
      effect: 'idempotent',
      params: containerParams,
      example: CONTAINER,
      async run({ container }, context) {
        const found = await callJson(engineOf(context), context, {
          method: 'GET',
          path: `containers/${container}/json`,
        });
        if (!found.ok) return found;
        if (!isObject(found.value)) return fail('upstream.invalid', 'Docker sent no container.');
        const { Id: id, Name: name, Image: image, Created: created, State: state } = found.value;
        const at = isObject(state) ? state : {};
        // Not its environment, which may hold what somebody else keeps secret.
        return ok({
          id,
          name: typeof name === 'string' ? name.replace(/^\//, '') : name,
          image,
          created,
          status: at['Status'],
          running: at['Running'],
          exitCode: at['ExitCode'],
          startedAt: at['StartedAt'],
          finishedAt: at['FinishedAt'],
          outOfMemory: at['OOMKilled'],
        });
      },
    },
    connection,
  ),
  logs: defineAction(
    {
      title: 'Read the end of what a container printed',
      effect: 'idempotent',
      params: logsParams,
      example: { ...CONTAINER, tail: 100 },
      run: ({ container, tail }, context) => readLogs(engineOf(context), context, container, tail),
    },
    connection,
  ),
  exec: defineAction(
    {
      title: 'Run a command in a container',
      effect: 'external',
      params: execParams,
      example: { ...CONTAINER, command: ['date'] },
      run: ({ container, command, ...options }, context) =>
        execute(engineOf(context), context, container, command, options),
    },
    connection,
  ),
  prune: defineAction(
    {
      title: 'Remove stopped containers that have a label',
      effect: 'idempotent',
      params: pruneParams,
      example: { label: 'tidegate.job=nightly' },
      async run({ label }, context) {
        const query = { filters: JSON.stringify({ label: [label] }) };
        const pruned = await callJson(engineOf(context), context, { method: 'POST', path: 'containers/prune', query });
        if (!pruned.ok) return pruned;
        const ids: unknown = isObject(pruned.value) ? pruned.value['ContainersDeleted'] : undefined;
        return ok({ removed: ids ?? [] });
      },
    },
    connection,
  ),
};
