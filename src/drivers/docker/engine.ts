/**
 * The HTTP API of Docker's Engine, and of Podman, which serves the same.
 *
 * Guarantee: no path is made of what could leave it: names are held to the grammar of the engine by whoever calls,
 * and escaped here.
 */

import { readUpTo, type Part } from './output.ts';
import { fail, FaultError, ok, type Fault, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { interrupted } from '../http/request.ts';
import { exchange, jsonOf, refusal, textOf, type Incoming, type Wire } from '../kit/exchange.ts';

export interface Engine {
  /** E.g. `https://docker.example.com`, without the version of the API: the engine takes its newest. */
  readonly url: string;
  readonly authorization?: string | undefined;
}

export interface EngineRequest {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Segments after the address; an image has several. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly json?: unknown;
  readonly tar?: Uint8Array;
}

function outgoingOf(engine: Engine, { method, path, query = {}, json, tar }: EngineRequest) {
  const given = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
  const search = given.length === 0 ? '' : `?${new URLSearchParams(given)}`;
  const escaped = path.split('/').map(encodeURIComponent).join('/');
  const headers: Record<string, string> =
    engine.authorization === undefined ? {} : { authorization: engine.authorization };
  const url = `${engine.url.replace(/\/+$/, '')}/${escaped}${search}`;
  if (tar !== undefined)
    return { url, method, headers: { ...headers, 'content-type': 'application/x-tar' }, body: tar };
  if (json === undefined) return { url, method, headers };
  return { url, method, headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(json) };
}

/** 304 is how the engine says that it is so already. */
const isDone = (status: number): boolean => (status >= 200 && status < 300) || status === 304;

function engineFault(reply: Incoming, now: number): Fault {
  const body = jsonOf('Docker', textOf(reply.bytes));
  const message = body.ok && isObject(body.value) ? body.value['message'] : undefined;
  const said = typeof message === 'string' ? message.slice(0, 500).replace(/\.$/, '') : undefined;
  return refusal('Docker', reply, now, said, { message: said });
}

/** The status of what a fault was made of. */
export const statusOf = ({ data }: Fault): unknown => (isObject(data) ? data['status'] : undefined);

/** Any success. Faults: those of `exchange`, and of `refusal` with the engine's own message. */
export async function call(engine: Engine, wire: Wire, request: EngineRequest): Promise<Result<Incoming>> {
  const reply = await exchange(wire, outgoingOf(engine, request));
  if (!reply.ok || isDone(reply.value.status)) return reply;
  return { ok: false, fault: engineFault(reply.value, wire.now()) };
}

/** As {@link call}, with the body as JSON. */
export async function callJson(engine: Engine, wire: Wire, request: EngineRequest): Promise<Result<unknown>> {
  const reply = await call(engine, wire, request);
  if (!reply.ok) return reply;
  return reply.value.bytes.byteLength === 0 ? ok({}) : jsonOf('Docker', textOf(reply.value.bytes));
}

/**
 * A reply that is a line of JSON for each thing that happens. It begins before the work is done, with status 200,
 * so a failure is a line of it; it becomes a fault.
 */
export async function callLines(engine: Engine, wire: Wire, request: EngineRequest): Promise<Result<unknown[]>> {
  const reply = await call(engine, wire, request);
  if (!reply.ok) return reply;
  const lines: unknown[] = [];
  for (const text of textOf(reply.value.bytes).split('\n')) {
    if (text.trim() === '') continue;
    const line = jsonOf('Docker', text);
    if (!line.ok) return line;
    lines.push(line.value);
  }
  const failed = lines.filter(isObject).find((line) => typeof line['error'] === 'string');
  if (failed === undefined) return ok(lines);
  const said = String(failed['error']).slice(0, 500).trim();
  return fail('upstream.rejected', `Docker could not do it: ${said.replace(/\.$/, '')}.`, {
    data: { error: said, log: logOf(lines) },
  });
}

/** What a build printed. */
export const logOf = (lines: readonly unknown[]): string =>
  lines
    .filter(isObject)
    .map((line) => (typeof line['stream'] === 'string' ? line['stream'] : ''))
    .join('');

/** The beginning of a reply that may go on for as long as it likes; what is beyond the bound is not waited for. */
export async function callPart(engine: Engine, wire: Wire, request: EngineRequest): Promise<Result<Part>> {
  const { url, ...init } = outgoingOf(engine, request);
  // By its bare name: as a member, it would be called on what it is a member of.
  const { fetch, signal } = wire;
  try {
    const response = await fetch(url, { ...init, redirect: 'manual', ...(signal !== undefined && { signal }) });
    const part = await readUpTo(response.body);
    const { status, headers } = response;
    if (isDone(status)) return ok(part);
    return { ok: false, fault: engineFault({ status, headers, bytes: part.bytes }, wire.now()) };
  } catch (thrown) {
    if (thrown instanceof FaultError) return { ok: false, fault: thrown.fault };
    return interrupted(thrown, signal, 'Docker');
  }
}
