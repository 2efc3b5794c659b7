/**
 * Where responses are kept: the hottest in the memory of the isolate, all in the Cache API of the data centre.
 *
 * Guarantee: a response is found only under the key that it was stored under, whole, with the request headers
 * that its `Vary` names as they were.
 * Accepted weakness: the Cache API keeps what it likes; a mark of invalidation that it drops is made up for by
 * nothing but the end of the time of the response.
 *
 * The Cache API refuses `Vary: *`, 206 and cookies, ignores `Vary` and rewrites headers. So what it keeps is an
 * envelope: a plain 200 with our own metadata in one header, under an address that no request can name.
 */

import * as v from 'valibot';
import type { Entry } from './entry.ts';
import { isInvalidated, noteInvalidated } from './purges.ts';
import { selectingFields } from '../../core/http-cache/storing.ts';
import { LIMITS } from '../../core/limits.ts';
import { sha256, toHex, type Bytes } from '../../vault/bytes.ts';

interface Held {
  /** Absent where responses differ by these headers: each is held under a key of its own. */
  readonly entry?: Entry;
  readonly vary: readonly string[];
  /** When it was last known what other isolates have invalidated. */
  checkedAt: number;
}

/** The longest unused first. */
const memory = new Map<string, Held>();
let memoryBytes = 0;

const variantOf = (key: string, vary: readonly string[], headers: Headers): string =>
  vary.length === 0 ? key : JSON.stringify([key, selectingFields(vary, headers)]);

const sizeOf = (key: string, { entry }: Held): number => {
  const texts = key.length + JSON.stringify(entry?.fields ?? []).length;
  return 2 * texts + (entry?.body.byteLength ?? 0) + 500;
};

function hold(key: string, held: Held): void {
  forget(key);
  const size = sizeOf(key, held);
  if (size > LIMITS.cacheMemoryEntryBytes) return;
  memory.set(key, held);
  memoryBytes += size;
  for (const oldest of memory.keys()) {
    if (memoryBytes <= LIMITS.cacheMemoryBytes) return;
    forget(oldest);
  }
}

function forget(key: string): void {
  const held = memory.get(key);
  if (held === undefined) return;
  memory.delete(key);
  memoryBytes -= sizeOf(key, held);
}

/** What this isolate knows without asking, the request headers that select among responses included. */
export function recall(key: string, headers: Headers): { readonly variant: string; readonly held: Held | undefined } {
  let variant = key;
  let held = memory.get(key);
  if (held !== undefined && held.entry === undefined) {
    variant = variantOf(key, held.vary, headers);
    held = memory.get(variant);
  }
  if (held === undefined) return { variant, held };
  if (held.entry !== undefined && isInvalidated(held.entry)) {
    forget(variant);
    return { variant, held: undefined };
  }
  // To the end of the line.
  memory.delete(variant);
  memory.set(variant, held);
  return { variant, held };
}

const HOST = 'https://cache.tidegate.internal';
const FIELDS = 'tidegate-entry';

const openCache = (): Promise<Cache> => caches.open('tidegate');
const urlOf = async (kind: 'entry' | 'mark', text: string): Promise<string> =>
  `${HOST}/${kind}/${toHex(await sha256(text))}`;

const fields = v.array(v.tuple([v.string(), v.string()]));
const entryFields = v.object({
  ...{ status: v.number(), fields, selecting: fields, vary: v.array(v.string()) },
  ...{ address: v.string(), scopes: v.array(v.string()), revision: v.number() },
  ...{ requestAt: v.number(), responseAt: v.number(), initialAge: v.number(), lifetime: v.number() },
  ...{ validateAlways: v.boolean(), mustRevalidate: v.boolean(), refusesMaxStale: v.boolean() },
  ...{ staleWhileRevalidate: v.number(), staleIfError: v.number() },
});
const envelopeFields = v.union([v.object({ entry: entryFields }), v.object({ vary: v.array(v.string()) })]);

/** Looks in the Cache API, and holds what it finds in memory. A store that fails has nothing. */
export async function lookUp(key: string, address: string, headers: Headers): Promise<Entry | undefined> {
  try {
    const cache = await openCache();
    const [first] = await Promise.all([read(cache, key), readMark(cache, address)]);
    const found =
      first?.entry === undefined && first !== undefined ? await readVariant(cache, key, first, headers) : first;
    return found?.entry === undefined || isInvalidated(found.entry) ? undefined : found.entry;
  } catch (thrown) {
    console.error('the cache could not be read', thrown);
    return undefined;
  }
}

async function readVariant(cache: Cache, key: string, { vary }: Held, headers: Headers): Promise<Held | undefined> {
  hold(key, { vary, checkedAt: Date.now() });
  return read(cache, variantOf(key, vary, headers));
}

async function read(cache: Cache, key: string): Promise<Held | undefined> {
  const envelope = await cache.match(await urlOf('entry', key));
  if (envelope === undefined) return undefined;
  const parsed = v.safeParse(v.pipe(v.string(), v.parseJson(), envelopeFields), envelope.headers.get(FIELDS));
  const body: Bytes = new Uint8Array(await envelope.arrayBuffer());
  if (!parsed.success) return undefined;
  const checkedAt = Date.now();
  if ('vary' in parsed.output) return { vary: parsed.output.vary, checkedAt };
  const { entry } = parsed.output;
  const held = { entry: { ...entry, body }, vary: entry.vary, checkedAt };
  // A slower reader must not put back what has been stored anew meanwhile.
  if ((memory.get(key)?.entry?.responseAt ?? 0) < entry.responseAt) hold(key, held);
  return held;
}

/** Whether another isolate has invalidated an address; it is noted in the memory of this one. */
async function readMark(cache: Cache, address: string): Promise<void> {
  const mark = await cache.match(await urlOf('mark', address));
  if (mark !== undefined) noteInvalidated(address, Number(await mark.text()));
}

/** Brings what memory knows of an address up to what other isolates have invalidated. */
export async function confirm(held: Held, address: string): Promise<void> {
  // Before it waits, so that of many requests one asks.
  held.checkedAt = Date.now();
  await openCache()
    .then((cache) => readMark(cache, address))
    .catch((thrown: unknown) => console.error('the cache could not be read', thrown));
}

/** Into memory; the promise resolves when it is in the Cache API too. */
export function keep(key: string, entry: Entry, headers: Headers): Promise<void> {
  const { vary } = entry;
  const checkedAt = Date.now();
  const variant = variantOf(key, vary, headers);
  if (vary.length > 0) hold(key, { vary, checkedAt });
  hold(variant, { entry, vary, checkedAt });
  return write(key, variant, entry).catch((thrown: unknown) => console.error('the cache could not be written', thrown));
}

async function write(key: string, variant: string, entry: Entry): Promise<void> {
  const { body, ...rest } = entry;
  const left = entry.lifetime - entry.initialAge;
  const validator = entry.fields.some(([name]) => name === 'etag' || name === 'last-modified');
  const after = Math.max(
    entry.staleWhileRevalidate,
    entry.staleIfError,
    validator ? LIMITS.cacheValidatorMilliseconds : 0,
  );
  const seconds = Math.ceil((Math.max(0, left) + after) / 1000);
  const text = asciiJson({ entry: rest });
  if (seconds <= 0 || text.length > LIMITS.cacheFieldsCharacters) return;
  const cache = await openCache();
  const envelope = (content: BodyInit | null, json: string): Response =>
    new Response(content, { headers: { 'cache-control': `max-age=${seconds}`, [FIELDS]: json } });
  if (variant !== key) await cache.put(await urlOf('entry', key), envelope(null, asciiJson({ vary: entry.vary })));
  await cache.put(await urlOf('entry', variant), envelope(body, text));
}

/** A header holds ASCII. */
const asciiJson = (value: unknown): string =>
  JSON.stringify(value).replaceAll(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** Tells all isolates of the data centre that an address has changed. */
export async function invalidate(address: string, at: number): Promise<void> {
  noteInvalidated(address, at);
  const cache = await openCache();
  const headers = { 'cache-control': `max-age=${LIMITS.cacheLongestMilliseconds / 1000}` };
  await cache.put(await urlOf('mark', address), new Response(String(at), { headers }));
}
