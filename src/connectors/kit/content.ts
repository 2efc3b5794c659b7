/** The body of an object between its bytes and the JSON of a step. */

import { Buffer } from 'node:buffer';
import type { Content } from './object-schemas.ts';
import { fail, ok, type Result } from '../../core/errors.ts';

const FORMS = ['text', 'json', 'base64'] as const;
const DEFAULT_TYPES = {
  text: 'text/plain; charset=utf-8',
  json: 'application/json',
  base64: 'application/octet-stream',
};
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

export interface EncodedContent {
  readonly bytes: Uint8Array;
  readonly contentType: string;
}

/** @param path where the content stands in the parameters, for the error */
export function encodeContent(content: Content, path = ''): Result<EncodedContent> {
  const given = FORMS.filter((form) => content[form] !== undefined);
  const [form] = given;
  if (form === undefined || given.length > 1) {
    return fail('step.params', `${path}Give exactly one of \`text\`, \`json\` and \`base64\`.`);
  }
  const contentType = DEFAULT_TYPES[form];
  const value = content[form];
  if (form === 'json') return ok({ bytes: Buffer.from(JSON.stringify(value)), contentType });
  if (typeof value !== 'string') return fail('step.params', `${path}\`${form}\` must be a text.`);
  if (form === 'text') return ok({ bytes: Buffer.from(value), contentType });
  if (!BASE64.test(value)) return fail('step.params', `${path}\`base64\` is not valid base64 with padding.`);
  return ok({ bytes: Buffer.from(value, 'base64'), contentType });
}

export function decodeContent(bytes: Uint8Array, as: (typeof FORMS)[number]): Result<unknown> {
  if (as === 'base64') return ok(Buffer.from(bytes).toString('base64'));
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: as === 'text' }).decode(bytes);
    const value: unknown = as === 'json' ? JSON.parse(text) : text;
    return ok(value);
  } catch {
    const what = as === 'json' ? 'JSON' : 'text in UTF-8';
    return fail('upstream.invalid', `The object is not ${what}; read it with \`as: base64\`.`);
  }
}
