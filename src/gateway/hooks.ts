/**
 * Webhooks in: raw bytes → verify → the inbox of the source → 2xx.
 *
 * Guarantee: nothing unverified becomes an event; a 2xx is sent only after the event is on disk; a delivery
 * that comes again, also at the same moment, is the same event. What its runs are is the inbox's business.
 */

import { array, parse, string } from 'valibot';
import { readBytes } from './body.ts';
import { headersOf } from './event.ts';
import { answerHandshake, methodRefused, publicUrl, replyResponse } from './handshakes.ts';
import { fail, fault, faultOf, ok, problemResponse, type Fault, type Result } from '../core/errors.ts';
import { eventId, keptHeaders, refusedHeaders } from '../core/inbox/event.ts';
import { LIMITS } from '../core/limits.ts';
import {
  acceptedReply,
  credentialsOf,
  deliversBy,
  handshake,
  methodsOf,
  prepareSource,
  verify,
  type PreparedSource,
  type VerifiedWebhook,
  type WebhookRequest,
} from '../core/webhook/index.ts';
import type { Env } from '../env.ts';
import { checkConfiguration, currentConfiguration, vaultOf, type Configuration } from '../runtime/configuration.ts';
import { hostOf } from '../runtime/host.ts';
import { inboxSettings } from '../runtime/inbox-settings.ts';
import { noteRefused, receiveDelivery } from '../runtime/inbox.ts';
import type { SourceRow } from '../store/configuration.ts';
import { sourceContext } from '../vault/vault.ts';

const NAME = /^\/hooks\/([a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?)\/?$/;

type Context = Pick<ExecutionContext, 'waitUntil'>;

export async function handleHook(request: Request, env: Env, path: string, ctx: Context): Promise<Response> {
  try {
    const name = NAME.exec(path)?.[1];
    if (name === undefined) return problemResponse(fault('source.not-found', 'Webhooks go to /hooks/<source>.'));
    const result = await receive(request, env, ctx, name);
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

/** What a sender is told. */
interface Received {
  readonly accepted: true;
  /** It has come before, and starts nothing. */
  readonly duplicate: boolean;
  /** The id of the event. */
  readonly event: string;
}

async function receive(request: Request, env: Env, ctx: Context, name: string): Promise<Result<Received | Response>> {
  const configuration = await withSource(env, name);
  const row = configuration.sources.get(name);
  if (row === undefined) return fail('source.not-found', `There is no webhook source named ${name}.`);
  const opened = await prepared(env, row);
  const scheme = opened.ok ? opened.value.source.scheme : undefined;
  const { method, headers, url } = request;
  const methods = scheme === undefined ? ['POST'] : methodsOf(scheme);
  if (!methods.includes(method)) return ok(methodRefused(`/hooks/${name}`, methods));
  const read = await readBytes(request, LIMITS.webhookBodyBytes);
  if (!read.ok) return read;
  const body = read.value;
  const receivedAt = Date.now();
  const delivery: Delivery = { row, headers, url, body, receivedAt };
  // Without a usable secret nothing can be verified, so nothing is accepted.
  if (!opened.ok) {
    const reason = fault('webhook.unverified', `The source ${name} has no usable secret.`, { detail: opened.fault });
    return refuse(env, ctx, delivery, undefined, reason);
  }
  const { source } = opened.value;
  const given: WebhookRequest = {
    method,
    url: publicUrl(url, env),
    headers,
    body,
    nowMilliseconds: receivedAt,
    fetch: hostOf(env).fetch,
  };
  const shaken = await handshake(source, given);
  if (!shaken.ok) return shaken;
  if (shaken.value !== undefined) return answerHandshake(env, row, shaken.value);
  if (!deliversBy(source.scheme, method)) return ok(methodRefused(`/hooks/${name}`, methods));
  const verified = await verify(source, given);
  if (!verified.ok) return refuse(env, ctx, delivery, source.scheme, verified.fault);
  return keep(env, delivery, opened.value, verified.value);
}

/** A delivery as it came. */
interface Delivery {
  readonly row: SourceRow;
  readonly headers: Headers;
  readonly url: string;
  readonly body: Uint8Array;
  readonly receivedAt: number;
}

const commonOf = ({ row, receivedAt, body }: Delivery) => ({ scheme: row.scheme, receivedAt, bytes: body.byteLength });

function refuse(
  env: Env,
  ctx: Context,
  delivery: Delivery,
  scheme: PreparedSource['scheme'] | undefined,
  reason: Fault,
): Result<never> {
  noteRefused(env, ctx, delivery.row.name, {
    ...commonOf(delivery),
    headers: refusedHeaders(shownHeaders(delivery, scheme)),
    body: delivery.body.slice(0, LIMITS.rejectedBodyBytes),
    query: '',
    refusal: reason.message,
  });
  return { ok: false, fault: reason };
}

/** Without what proves the sender by itself. */
function shownHeaders({ headers }: Delivery, scheme: PreparedSource['scheme'] | undefined): Record<string, string> {
  const shown = headersOf(headers);
  if (scheme !== undefined) for (const name of credentialsOf(scheme).headers) delete shown[name];
  return shown;
}

async function keep(
  env: Env,
  delivery: Delivery,
  { source, isSecret }: OpenSource,
  { deliveryId, eventType }: VerifiedWebhook,
): Promise<Result<Received | Response>> {
  const { row, url, body } = delivery;
  const { scheme } = source;
  const receipt = await receiveDelivery(
    env,
    row.name,
    {
      ...commonOf(delivery),
      deliveryId,
      type: eventType ?? null,
      query: queryOf(url, credentialsOf(scheme).query, isSecret),
      headers: keptHeaders(shownHeaders(delivery, scheme), isSecret),
      body,
      blob: null,
    },
    inboxSettings(row).dedupeMilliseconds,
  );
  const reply = acceptedReply(scheme);
  if (reply !== undefined) return ok(replyResponse(reply));
  return ok({ accepted: true, duplicate: receipt.duplicate, event: eventId(receipt.sequence) });
}

/** Without its question mark; without what holds a secret. */
function queryOf(url: string, credentials: readonly string[], isSecret: (value: string) => boolean): string {
  const start = url.indexOf('?');
  if (start === -1) return '';
  const query = new URLSearchParams(url.slice(start + 1));
  return new URLSearchParams(
    [...query].filter(([name, value]) => !credentials.includes(name) && !isSecret(value)),
  ).toString();
}

async function withSource(env: Env, name: string): Promise<Configuration> {
  const configuration = await currentConfiguration(env);
  return configuration.sources.has(name)
    ? checkConfiguration(env, LIMITS.configurationAgeMilliseconds)
    : checkConfiguration(env, LIMITS.configurationMissMilliseconds);
}

interface OpenSource {
  readonly source: PreparedSource;
  /** Whether a value that is about to be kept gives a secret of the source away. */
  readonly isSecret: (value: string) => boolean;
}

/** Keys stay imported as long as the configuration that they belong to. */
const sources = new WeakMap<SourceRow, Result<OpenSource>>();

async function prepared(env: Env, row: SourceRow): Promise<Result<OpenSource>> {
  const known = sources.get(row);
  if (known !== undefined) return known;
  const vault = vaultOf(env);
  if (!vault.ok) return vault;
  const { name, scheme, settings } = row;
  const opened = await vault.value.open(sourceContext(scheme, name), row.sealed, { kind: 'gateway', actor: 'webhook' });
  if (!opened.ok) return opened;
  const secrets = parse(array(string()), opened.value);
  const source = await prepareSource({ name, scheme, secrets, settings });
  if (!source.ok) return source;
  const isSecret = (value: string): boolean => secrets.some((secret) => value.includes(secret));
  const result = ok({ source: source.value, isSecret });
  sources.set(row, result);
  return result;
}
