/** What a driver of Redis offers, whatever the way, and what the errors of Redis mean. */

import { fault, type ErrorCode, type Fault, type Result } from '../../core/errors.ts';
import type { Command } from './resp.ts';

export interface ReplyOptions {
  /** Values come as base64 in place of text; `OK` and numbers stay. */
  readonly binary?: boolean;
}

export interface PipelineOptions extends ReplyOptions {
  /** MULTI/EXEC: no other caller's command runs between, and none runs when one cannot be queued. */
  readonly atomic?: boolean;
}

/** A key that must not change until the transaction, and what a command must answer for it to take place. */
export interface Watched {
  readonly key: string;
  readonly command: Command;
  readonly equals: string | number | null;
}

/** Replies are JSON in the shapes of RESP2; an integer beyond 2^53 is a text. */
export interface RedisDriver {
  command(command: Command, options?: ReplyOptions): Promise<Result<unknown>>;
  /** The replies in order. A failure names the first command that failed; the others have run. */
  pipeline(commands: readonly Command[], options?: PipelineOptions): Promise<Result<readonly unknown[]>>;
  /** An atomic pipeline; undefined, and nothing of it has run, where what is watched was not or did not stay so. */
  transaction(
    watched: readonly Watched[],
    commands: readonly Command[],
  ): Promise<Result<readonly unknown[] | undefined>>;
}

/** By the first word of the error; anything else is a mistake of the command. */
const ERROR_WORDS: Readonly<Record<string, ErrorCode>> = {
  NOAUTH: 'upstream.unauthorized',
  WRONGPASS: 'upstream.unauthorized',
  NOPERM: 'upstream.unauthorized',
  LOADING: 'upstream.unavailable',
  BUSY: 'upstream.unavailable',
  CLUSTERDOWN: 'upstream.unavailable',
  MASTERDOWN: 'upstream.unavailable',
  TRYAGAIN: 'upstream.unavailable',
  READONLY: 'upstream.unavailable',
  MISCONF: 'upstream.unavailable',
  NOREPLICAS: 'upstream.unavailable',
  OOM: 'upstream.unavailable',
};

const wordOf = (error: string): string => /^[A-Z]+/.exec(error)?.[0] ?? '';

function codeOf(error: string): ErrorCode {
  if (/max (daily )?requests? limit exceeded/i.test(error)) return 'upstream.rate-limited';
  if (/max number of clients/i.test(error)) return 'upstream.unavailable';
  return ERROR_WORDS[wordOf(error)] ?? 'upstream.rejected';
}

/** `data.error` is the first word. */
export const redisFault = (error: string): Fault =>
  fault(codeOf(error), `Redis: ${error}`, { data: { error: wordOf(error) } });

/** Without the words of Redis, which may repeat what it was sent. */
export function greetingFault(error: string): Fault {
  const code = codeOf(error);
  if (code !== 'upstream.rejected') return fault(code, GREETINGS[code] ?? 'Redis is not available at the moment.');
  return /DB index|out of range/.test(error)
    ? fault('connection.invalid', '`url`: the server has no database of that number.')
    : fault('upstream.unauthorized', 'Redis did not take the login; check `user`, `password` and its version.');
}

const GREETINGS: Partial<Record<ErrorCode, string>> = {
  'upstream.unauthorized': 'Redis did not accept the credentials: check `user` and `password`.',
};

/** A reply in a list: what an author may read of a pipeline in which one failed. */
export type Outcome = { readonly result: unknown } | { readonly error: string };

/** The results, or the fault of the first command that failed. */
export function resultsOf(commands: readonly Command[], outcomes: readonly Outcome[]): Result<readonly unknown[]> {
  const results: unknown[] = [];
  for (const [index, outcome] of outcomes.entries()) {
    if ('error' in outcome) {
      const first = redisFault(outcome.error);
      const message = `Command ${index} (${String(commands[index]?.[0])}): ${first.message}`;
      return { ok: false, fault: { ...first, message, data: { command: index, replies: outcomes } } };
    }
    results.push(outcome.result);
  }
  return { ok: true, value: results };
}
