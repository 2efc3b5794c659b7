/**
 * `http.events`: a stream of server-sent events, or of JSON lines, as a source.
 *
 * Guarantee: it goes on at `Last-Event-ID`, so that a server which honours that repeats what was lost on the way; an
 * event is never larger in memory than its bound; a stream that is silent for too long counts as lost.
 * Accepted weakness: what a server sends without ids, or while nobody listens and it keeps nothing, is gone.
 */

import * as v from 'valibot';
import { outgoing, type HttpContext } from './outgoing.ts';
import { headersField, httpSecrets, httpSettings, queryField, urlField } from './schemas.ts';
import {
  defineSubscription,
  type SubscribedEvent,
  type SubscriptionContext,
  type SubscriptionEnd,
} from '../kit/types.ts';
import { DURATION, formatDuration, parseDuration } from '../../core/chain/duration.ts';
import { parseJson } from '../../core/data/exact-json.ts';
import { fail, fault, FaultError, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { EventStreamParser } from '../../core/stream/event-stream.ts';
import { LineParser } from '../../core/stream/line-stream.ts';
import { hostOf } from '../../core/url.ts';
import { interrupted, openRequest, type HttpRequest, type OpenReply } from '../../drivers/http/request.ts';
import { statusFault } from '../../drivers/http/status.ts';

const silenceOf = (text: string): number => parseDuration(text) ?? 0;

const params = v.strictObject({
  url: urlField,
  query: queryField,
  headers: headersField,
  format: v.optional(
    v.pipe(
      v.picklist(['events', 'lines']),
      v.description('`events`: server-sent events (text/event-stream); `lines`: one JSON value on each line.'),
    ),
    'events',
  ),
  parse: v.optional(
    v.pipe(v.picklist(['auto', 'text']), v.description('`auto`: data that is JSON is read; `text`: none is.')),
    'auto',
  ),
  silence: v.optional(
    v.pipe(
      v.string(),
      v.regex(DURATION),
      v.check(
        (text) =>
          silenceOf(text) >= LIMITS.streamSilenceLeastMilliseconds &&
          silenceOf(text) <= LIMITS.streamSilenceLongestMilliseconds,
        `Must be from ${formatDuration(LIMITS.streamSilenceLeastMilliseconds)} to ${formatDuration(LIMITS.streamSilenceLongestMilliseconds)}.`,
      ),
      v.examples(['90s']),
      v.description('A stream from which nothing comes for so long, not even a comment, is opened again.'),
    ),
    formatDuration(LIMITS.streamSilenceMilliseconds),
  ),
});

type Params = v.InferOutput<typeof params>;
type Context = SubscriptionContext<HttpContext['connection']['settings'], HttpContext['connection']['secrets']>;

/** For the types only: a subscription may name no connection. */
const maybe = { settings: v.optional(httpSettings), secrets: v.optional(httpSecrets) };

interface Format {
  readonly accept: string;
  readonly contentType: RegExp;
  reader(params: Params, cursor: string | undefined): StreamReader;
}

/** Makes events of pieces of text. */
interface StreamReader {
  push(text: string): SubscribedEvent[];
  end(): SubscribedEvent[];
  held(): number;
  retry(): number | undefined;
}

const FORMATS: Readonly<Record<Params['format'], Format>> = {
  events: {
    accept: 'text/event-stream',
    contentType: /^text\/event-stream\s*(?:;|$)/i,
    reader: ({ parse }, cursor) => {
      const parser = new EventStreamParser(cursor);
      return {
        push: (text) =>
          parser.push(text).map(({ type, data, id, lastId }) => ({
            body: bodyOf(data, parse),
            headers: { event: type, ...(id !== undefined && { id }) },
            ...(id !== undefined && { id }),
            cursor: lastId,
          })),
        // An event that nothing ends is none: section 9.2.6.
        end: () => [],
        held: () => parser.heldCharacters,
        retry: () => parser.retryMilliseconds,
      };
    },
  },
  lines: {
    accept: 'application/x-ndjson, application/jsonl, application/json',
    contentType:
      /^(?:application\/(?:[\w.+-]+\+)?(?:x-ndjson|ndjson|x-jsonlines|jsonlines|jsonl|json|stream\+json)|text\/plain)\s*(?:;|$)/i,
    reader: ({ parse }) => {
      const parser = new LineParser();
      const events = (lines: readonly string[]) => lines.map((line) => ({ body: bodyOf(line, parse) }));
      return {
        push: (text) => events(parser.push(text)),
        end: () => events(parser.end()),
        held: () => parser.heldCharacters,
        retry: () => undefined,
      };
    },
  },
};

function bodyOf(data: string, parse: Params['parse']): unknown {
  if (parse === 'text') return data;
  const read = parseJson(data, 'last');
  return read.ok ? read.value : data;
}

export const events = defineSubscription(
  {
    title: 'Follow a stream of events',
    delivery: 'at-least-once',
    params,
    example: { url: 'https://api.example.com/events' },
    run: follow,
  },
  maybe,
);

async function follow(given: Params, context: Context): Promise<Result<SubscriptionEnd | void>> {
  const format = FORMATS[given.format];
  const lost = new Watch(context.signal);
  try {
    lost.within(LIMITS.streamHeadersMilliseconds, 'sent no headers');
    const opened = await open(given, format, context, lost.signal);
    if (!opened.ok) return context.signal.aborted ? ok(undefined) : opened;
    const { reply, host } = opened.value;
    if (reply.status === 204) {
      return fail('subscription.ended', `${host} answered with 204: it has no more events.`);
    }
    const wrong = unreadable(reply, host, format, context.now());
    if (wrong !== undefined) {
      await reply.stream?.cancel().catch(() => undefined);
      return wrong;
    }
    context.ready();
    return await readAll(reply.stream, host, format.reader(given, context.cursor), { given, context, lost });
  } finally {
    lost.end();
  }
}

async function open(
  { url, query, headers }: Params,
  format: Format,
  { connection, cursor, fetch }: Context,
  signal: AbortSignal,
): Promise<Result<{ readonly reply: OpenReply; readonly host: string }>> {
  const own = {
    accept: format.accept,
    'cache-control': 'no-store',
    ...(cursor !== undefined && cursor !== '' && format === FORMATS.events && { 'last-event-id': cursor }),
  };
  const asked = { url, ...(query !== undefined && { query }), headers: { ...own, ...headers } };
  const prepared = outgoing('GET', asked, { connection, idempotencyKey: '', signal });
  if (!prepared.ok) return prepared;
  const request: HttpRequest = { ...prepared.value, readAs: () => 'text' };
  const reply = await authorized(connection.tokens, request, (each) => openRequest(fetch, each, 'any'));
  return reply.ok ? ok({ reply: reply.value, host: hostOf(request.url) }) : reply;
}

/** A 401 brings about one refresh and one repetition. */
async function authorized(
  tokens: Context['connection']['tokens'],
  request: HttpRequest,
  send: (request: HttpRequest) => Promise<Result<OpenReply>>,
): Promise<Result<OpenReply>> {
  if (tokens === undefined) return send(request);
  const withToken = (token: string) =>
    send({ ...request, headers: { ...request.headers, authorization: `Bearer ${token}` } });
  const first = await tokens.get();
  if (!first.ok) return first;
  const reply = await withToken(first.value.token);
  if (!reply.ok || reply.value.status !== 401) return reply;
  const other = await tokens.get(first.value);
  if (!other.ok) return other;
  return other.value.generation === first.value.generation ? reply : withToken(other.value.token);
}

function unreadable(reply: OpenReply, host: string, format: Format, now: number): Result<never> | undefined {
  const { status, contentType, headers } = reply;
  if (status >= 300 && status < 400) {
    // Its path or query may repeat a credential.
    const to = URL.parse(headers.get('location') ?? '')?.host ?? 'another address';
    return fail('upstream.rejected', `${host} redirects to ${to}; subscribe to what is there.`);
  }
  if (status < 200 || status >= 300) return { ok: false, fault: statusFault(reply, host, now, reply.body) };
  if (contentType !== null && format.contentType.test(contentType)) return undefined;
  const type = contentType?.slice(0, 100) ?? 'no content type';
  return fail('upstream.invalid', `${host} answered with ${type}, not with ${format.accept}.`);
}

interface Reading {
  readonly given: Params;
  readonly context: Context;
  readonly lost: Watch;
}

async function readAll(
  stream: ReadableStream<Uint8Array> | undefined,
  host: string,
  reader: StreamReader,
  { given, context, lost }: Reading,
): Promise<Result<SubscriptionEnd | void>> {
  const source = stream?.getReader();
  const decoder = new TextDecoder();
  const retry = () => {
    const asked = reader.retry();
    return asked === undefined
      ? {}
      : { retryAfterMilliseconds: Math.min(asked, LIMITS.subscriptionRetryAskedLongestMilliseconds) };
  };
  try {
    for (;;) {
      lost.within(silenceOf(given.silence), 'was silent for too long');
      const next = await Promise.race([source?.read(), lost.over]);
      lost.pause();
      const isOver = next?.value === undefined;
      const events = isOver ? reader.end() : reader.push(decoder.decode(next.value, { stream: true }));
      if (events.length > 0) await context.deliver(events);
      if (isOver) return ok(retry());
      if (reader.held() > LIMITS.subscriptionEventBytes) {
        return fail('upstream.too-large', `${host} sent an event of more than ${LIMITS.subscriptionEventBytes} bytes.`);
      }
    }
  } catch (thrown) {
    if (context.signal.aborted) return ok(undefined);
    const ended =
      thrown instanceof FaultError
        ? { ok: false as const, fault: thrown.fault }
        : interrupted(thrown, lost.signal, host);
    return ended.ok ? ended : { ok: false, fault: { ...retry(), ...ended.fault } };
  } finally {
    await source?.cancel().catch(() => undefined);
  }
}

/** Ends the traffic with the subscription, or when nothing has come for too long. */
class Watch {
  readonly signal: AbortSignal;
  /** Rejects then. */
  readonly over: Promise<never>;
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #reject: (reason: unknown) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(outer: AbortSignal) {
    this.signal = this.#controller.signal;
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => undefined);
    this.over = promise;
    this.#reject = reject;
    this.#outer = outer;
    if (outer.aborted) this.#abort(outer.reason);
    outer.addEventListener('abort', this.#outerAborted);
  }

  /** @param what the other side did, in the words of the fault */
  within(milliseconds: number, what: string): void {
    this.pause();
    const late = fault('upstream.timeout', `The other side ${what} (${formatDuration(milliseconds)}).`);
    this.#timer = setTimeout(() => this.#abort(new FaultError(late)), milliseconds);
  }

  pause(): void {
    clearTimeout(this.#timer);
  }

  end(): void {
    this.pause();
    this.#outer.removeEventListener('abort', this.#outerAborted);
  }

  readonly #outerAborted = (): void => this.#abort(this.#outer.reason);

  #abort(reason: unknown): void {
    this.#reject(reason);
    this.#controller.abort(reason);
  }
}
