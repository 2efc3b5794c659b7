/**
 * Builds the bytes that are signed out of a template such as `{id}.{timestamp}.{body}`.
 *
 * Placeholders: `{body}` at most once; `{id}`, `{timestamp}`, `{method}` and `{secret}`; `{url}` or
 * `{url:<form>}` in a spelling of `url-forms.ts`; `{form}`, the fields of a form sorted by name;
 * `{query:<form>}`, the query without the signature; `{crc32}` of the body in decimal; `{member:<path>}`
 * of the JSON body or item; `{lines:<a>,<b>}`, name and value of these members, each followed by a line break.
 */

import { crc32 } from './crc32.ts';
import { utf8 } from './encoding.ts';
import { formContent, queryContent } from './form.ts';
import { memberText, type Reading } from './request.ts';
import { URL_FORMS } from './url-forms.ts';

export interface ContentFields {
  readonly id: string;
  readonly timestamp: string;
  readonly reading: Reading;
  /** The item that is signed; undefined where it is the body as a whole. */
  readonly item: unknown;
  /** The query parameter that carries the signature. */
  readonly signatureQuery: string | undefined;
  /** The body is vouched for by its hash in the URL, so its fields are not signed one by one. */
  readonly bodyIsHashed: boolean;
}

export interface ContentTemplate {
  /**
   * What follows `{id}`. An id that held it could trade characters with the timestamp under one
   * signature, so such an id is refused (Standard Webhooks, "Signature scheme").
   */
  readonly idEnd: string;
  readonly usesSecret: boolean;
  /**
   * The body itself where nothing else is signed; otherwise one copy of it. Undefined where the request
   * has no such content, e.g. a form that is none.
   */
  build(fields: ContentFields, secret: string): Uint8Array | undefined;
}

type Field = (fields: ContentFields, secret: string) => string | undefined;

/** By the name of the placeholder: what its argument makes of it. */
const FIELDS: Readonly<Record<string, (argument: string) => Field>> = {
  id: () => (fields) => fields.id,
  timestamp: () => (fields) => fields.timestamp,
  method: () => (fields) => fields.reading.request.method,
  secret: () => (_, secret) => secret,
  url: (form) => {
    const spell = form === '' ? undefined : URL_FORMS[form];
    return ({ reading }) => {
      const { url } = reading.request;
      // A URL that ends in the beginning of a JSON body would trade characters with it under one signature.
      if (/[{[]/.test(url)) return undefined;
      return spell === undefined ? url : spell(url);
    };
  },
  form: () => (fields) => (fields.bodyIsHashed ? '' : formContent(fields.reading.request.body)),
  query: (form) => (fields) => queryContent(fields.reading.request.url, fields.signatureQuery, form),
  crc32: () => (fields) => String(crc32(fields.reading.request.body)),
  member: (path) => (fields) => memberText(rootOf(fields), path) ?? '',
  escaped: (path) => (fields) => (memberText(rootOf(fields), path) ?? '').replace(/[\\:]/g, '\\$&'),
  lines: (names) => {
    const list = names.split(',');
    return (fields) => {
      let text = '';
      for (const name of list) {
        const value = memberText(rootOf(fields), name);
        if (value !== undefined) text += `${name}\n${value}\n`;
      }
      return text;
    };
  },
};

const rootOf = ({ item, reading }: ContentFields): unknown => item ?? reading.json;

export function compileContent(template: string): ContentTemplate {
  const [before = '', after] = template.split('{body}');
  const head = partsOf(before);
  const tail = partsOf(after ?? '');
  return {
    idEnd: /\{id\}([^{]*)/.exec(template)?.[1] ?? '',
    usesSecret: template.includes('{secret}'),
    build(fields, secret) {
      const { body } = fields.reading.request;
      if (template === '{body}') return body;
      const start = fill(head, fields, secret);
      const end = fill(tail, fields, secret);
      if (start === undefined || end === undefined) return undefined;
      return after === undefined ? utf8(start) : around(utf8(start), body, utf8(end));
    },
  };
}

function around(start: Uint8Array, body: Uint8Array, end: Uint8Array): Uint8Array {
  const content = new Uint8Array(start.length + body.length + end.length);
  content.set(start);
  content.set(body, start.length);
  content.set(end, start.length + body.length);
  return content;
}

type Part = string | Field;

const partsOf = (template: string): readonly Part[] =>
  template
    .split(/(\{[a-z0-9]+(?::[^{}]*)?\})/)
    .filter((part) => part !== '')
    .map((part) => {
      const [, name = '', argument = ''] = /^\{([a-z0-9]+)(?::([^{}]*))?\}$/.exec(part) ?? [];
      return FIELDS[name]?.(argument) ?? part;
    });

function fill(parts: readonly Part[], fields: ContentFields, secret: string): string | undefined {
  let text = '';
  for (const part of parts) {
    const filled = typeof part === 'string' ? part : part(fields, secret);
    if (filled === undefined) return undefined;
    text += filled;
  }
  return text;
}
