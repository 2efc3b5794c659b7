/** Reads the body of a request under a limit. */

import { readChunks } from '../core/bytes.ts';
import { parseJson } from '../core/data/exact-json.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { isJson } from '../core/media-type.ts';

/** The exact bytes received; `request.too-large` as soon as the limit is passed. */
export async function readBytes(request: Request | Response, limitBytes: number): Promise<Result<Uint8Array>> {
  const declared = Number(request.headers.get('content-length') ?? Number.NaN);
  if (declared > limitBytes) return tooLarge(limitBytes);
  // A declared length is enforced by the runtime, so the body can be read at once. (And `request.body` is not
  // touched for it: that makes a stream, which costs more than all else here.)
  if (Number.isFinite(declared)) return ok(new Uint8Array(await request.arrayBuffer()));
  const bytes = await readChunks(request.body, limitBytes);
  return bytes === undefined ? tooLarge(limitBytes) : ok(bytes);
}

const tooLarge = (limitBytes: number): Result<never> =>
  fail('request.too-large', `The body may have up to ${limitBytes} bytes.`);

/**
 * The body as a chain sees it: JSON parsed, form fields as an object, any other text as text, none as undefined.
 * Each field of a request is read once: it is a call into the runtime, which costs more than a step.
 */
export async function readBody(method: string, request: Request): Promise<Result<unknown>> {
  if (method === 'GET' || method === 'HEAD') return ok(undefined);
  const { headers } = request;
  const type = headers.get('content-type');
  const declared = headers.get('content-length');
  // Nobody here unpacks it: what is small on the wire may be anything.
  if ((headers.get('content-encoding') ?? 'identity') !== 'identity') {
    return fail('request.media-type', 'Send the body without content-encoding.');
  }
  let text: string;
  try {
    if (declared !== null && Number(declared) <= LIMITS.requestBodyBytes) text = await request.text();
    else {
      const bytes = await readBytes(request, LIMITS.requestBodyBytes);
      if (!bytes.ok) return bytes;
      text = new TextDecoder().decode(bytes.value);
    }
  } catch {
    return fail('request.invalid', 'The body broke off, or its chunks are malformed.');
  }
  if (text === '') return ok(undefined);
  if (isJson(type)) return parseJson(text);
  // Without a content type, what reads as JSON is JSON, as `curl -d` users expect of an API.
  if (type === null || type === '') {
    const json = parseJson(text);
    return json.ok ? json : ok(text);
  }
  if (type.startsWith('application/x-www-form-urlencoded')) return ok(Object.fromEntries(new URLSearchParams(text)));
  return ok(text);
}
