/**
 * Webhooks in: raw bytes → verify → durable write → 2xx.
 *
 * Guarantee: nothing unverified starts a run; a 2xx is sent only after every run is on disk; a delivery
 * that comes again, also at the same moment, starts no second run.
 */

import { array, parse, string } from 'valibot';
import { readBytes } from './body.ts';
import { answerHandshake, methodRefused, publicPartsOf, publicUrl, replyResponse } from './handshakes.ts';
import { tablesOf, type HookTarget } from './tables.ts';
import type { TriggerEvent } from '../core/engine/state.ts';
import { fail, fault, faultOf, ok, problemResponse, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import {
  acceptedReply,
  deliversBy,
  handshake,
  methodsOf,
  prepareSource,
  verify,
  type PreparedSource,
  type WebhookRequest,
} from '../core/webhook/index.ts';
import type { Env } from '../env.ts';
import { acceptRuns } from '../runtime/accept.ts';
import {
  checkConfiguration,
  currentConfiguration,
  vaultOf,
  versionFor,
  type Configuration,
} from '../runtime/configuration.ts';
import { hostOf } from '../runtime/host.ts';
import type { SourceRow } from '../store/configuration.ts';
import { sourceContext } from '../vault/vault.ts';

const NAME = /^\/hooks\/([a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?)\/?$/;

export async function handleHook(request: Request, env: Env, path: string): Promise<Response> {
  try {
    const name = NAME.exec(path)?.[1];
    if (name === undefined) return problemResponse(fault('source.not-found', 'Webhooks go to /hooks/<source>.'));
    const result = await receive(request, env, name);
    if (!result.ok) return problemResponse(result.fault);
    return result.value instanceof Response ? result.value : Response.json(result.value);
  } catch (thrown) {
    const reason = faultOf(thrown);
    console.error('webhook failed', reason.code, reason.detail ?? reason.message);
    return problemResponse(
      reason.code === 'internal.unexpected' ? fault('storage.unavailable', 'Send it again.') : reason,
    );
  }
}

/** What a sender is told: how many runs the delivery started, or that it had started them before. */
interface Received {
  readonly accepted: true;
  readonly duplicate: boolean;
  readonly runs: readonly string[];
}

async function receive(request: Request, env: Env, name: string): Promise<Result<Received | Response>> {
  const configuration = await withSource(env, name);
  const row = configuration.sources.get(name);
  if (row === undefined) return fail('source.not-found', `There is no webhook source named ${name}.`);
  const source = await prepared(env, row);
  // Without a usable secret nothing can be verified, so nothing is accepted.
  if (!source.ok)
    return fail('webhook.unverified', `The source ${name} has no usable secret.`, { detail: source.fault });
  const { scheme } = source.value;
  const methods = methodsOf(scheme);
  if (!methods.includes(request.method)) return ok(methodRefused(`/hooks/${name}`, methods));
  const body = await readBytes(request, LIMITS.webhookBodyBytes);
  if (!body.ok) return body;
  const receivedAt = Date.now();
  const given: WebhookRequest = {
    method: request.method,
    url: publicUrl(request, env),
    headers: request.headers,
    body: body.value,
    nowMilliseconds: receivedAt,
    fetch: hostOf(env).fetch,
  };
  const shaken = await handshake(source.value, given);
  if (!shaken.ok) return shaken;
  if (shaken.value !== undefined) return answerHandshake(env, row, shaken.value);
  if (!deliversBy(scheme, request.method)) return ok(methodRefused(`/hooks/${name}`, methods));
  const verified = await verify(source.value, given);
  if (!verified.ok) return verified;
  const { deliveryId, eventType } = verified.value;
  const targets = (tablesOf(configuration).hooks.get(name) ?? []).filter((target) => wants(target, eventType));
  const reply = acceptedReply(scheme);
  if (targets.length === 0) {
    return ok(reply === undefined ? { accepted: true, duplicate: false, runs: [] } : replyResponse(reply));
  }
  const dedupeKey = `${name}:${deliveryId}`;
  const event = hookEvent(request, source.value, body.value, verified.value.json, receivedAt);
  const accepted = await acceptRuns(
    env,
    dedupeKey,
    targets.map(({ chain, trigger }) => ({
      chain: chain.name,
      version: versionFor(chain, dedupeKey).version,
      trigger: trigger.name,
      event,
      dedupeKey,
    })),
  );
  if (reply !== undefined) return ok(replyResponse(reply));
  return ok({ accepted: true, duplicate: accepted.every((run) => run.duplicate), runs: accepted.map((run) => run.id) });
}

const wants = ({ trigger }: HookTarget, eventType: string | undefined): boolean =>
  trigger.events === undefined || (eventType !== undefined && trigger.events.includes(eventType));

async function withSource(env: Env, name: string): Promise<Configuration> {
  const configuration = await currentConfiguration(env);
  return configuration.sources.has(name)
    ? checkConfiguration(env, LIMITS.configurationAgeMilliseconds)
    : checkConfiguration(env, LIMITS.configurationMissMilliseconds);
}

/** Keys stay imported as long as the configuration that they belong to. */
const sources = new WeakMap<SourceRow, Result<PreparedSource>>();

async function prepared(env: Env, row: SourceRow): Promise<Result<PreparedSource>> {
  const known = sources.get(row);
  if (known !== undefined) return known;
  const vault = vaultOf(env);
  if (!vault.ok) return vault;
  const { name, scheme, settings } = row;
  const opened = await vault.value.open(sourceContext(scheme, name), row.sealed);
  if (!opened.ok) return opened;
  const secrets = parse(array(string()), opened.value);
  const source = await prepareSource({ name, scheme, secrets, settings });
  if (source.ok) sources.set(row, source);
  return source;
}

function hookEvent(
  request: Request,
  source: PreparedSource,
  bytes: Uint8Array,
  json: unknown,
  receivedAt: number,
): TriggerEvent {
  return {
    type: 'webhook',
    params: {},
    ...publicPartsOf(request, source),
    body: json ?? bodyOf(request, bytes),
    receivedAt,
  };
}

/** JSON where it is JSON, form fields where it is a form, text otherwise. */
function bodyOf(request: Request, bytes: Uint8Array): unknown {
  const text = new TextDecoder().decode(bytes);
  const type = request.headers.get('content-type') ?? '';
  if (type.startsWith('application/x-www-form-urlencoded')) return Object.fromEntries(new URLSearchParams(text));
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
