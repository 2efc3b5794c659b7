/** From the reply to the output of the step. */

import { Buffer } from 'node:buffer';
import type { HttpParams } from './schemas.ts';
import { parseJson } from '../../core/data/exact-json.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { isJson } from '../../core/media-type.ts';
import { hostOf } from '../../core/url.ts';
import type { HttpReply } from '../../drivers/http/request.ts';
import { statusFault } from '../../drivers/http/status.ts';

export interface HttpOutput {
  readonly status: number;
  /** By name in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

const TEXT_TYPE =
  /^(?:text\/|application\/(?:[\w.+-]+\+)?(?:xml|yaml)\b|application\/(?:javascript|ecmascript|graphql|x-www-form-urlencoded|x-ndjson|jsonl|sql|toml)\b)/i;

export const readAs = (parse: HttpParams['parse']) => (contentType: string | null) =>
  parse === 'json' ||
  parse === 'text' ||
  (parse !== 'base64' && (isJson(contentType) || (contentType !== null && TEXT_TYPE.test(contentType))))
    ? 'text'
    : 'bytes';

/** Faults `upstream.*` for a status that was not expected, or a body that is not what it says. */
export function outputOf(
  reply: HttpReply,
  { expect = '2xx', parse = 'auto' }: Pick<HttpParams, 'expect' | 'parse'>,
  url: string,
  now: number,
): Result<HttpOutput> {
  const { status } = reply;
  const body = bodyOf(reply, parse);
  const isExpected = expect === 'any' || (expect === '2xx' ? status >= 200 && status < 300 : expect.includes(status));
  if (!isExpected) {
    return { ok: false, fault: statusFault(reply, hostOf(url), now, body.ok ? body.value : reply.body) };
  }
  if (!body.ok)
    return fail('upstream.invalid', `${hostOf(url)} answered with a body that is not JSON.`, { data: { status } });
  return ok(output(reply, body.value));
}

function bodyOf(
  { contentType, body }: HttpReply,
  parse: HttpParams['parse'],
): { ok: true; value: unknown } | { ok: false } {
  if (typeof body !== 'string')
    return { ok: true, value: parse === 'base64' ? base64(body) : textOrBase64(contentType, body) };
  if (parse === 'text' || (parse !== 'json' && !isJson(contentType))) {
    return { ok: true, value: body };
  }
  // 204, HEAD and many a 202 have the type of JSON and no body.
  if (body === '') return { ok: true, value: null };
  return parseJson(body, 'last');
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');

/** Without a content type, what reads as UTF-8 is text. */
function textOrBase64(contentType: string | null, bytes: Uint8Array): string {
  if (contentType !== null) return base64(bytes);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch {
    return base64(bytes);
  }
}

/** Headers are read only when somebody looks: going through them costs more than the rest of the reply. */
function output({ status, headers }: HttpReply, body: unknown): HttpOutput {
  let plain: Record<string, string> | undefined;
  return {
    status,
    get headers() {
      return (plain ??= plainHeaders(headers));
    },
    body,
  };
}

function plainHeaders(headers: Headers): Record<string, string> {
  const plain: Record<string, string> = {};
  for (const [name, value] of headers) {
    // Only `set-cookie` comes more than once.
    plain[name] = plain[name] === undefined ? value : `${plain[name]}, ${value}`;
  }
  return plain;
}
