/** The body of a request: its type, its size, its text, its value. */

import * as v from 'valibot';
import { invalid, refuse } from './issues.ts';
import { readChunks } from '../core/bytes.ts';
import { parseChainText } from '../core/chain/text.ts';
import { fail, ok, type Result } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';

export interface BodyReader<Body> {
  read(text: string): Result<Body>;
  readonly schema: v.GenericSchema;
  /** Whether the request may come without a body; `read` then gets an empty text. */
  readonly optional: boolean;
  /** Default: what a chain document may have. */
  readonly limitBytes?: number;
}

export const jsonBody = <Schema extends v.GenericSchema>(
  schema: Schema,
  optional = false,
  limitBytes: number = LIMITS.chainDocumentBytes,
): BodyReader<v.InferOutput<Schema>> => ({
  schema,
  optional,
  limitBytes,
  read(text) {
    const value = text === '' && optional ? ok({}) : parseJson(text);
    if (!value.ok) return value;
    const parsed = v.safeParse(schema, value.value);
    return parsed.success ? ok(parsed.output) : invalid(parsed.issues);
  },
});

/** A mistake is told with its line and column; the rules are those of chain documents. */
function parseJson(text: string): Result<unknown> {
  const parsed = parseChainText(text);
  return parsed.ok ? parsed : refuse('request.invalid', parsed.fault.issues ?? []);
}

const JSON_TYPE = /^application\/json\s*(?:;|$)/i;

/**
 * Faults `request.media-type`, `request.too-large`, `request.invalid`. A form of another site can send
 * a body only under the types of forms, so the demand for JSON also refuses those.
 */
export async function readText(
  request: Request,
  optional: boolean,
  limitBytes: number = LIMITS.chainDocumentBytes,
): Promise<Result<string>> {
  const isJson = JSON_TYPE.test(request.headers.get('content-type') ?? '');
  const encoding = request.headers.get('content-encoding') ?? 'identity';
  if (encoding !== 'identity') return fail('request.media-type', 'Send the body without content-encoding.');
  if (!isJson && !optional) return refuseType;

  // What content-length says is not believed: it may be absent beside chunked encoding.
  const declared = Number(request.headers.get('content-length') ?? 0);
  const bytes = declared > limitBytes ? undefined : await readChunks(request.body, limitBytes);
  if (bytes === undefined) return fail('request.too-large', `A body has at most ${limitBytes} bytes.`);
  if (bytes.byteLength === 0 && optional) return ok('');
  if (!isJson) return refuseType;
  try {
    return ok(new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes));
  } catch {
    return fail('request.invalid', 'The body is not UTF-8.');
  }
}

const refuseType = fail('request.media-type', 'Send JSON, with the header content-type: application/json.');
