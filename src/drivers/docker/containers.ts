/**
 * Containers: made, run to their end, and asked.
 *
 * Guarantee: a container gets what is written here and nothing else of the host: no privileges, devices, host
 * folders or host network, but for what the owner of the connection allows; and it cannot gain privileges by itself.
 */

import { fail, ok, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { LIMITS } from '../../core/limits.ts';
import type { Wire } from '../kit/exchange.ts';
import { call, callJson, callPart, statusOf, type Engine } from './engine.ts';
import { outputOf, type Output } from './output.ts';

/** What the owner of a connection opens. */
export interface Allowed {
  readonly privileged?: boolean | undefined;
  readonly hostFolders?: readonly string[] | undefined;
}

export interface ContainerSpec {
  readonly image: string;
  readonly name?: string | undefined;
  readonly command?: readonly string[] | undefined;
  readonly entrypoint?: readonly string[] | undefined;
  readonly environment?: Readonly<Record<string, string>> | undefined;
  readonly workingFolder?: string | undefined;
  readonly user?: string | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** `none`, `bridge`, or a network of the engine. */
  readonly network?: string | undefined;
  readonly mounts?: readonly Mount[] | undefined;
  readonly privileged?: boolean | undefined;
  readonly memoryMegabytes: number;
  readonly cpus: number;
  readonly processes: number;
}

export interface Mount {
  readonly volume?: string | undefined;
  readonly hostFolder?: string | undefined;
  readonly path: string;
  readonly readOnly?: boolean | undefined;
}

const MEGABYTE = 1024 * 1024;

/** What the engine is asked for. Fault `step.params` for what the owner of the connection has not allowed. */
export function createBody(spec: ContainerSpec, allowed: Allowed): Result<object> {
  if (spec.privileged === true && allowed.privileged !== true) {
    return fail('step.params', '`privileged`: The connection does not allow it (`allow.privileged`).');
  }
  const mounts: object[] = [];
  for (const { volume, hostFolder, path, readOnly } of spec.mounts ?? []) {
    if ((volume === undefined) === (hostFolder === undefined)) {
      return fail('step.params', `mounts: Give \`volume\` or \`hostFolder\` for ${path}.`);
    }
    if (hostFolder !== undefined && allowed.hostFolders?.includes(hostFolder) !== true) {
      return fail('step.params', `mounts: The connection does not allow ${hostFolder} (\`allow.hostFolders\`).`);
    }
    const from = volume === undefined ? { Type: 'bind', Source: hostFolder } : { Type: 'volume', Source: volume };
    mounts.push({ ...from, Target: path, ReadOnly: readOnly === true });
  }
  const environment = Object.entries(spec.environment ?? {}).map(([name, value]) => `${name}=${value}`);
  return ok({
    Image: spec.image,
    Cmd: spec.command,
    Entrypoint: spec.entrypoint,
    Env: environment,
    WorkingDir: spec.workingFolder,
    User: spec.user,
    Labels: spec.labels,
    HostConfig: {
      Privileged: spec.privileged === true,
      SecurityOpt: ['no-new-privileges'],
      NetworkMode: spec.network,
      Mounts: mounts,
      Memory: spec.memoryMegabytes * MEGABYTE,
      NanoCpus: Math.round(spec.cpus * 1e9),
      PidsLimit: spec.processes,
    },
  });
}

/** The id of the container, which does not run yet. */
export async function createContainer(
  engine: Engine,
  wire: Wire,
  spec: ContainerSpec,
  allowed: Allowed,
): Promise<Result<string>> {
  const json = createBody(spec, allowed);
  if (!json.ok) return json;
  const query = { name: spec.name };
  const made = await callJson(engine, wire, { method: 'POST', path: 'containers/create', query, json: json.value });
  if (!made.ok) return made;
  const id = isObject(made.value) ? made.value['Id'] : undefined;
  return typeof id === 'string' ? ok(id) : fail('upstream.invalid', 'Docker made a container without an id.');
}

export const startContainer = (engine: Engine, wire: Wire, container: string) =>
  call(engine, wire, { method: 'POST', path: `containers/${container}/start` });

/** With its anonymous volumes, whether it runs or not. False where there is none. */
export async function removeContainer(engine: Engine, wire: Wire, container: string): Promise<Result<boolean>> {
  const query = { force: 'true', v: 'true' };
  const removed = await call(engine, wire, { method: 'DELETE', path: `containers/${container}`, query });
  if (removed.ok) return ok(true);
  return statusOf(removed.fault) === 404 ? ok(false) : removed;
}

/** @param tail the last lines; undefined: all, up to the bound */
export async function readLogs(
  engine: Engine,
  wire: Wire,
  container: string,
  tail: number | undefined,
): Promise<Result<Output>> {
  const query = { stdout: 'true', stderr: 'true', tail: tail === undefined ? 'all' : String(tail) };
  const logs = await callPart(engine, wire, { method: 'GET', path: `containers/${container}/logs`, query });
  return logs.ok ? ok(outputOf(logs.value)) : logs;
}

export interface Ran extends Output {
  readonly exitCode: number;
}

/**
 * Makes a container, runs it to its end and removes it, whatever happens.
 *
 * @param name of the container: one that an attempt before has left under it is removed first
 * Fault `upstream.timeout`, not to be repeated, where it ran for too long; what it printed is its data.
 */
export async function runContainer(
  engine: Engine,
  wire: Wire,
  spec: ContainerSpec & { readonly name: string },
  allowed: Allowed,
  timeoutMilliseconds: number,
): Promise<Result<Ran>> {
  let made = await createContainer(engine, wire, spec, allowed);
  if (!made.ok && isTaken(made.fault)) {
    const gone = await removeContainer(engine, wire, spec.name);
    if (!gone.ok) return gone;
    made = await createContainer(engine, wire, spec, allowed);
  }
  if (!made.ok) return made;
  try {
    return await runToEnd(engine, wire, made.value, timeoutMilliseconds);
  } finally {
    // Also where the attempt has run out of time; then its signal is of no use.
    const signal = AbortSignal.timeout(LIMITS.dockerCleanUpMilliseconds);
    await removeContainer(engine, { ...wire, signal }, made.value);
  }
}

/** Docker says 409; Podman 4 says 500, and the same in words. */
const isTaken = (fault: Parameters<typeof statusOf>[0]): boolean =>
  statusOf(fault) === 409 || /name .* is already in use/.test(fault.message);

async function runToEnd(
  engine: Engine,
  wire: Wire,
  container: string,
  timeoutMilliseconds: number,
): Promise<Result<Ran>> {
  const started = await startContainer(engine, wire, container);
  if (!started.ok) return started;
  const timeout = AbortSignal.timeout(timeoutMilliseconds);
  const signal = wire.signal === undefined ? timeout : AbortSignal.any([wire.signal, timeout]);
  const waiting = { ...wire, signal };
  const ended = await callJson(engine, waiting, { method: 'POST', path: `containers/${container}/wait` });
  const isLate = timeout.aborted && wire.signal?.aborted !== true;
  if (!ended.ok && !isLate) return ended;
  const output = await readLogs(engine, wire, container, undefined);
  if (!output.ok) return output;
  if (!ended.ok) {
    const message = `The container ran for more than ${timeoutMilliseconds / 1000} s and was removed.`;
    return fail('upstream.timeout', message, { retryable: false, data: output.value });
  }
  const exitCode = isObject(ended.value) ? ended.value['StatusCode'] : undefined;
  if (typeof exitCode !== 'number') return fail('upstream.invalid', 'Docker did not say how the container ended.');
  return ok({ exitCode, ...output.value });
}

/** Runs a command in a container that runs. */
export async function execute(
  engine: Engine,
  wire: Wire,
  container: string,
  command: readonly string[],
  options: { readonly workingFolder?: string | undefined; readonly user?: string | undefined },
): Promise<Result<Ran>> {
  const json = {
    AttachStdout: true,
    AttachStderr: true,
    Cmd: command,
    WorkingDir: options.workingFolder,
    User: options.user,
  };
  const made = await callJson(engine, wire, { method: 'POST', path: `containers/${container}/exec`, json });
  if (!made.ok) return made;
  const id = isObject(made.value) ? made.value['Id'] : undefined;
  if (typeof id !== 'string') return fail('upstream.invalid', 'Docker made a command without an id.');
  const start = { Detach: false, Tty: false };
  const printed = await callPart(engine, wire, { method: 'POST', path: `exec/${id}/start`, json: start });
  if (!printed.ok) return printed;
  const output = outputOf(printed.value);
  const ended = await callJson(engine, wire, { method: 'GET', path: `exec/${id}/json` });
  if (!ended.ok) return ended;
  const facts = isObject(ended.value) ? ended.value : {};
  const exitCode = facts['ExitCode'];
  if (facts['Running'] === true || typeof exitCode !== 'number') {
    const message = 'The command printed more than is read of it, and goes on; send its output to a file.';
    return fail('upstream.too-large', message, { data: output });
  }
  return ok({ exitCode, ...output });
}
