/** Asks the origin for all who wait, and stores what comes. */

import type { Asking, Shared, Wish } from './asking.ts';
import { answerOf, headersOf, notStored, tell, type Entry } from './entry.ts';
import type { Flight } from './flights.ts';
import { scopesOf } from './purges.ts';
import { keep } from './store.ts';
import { edited } from '../response.ts';
import { readChunks } from '../../core/bytes.ts';
import { faultOf } from '../../core/errors.ts';
import { parseDirectives } from '../../core/http-cache/directives.ts';
import { standsIn, type Times } from '../../core/http-cache/freshness.ts';
import { hasCredentials } from '../../core/http-cache/key.ts';
import {
  freshnessOf,
  refusalOf,
  selectingFields,
  storedFields,
  varyOf,
  type Fields,
  type StoringRules,
} from '../../core/http-cache/storing.ts';
import { speaksOf, updatedFields, validating, withoutConditions } from '../../core/http-cache/validation.ts';
import { LIMITS } from '../../core/limits.ts';

/** By key, until when requests for what could not be stored are not made to wait for each other. */
const passes = new Map<string, number>();

export const isPassed = (key: string, now: number): boolean => (passes.get(key) ?? 0) > now;

function notePass(key: string): void {
  if (passes.size >= LIMITS.cacheMarks) passes.clear();
  passes.set(key, Date.now() + LIMITS.cachePassMilliseconds);
}

/** The response as it is, but for what the cache says of it. */
export const told = (response: Response, status: string): Response =>
  edited(response, (headers) => {
    headers.delete('cache-tag');
    tell(headers, status);
  });

/** Settles the flight, in the end also where this rejects. */
export async function askOrigin(asking: Asking, wish: Wish, flight: Flight<Shared>): Promise<Response> {
  const { origin } = asking;
  const { stored } = wish;
  const requestAt = Date.now();
  let response: Response;
  try {
    response = await origin(requestOf(asking, stored));
  } catch (thrown) {
    const instead = stored && standIn(asking, wish, stored, flight, 'error');
    if (instead !== undefined) return instead;
    if (stored?.mustRevalidate !== true) throw thrown;
    flight.settle({ kind: 'lost' });
    return notStored('The stored response must be validated, and the origin cannot be reached.', 'fwd=stale');
  }
  const times = { requestAt, responseAt: Date.now() };
  if (response.status >= 500 && response.status <= 504 && response.status !== 501) {
    const instead = stored && standIn(asking, wish, stored, flight, String(response.status));
    if (instead !== undefined) {
      await response.body?.cancel();
      return instead;
    }
    flight.settle({ kind: 'lost' });
    return told(response, `fwd=${wish.reason}; fwd-status=${response.status}`);
  }
  if (response.status === 304 && stored !== undefined) {
    if (speaksOf(response.headers, headersOf(stored.fields))) return renewed(asking, stored, response, times, flight);
    // It speaks of another response than the one that is stored.
    return askOrigin(asking, { ...wish, stored: undefined }, flight);
  }
  return received(asking, wish, response, times, flight);
}

/** Without a signal of the caller's: others wait for the answer as well. */
function requestOf({ exchange: { request, headers } }: Asking, stored: Entry | undefined): Request {
  const asked = stored === undefined ? withoutConditions(headers) : validating(headers, headersOf(stored.fields));
  return new Request(request, { headers: asked, signal: null });
}

/** RFC 5861, section 4. */
function standIn(
  { exchange }: Asking,
  { reason }: Wish,
  stored: Entry,
  flight: Flight<Shared>,
  status: string,
): Response | undefined {
  const now = Date.now();
  if (!standsIn(stored, now)) return undefined;
  flight.settle({ kind: 'done', value: { entry: stored, how: 'stand-in' } });
  return answerOf(stored, exchange, now, `hit; detail=stale-if-error; fwd=${reason}; fwd-status=${status}`);
}

const rulesOf = ({ plan, partition: { shared } }: Asking): StoringRules => ({ ...plan, shared });

/** Section 4.3.4. */
async function renewed(
  asking: Asking,
  stored: Entry,
  response: Response,
  times: Times,
  flight: Flight<Shared>,
): Promise<Response> {
  const fields = updatedFields(stored.fields, response.headers);
  const head = { status: stored.status, headers: headersOf(fields), fields };
  // Its age is told by this response, not by the fields that were stored.
  const age = response.headers.get('age');
  if (age !== null) head.headers.set('age', age);
  const made = await entryOf(asking, head, times);
  const entry = typeof made === 'string' ? { ...stored, fields } : { ...made, body: stored.body };
  if (typeof made === 'string') flight.settle({ kind: 'alone' });
  else store(asking, entry, flight);
  return answerOf(entry, asking.exchange, times.responseAt, 'fwd=stale; fwd-status=304; stored');
}

async function received(
  asking: Asking,
  wish: Wish,
  response: Response,
  times: Times,
  flight: Flight<Shared>,
): Promise<Response> {
  const { plan, key, exchange } = asking;
  const { status, headers, body } = response;
  const made = await entryOf(asking, { status, headers, fields: storedFields(headers) }, times);
  const declared = Number(headers.get('content-length') ?? Number.NaN);
  const refusal = typeof made === 'string' ? made : declared > plan.maxBytes ? 'too-large' : undefined;
  if (refusal !== undefined || typeof made === 'string') {
    notePass(key);
    flight.settle({ kind: 'alone' });
    return told(response, `fwd=${wish.reason}; detail=${refusal}`);
  }
  if (body === null) {
    const entry = { ...made, body: new Uint8Array(0) };
    store(asking, entry, flight);
    return answerOf(entry, exchange, times.responseAt, `fwd=${wish.reason}; stored`);
  }
  const [own, copy] = wish.background === true ? [undefined, body] : body.tee();
  const expected = headers.has('content-encoding') ? Number.NaN : declared;
  exchange.ctx.waitUntil(collected(asking, made, copy, expected, flight));
  const { fields } = made;
  const answer = new Response(own, { status, statusText: response.statusText, headers: headersOf(fields) });
  tell(answer.headers, `fwd=${wish.reason}; stored`);
  return answer;
}

/** Holds the body as it comes, and stores it once it is whole. */
async function collected(
  asking: Asking,
  made: Omit<Entry, 'body'>,
  stream: ReadableStream<Uint8Array>,
  expectedBytes: number,
  flight: Flight<Shared>,
): Promise<void> {
  try {
    const body = await readChunks(stream, asking.plan.maxBytes);
    if (body === undefined) {
      // This branch is given up; the caller's goes on.
      notePass(asking.key);
      return flight.settle({ kind: 'alone' });
    }
    // Section 3.3: a body that broke off is not the response.
    if (!Number.isNaN(expectedBytes) && body.byteLength !== expectedBytes) throw new Error('the body broke off');
    store(asking, { ...made, body }, flight);
  } catch {
    flight.settle({ kind: 'lost' });
  }
}

/** Who asks next must find it: in memory, or where it is too large for that in the Cache API. */
function store({ key, exchange: { ctx, headers } }: Asking, entry: Entry, flight: Flight<Shared>): void {
  passes.delete(key);
  const keeping = keep(key, entry, headers);
  const settle = (): void => flight.settle({ kind: 'done', value: { entry, how: 'asked' } });
  if (entry.body.byteLength < LIMITS.cacheMemoryEntryBytes / 2) settle();
  ctx.waitUntil(keeping.then(settle));
}

interface Head {
  readonly status: number;
  readonly headers: Headers;
  readonly fields: Fields;
}

/** All of an entry but its body, or why there is none. */
async function entryOf(
  asking: Asking,
  { status, headers, fields }: Head,
  times: Times,
): Promise<Omit<Entry, 'body'> | string> {
  const { exchange, address, directives: requested } = asking;
  const rules = rulesOf(asking);
  const directives = parseDirectives(headers.get('cache-control'));
  const asked = { directives: requested, hasCredentials: hasCredentials(exchange.headers) };
  const refusal = refusalOf(asked, status, headers, directives, rules);
  const vary = varyOf(headers);
  if (refusal !== undefined || vary === '*') return refusal ?? 'vary';
  const freshness = freshnessOf(headers, directives, times, rules);
  if (freshness === undefined) return 'no-lifetime';
  const tags = await tagsOf(asking, headers);
  if (tags === undefined) return 'tags';
  const dated = headers.has('date') ? fields : [...fields, ['date', new Date(times.responseAt).toUTCString()] as const];
  return {
    ...freshness,
    ...{ status, vary, address, fields: dated },
    selecting: selectingFields(vary, exchange.headers),
    scopes: scopesOf(exchange.target, address, tags),
    revision: exchange.configuration.revision,
  };
}

/** Those of the route and those that the origin names in `Cache-Tag`; undefined where a template fails. */
async function tagsOf({ plan, exchange, identity }: Asking, headers: Headers): Promise<readonly string[] | undefined> {
  const scope = { params: exchange.params, identity: { id: identity?.id, tenant: identity?.tenant } };
  let own: unknown;
  try {
    own = await plan.tags?.evaluate(scope);
  } catch (thrown) {
    // What cannot be purged is not stored.
    console.error(`the tags of ${exchange.target} cannot be told`, faultOf(thrown).message);
    return undefined;
  }
  const given = headers.get('cache-tag')?.split(',') ?? [];
  return [...(Array.isArray(own) ? own.map(String) : []), ...given]
    .map((tag) => tag.trim())
    .filter((tag) => tag !== '' && tag.length <= LIMITS.cacheTagCharacters)
    .slice(0, LIMITS.cacheTags);
}
