/**
 * One attempt to deliver one message: transform, sign, send, and note what the endpoint said.
 *
 * Guarantee: requests leave only through the guarded `fetch`; a redirect is followed nowhere and is a failure,
 * so the signature and the headers come to the address that the owner gave and to no other.
 */

import type { Content } from './objects.ts';
import type { OpenEndpoint } from './opened.ts';
import { faultOf, fail, ok, type Result } from '../../core/errors.ts';
import { fits } from '../../core/json.ts';
import { LIMITS } from '../../core/limits.ts';
import { signedHeaders } from '../../core/outbound/signature.ts';
import type { CallOutcome } from '../../core/policy/breaker.ts';
import { retryAfter } from '../../drivers/http/status.ts';

/** An attempt as the log keeps it. */
export interface Attempt {
  /** Unix milliseconds. */
  readonly at: number;
  readonly milliseconds: number;
  /** Absent where no reply came. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** The beginning of the reply's body. */
  readonly body?: string;
  /** Why it is no success. */
  readonly error?: string;
}

export interface Delivered {
  readonly attempt: Attempt;
  readonly kind: 'delivered' | 'refused' | 'unavailable' | 'gone';
  readonly retryAfterMilliseconds: number | undefined;
}

export interface DeliveryPorts {
  readonly fetch: typeof fetch;
  readonly now: () => number;
  /** The address of a payload that goes by reference; undefined where none can be made. */
  link(sequence: number): Promise<{ readonly url: string; readonly expiresAt: number } | undefined>;
}

const USER_AGENT = 'Tidegate-Webhooks';

/** Never rejects. */
export async function deliver(endpoint: OpenEndpoint, content: Content, ports: DeliveryPorts): Promise<Delivered> {
  const at = ports.now();
  const ended = (kind: Delivered['kind'], more: Omit<Attempt, 'at' | 'milliseconds'>, wait?: number): Delivered => ({
    kind,
    attempt: { at, milliseconds: ports.now() - at, ...more },
    retryAfterMilliseconds: wait,
  });
  const { settings } = endpoint;
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(), settings.timeoutMilliseconds);
  try {
    const body = await bodyOf(endpoint, content, ports);
    if (!body.ok) return ended('refused', { error: body.fault.message });
    const message = { id: content.id, eventType: content.eventType, body: body.value };
    const response = await ports.fetch(settings.url, {
      method: 'POST',
      redirect: 'manual',
      body: body.value,
      signal: controller.signal,
      headers: {
        'user-agent': USER_AGENT,
        ...endpoint.headers,
        'content-type': 'application/json',
        ...(await signedHeaders(endpoint.keys, settings.headerNames, message, at)),
      },
    });
    const { status } = response;
    const said = { status, headers: headOf(response.headers), body: await beginningOf(response) };
    if (status >= 200 && status < 300) return ended('delivered', said);
    const redirect = status >= 300 && status < 400 ? ' Redirects are not followed; change the address.' : '';
    const error = `The endpoint answered with status ${status}.${redirect}`;
    return ended(kindOf(status), { ...said, error }, retryAfter(response.headers.get('retry-after'), ports.now()));
  } catch (thrown) {
    const { code, message } = faultOf(thrown);
    if (controller.signal.aborted) {
      return ended('unavailable', { error: `The endpoint did not answer within ${settings.timeoutMilliseconds} ms.` });
    }
    if (code === 'internal.unexpected') return ended('unavailable', { error: 'The endpoint could not be reached.' });
    return ended('refused', { error: message });
  } finally {
    clearTimeout(timer);
  }
}

/** Whether a failure says that the endpoint is away, or that it does not want this message. */
function kindOf(status: number): Delivered['kind'] {
  if (status === 410) return 'gone';
  return status === 408 || status === 425 || status === 429 || status >= 500 ? 'unavailable' : 'refused';
}

/** What an attempt says of the endpoint as a whole: one that refuses a message is there. */
export function outcomeOf(delivered: Delivered | undefined): CallOutcome {
  if (delivered === undefined) return { kind: 'unknown' };
  const { kind, attempt, retryAfterMilliseconds } = delivered;
  if (kind === 'unavailable') return { kind: 'failed', retryAfterMilliseconds };
  return attempt.status === undefined ? { kind: 'unknown' } : { kind: 'succeeded' };
}

/** The payload as this endpoint gets it, as JSON text. */
export async function payloadOf({ selection }: OpenEndpoint, content: Content): Promise<Result<string>> {
  const { payload, createdAt, ...rest } = content;
  const scope = { ...rest, payload: JSON.parse(payload) as unknown, createdAt: new Date(createdAt).toISOString() };
  const transformed = await selection.transform(scope);
  if (!transformed.ok) return transformed;
  if (transformed.value === undefined) return fail('endpoint.transformation', 'The transformation gave nothing.');
  return ok(transformed.value === scope.payload ? payload : JSON.stringify(transformed.value));
}

async function bodyOf(endpoint: OpenEndpoint, content: Content, ports: DeliveryPorts): Promise<Result<string>> {
  const payload = await payloadOf(endpoint, content);
  if (!payload.ok || endpoint.settings.largePayloads === 'inline') return payload;
  if (fits(payload.value, LIMITS.inlinePayloadBytes)) return payload;
  const link = await ports.link(content.sequence);
  if (link === undefined) return payload;
  const bytes = new TextEncoder().encode(payload.value).byteLength;
  const reference = { url: link.url, expiresAt: new Date(link.expiresAt).toISOString(), bytes };
  return ok(JSON.stringify({ type: content.eventType, reference }));
}

function headOf(headers: Headers): Record<string, string> {
  const head = [...headers].filter(([name]) => name !== 'set-cookie').slice(0, LIMITS.deliveryHeaders);
  return Object.fromEntries(head.map(([name, value]) => [name, value.slice(0, LIMITS.deliveryHeaderCharacters)]));
}

/** What was read before the reply broke off counts: the status has decided. */
async function beginningOf(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  if (reader === undefined) return '';
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  try {
    while (bytes < LIMITS.deliveryBodyBytes) {
      const { done, value } = await reader.read();
      if (done) break;
      text += decoder.decode(value.subarray(0, LIMITS.deliveryBodyBytes - bytes), { stream: true });
      bytes += value.byteLength;
    }
  } catch {
    // Cut off by the endpoint or by the timeout.
  }
  // Where nothing is left to cancel, that is fine too.
  await reader.cancel().catch(() => {});
  return text;
}
