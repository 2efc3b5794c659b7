/** Forms and queries whose fields are signed, sorted, instead of their bytes. */

import { queryOf } from './request.ts';

type Fields = ReadonlyMap<string, readonly string[]>;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The fields of a form in one spelling only: every pair has its `=`, escapes are upper case and UTF-8.
 * Otherwise a byte could be changed without changing a field, and the signature would still fit.
 */
const STRICT = /^(?:[^%&=]|%[0-9A-F]{2})+=(?:[^%&]|%[0-9A-F]{2})*$/;

function fieldsOf(text: string, accepts: (pair: string) => boolean): Fields | undefined {
  const fields = new Map<string, string[]>();
  if (text === '') return fields;
  for (const pair of text.split('&')) {
    if (!accepts(pair)) return undefined;
    const equals = pair.indexOf('=');
    try {
      const name = decodeURIComponent((equals === -1 ? pair : pair.slice(0, equals)).replaceAll('+', ' '));
      const value = equals === -1 ? '' : decodeURIComponent(pair.slice(equals + 1).replaceAll('+', ' '));
      const values = fields.get(name);
      if (values === undefined) fields.set(name, [value]);
      else values.push(value);
    } catch {
      return undefined;
    }
  }
  return fields;
}

/** Names and values, sorted by name; of equal values of one name one counts. Undefined where it is no form. */
export function formContent(body: Uint8Array): string | undefined {
  let text: string;
  try {
    text = decoder.decode(body);
  } catch {
    return undefined;
  }
  const fields = fieldsOf(text, (pair) => STRICT.test(pair));
  if (fields === undefined) return undefined;
  let content = '';
  for (const name of [...fields.keys()].sort()) {
    for (const value of [...new Set(fields.get(name))].sort()) content += name + value;
  }
  return content;
}

interface QuerySpelling {
  readonly separator: string;
  pair(name: string, values: readonly string[]): string | undefined;
}

const LIST = /\[\]$/;

/** `ids[]=2&ids[]=1` is signed as `ids=["2", "1"]`. */
const listed = (name: string, values: readonly string[]): readonly [string, string] =>
  LIST.test(name)
    ? [name.replace(LIST, ''), `[${values.map((value) => JSON.stringify(value)).join(', ')}]`]
    : [name, values.join(',')];

const QUERY_FORMS: Readonly<Record<string, QuerySpelling>> = {
  encoded: {
    separator: '&',
    pair(name, values) {
      const [key, value] = listed(name, values);
      return `${encodeURIComponent(key)}=${encodeURIComponent(value)}`;
    },
  },
  /** Only what would change the structure has an escape. */
  escaped: {
    separator: '&',
    pair(name, values) {
      const [key, value] = listed(name, values).map((text) => text.replaceAll('%', '%25').replaceAll('&', '%26'));
      return `${key?.replaceAll('=', '%3D')}=${value}`;
    },
  },
  /** A value with a `=` in it could be two parameters, so there is none. */
  joined: {
    separator: '',
    pair: (name, values) => (values.some((value) => value.includes('=')) ? undefined : `${name}=${values.join(',')}`),
  },
  /** Atlassian's canonical query: RFC 3986, repeated parameters sorted and joined. */
  atlassian: {
    separator: '&',
    pair: (name, values) => `${rfc3986(name)}=${values.map(rfc3986).sort().join(',')}`,
  },
};

const rfc3986 = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);

/** All parameters but the one that holds the signature, sorted by name, in a spelling of the table. */
export function queryContent(url: string, without: string | undefined, form: string): string | undefined {
  const fields = fieldsOf(queryOf(url), () => true);
  const spelling = QUERY_FORMS[form];
  if (fields === undefined || spelling === undefined) return undefined;
  const pairs: string[] = [];
  for (const name of [...fields.keys()].sort()) {
    if (name === without) continue;
    const pair = spelling.pair(name, fields.get(name) ?? []);
    if (pair === undefined) return undefined;
    pairs.push(pair);
  }
  return pairs.join(spelling.separator);
}
