/**
 * Webhooks in: raw bytes → verify → the inbox of the source → 2xx.
 *
 * Guarantee: nothing unverified becomes an event; a 2xx is sent only after the event is on disk; a delivery
 * that comes again, also at the same moment, is the same event. What its runs are is the inbox's business.
 */

import { array, parse, string } from 'valibot';
import { readBytes } from './body.ts';
import { headersOf } from './event.ts';
import { fail, fault, faultOf, ok, problemResponse, type Result } from '../core/errors.ts';
import { eventId, keptHeaders, refusedHeaders } from '../core/inbox/event.ts';
import { LIMITS } from '../core/limits.ts';
import { prepareSource, verify, type PreparedSource } from '../core/webhook/index.ts';
import type { Env } from '../env.ts';
import { checkConfiguration, currentConfiguration, vaultOf, type Configuration } from '../runtime/configuration.ts';
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
    if (request.method !== 'POST') {
      const refused = problemResponse(fault('request.method', `${path} takes POST.`));
      refused.headers.set('allow', 'POST');
      return refused;
    }
    const result = await receive(request, env, ctx, name);
    return result.ok ? Response.json(result.value) : problemResponse(result.fault);
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

async function receive(request: Request, env: Env, ctx: Context, name: string): Promise<Result<Received>> {
  const configuration = await withSource(env, name);
  const row = configuration.sources.get(name);
  if (row === undefined) return fail('source.not-found', `There is no webhook source named ${name}.`);
  const read = await readBytes(request, LIMITS.webhookBodyBytes);
  if (!read.ok) return read;
  const body = read.value;
  const receivedAt = Date.now();
  const { headers } = request;
  const opened = await prepared(env, row);
  // Without a usable secret nothing can be verified, so nothing is accepted.
  const verified = opened.ok
    ? await verify(opened.value.source, { headers, body, nowMilliseconds: receivedAt })
    : fail('webhook.unverified', `The source ${name} has no usable secret.`, { detail: opened.fault });
  const common = { scheme: row.scheme, receivedAt, bytes: body.byteLength };
  if (!verified.ok) {
    const kept = {
      headers: refusedHeaders(headersOf(headers)),
      body: body.slice(0, LIMITS.rejectedBodyBytes),
      query: '',
    };
    noteRefused(env, ctx, name, { ...common, ...kept, refusal: verified.fault.message });
    return verified;
  }
  const { deliveryId, eventType } = verified.value;
  const isSecret = opened.ok ? opened.value.isSecret : () => false;
  const receipt = await receiveDelivery(
    env,
    name,
    {
      ...common,
      deliveryId,
      type: eventType ?? null,
      query: queryOf(request.url, isSecret),
      headers: keptHeaders(headersOf(headers), isSecret),
      body,
      blob: null,
    },
    inboxSettings(row).dedupeMilliseconds,
  );
  return ok({ accepted: true, duplicate: receipt.duplicate, event: eventId(receipt.sequence) });
}

/** Without its question mark; without what holds a secret. */
function queryOf(url: string, isSecret: (value: string) => boolean): string {
  const start = url.indexOf('?');
  if (start === -1) return '';
  const query = new URLSearchParams(url.slice(start + 1));
  return new URLSearchParams([...query].filter(([, value]) => !isSecret(value))).toString();
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
  const opened = await vault.value.open(sourceContext(scheme, name), row.sealed);
  if (!opened.ok) return opened;
  const secrets = parse(array(string()), opened.value);
  const source = await prepareSource({ name, scheme, secrets, settings });
  if (!source.ok) return source;
  const isSecret = (value: string): boolean => secrets.some((secret) => value.includes(secret));
  const result = ok({ source: source.value, isSecret });
  sources.set(row, result);
  return result;
}
