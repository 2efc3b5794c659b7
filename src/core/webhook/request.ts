/** A request while it is judged: where texts stand in it, and its body parsed at most once. */

import type { Condition, Items, Place } from './scheme.ts';
import { isObject } from '../json.ts';

export interface WebhookRequest {
  readonly method: string;
  /** As the vendor was given it: the public address with path and query. */
  readonly url: string;
  readonly headers: Headers;
  /** Exactly as received. */
  readonly body: Uint8Array;
  /** Unix time. */
  readonly nowMilliseconds: number;
  /** Guarded; for certificates, key sets and confirmations. */
  readonly fetch: Fetch;
}

export type Fetch = (url: string, init?: RequestInit) => Promise<Response>;

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });

export class Reading {
  readonly request: WebhookRequest;
  #json: unknown;
  #parsed = false;

  constructor(request: WebhookRequest) {
    this.request = request;
  }

  /** The body as JSON; undefined where it is none. */
  get json(): unknown {
    if (!this.#parsed) {
      this.#parsed = true;
      try {
        this.#json = JSON.parse(decoder.decode(this.request.body)) as unknown;
      } catch {
        this.#json = undefined;
      }
    }
    return this.#json;
  }

  /** The same, where something had to read it. */
  get jsonIfRead(): unknown {
    return this.#json;
  }
}

/** The text at a place, where there is one and it is not empty. */
export function textAt(place: Place, reading: Reading, root?: unknown): string | undefined {
  if ('headers' in place) return firstHeader(reading.request.headers, place.headers);
  if ('query' in place) return queryParameter(reading.request.url, place.query);
  return memberText(root ?? reading.json, place.member);
}

/** A name for messages. */
export function nameOf(place: Place): string {
  if ('headers' in place) return `The header ${place.headers[0]}`;
  return 'query' in place ? `The query parameter ${place.query}` : `The member ${place.member} of the body`;
}

export function firstHeader(headers: Headers, names: readonly string[]): string | undefined {
  for (const name of names) {
    const value = headers.get(name);
    if (value !== null && value !== '') return value;
  }
  return undefined;
}

/** What follows the `?`, without a fragment. */
export function queryOf(url: string): string {
  const start = url.indexOf('?');
  if (start === -1) return '';
  const end = url.indexOf('#', start);
  return url.slice(start + 1, end === -1 ? undefined : end);
}

const queryParameter = (url: string, name: string): string | undefined =>
  new URLSearchParams(queryOf(url)).get(name) || undefined;

/** All that a path such as `items.*.id` leads to. Members of prototypes are not there. */
export function valuesAt(json: unknown, path: string): readonly unknown[] {
  let values: readonly unknown[] = [json];
  for (const key of path.split('.')) {
    values = values.flatMap((value) => {
      if (Array.isArray(value)) return key === '*' ? (value as unknown[]) : [(value as unknown[])[Number(key)]];
      return isObject(value) && Object.hasOwn(value, key) ? [value[key]] : [];
    });
  }
  return values;
}

/** The first value of a path as text. Numbers that JSON cannot hold exactly are not there. */
export function memberText(json: unknown, path: string): string | undefined {
  const [value] = path === '' ? [json] : valuesAt(json, path);
  if (typeof value === 'string') return value === '' ? undefined : value;
  if (typeof value === 'boolean') return String(value);
  return typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : undefined;
}

/** What is proven one by one: the items of a list, or the body as a whole. Undefined where the list is empty. */
export function unitsOf(items: Items | undefined, reading: Reading): readonly unknown[] | undefined {
  if (items === undefined) return [undefined];
  const [list] = valuesAt(reading.json, items.list);
  if (!Array.isArray(list) || list.length === 0) return undefined;
  const { member } = items;
  // An item without the member has nothing in it, rather than all of the body.
  return list.map((item: unknown) => (member === undefined ? item : valuesAt(item, member)[0]) ?? {});
}

export function holds(condition: Condition, reading: Reading): boolean {
  if ('emptyList' in condition) {
    const [list] = valuesAt(reading.json, condition.emptyList);
    return Array.isArray(list) && list.length === 0;
  }
  if ('absent' in condition) return textAt(condition.absent, reading) === undefined;
  const text = textAt(condition.at, reading);
  return text !== undefined && (condition.is === undefined || condition.is.includes(text));
}
