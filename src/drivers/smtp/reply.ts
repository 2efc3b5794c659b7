/** Replies of a server (RFC 5321, section 4.2; RFC 3463), and what a refusal means. */

import { fault, type ErrorCode, type Fault } from '../../core/errors.ts';

export interface Reply {
  readonly code: number;
  /** RFC 3463, e.g. `5.1.1`. */
  readonly status: string | undefined;
  /** Without codes; with control characters made spaces. */
  readonly lines: readonly string[];
}

const LINE = /^([2-5]\d\d)(?:([ -])(.*))?$/s;
const STATUS = /^([245]\.\d{1,3}\.\d{1,3})(?: |$)/;
const SHOWN_CHARACTERS = 500;

/** Whether it is the last line of a reply; undefined for what is no line of one. */
export function isLastLine(line: string): boolean | undefined {
  const match = LINE.exec(line);
  return match === null ? undefined : match[2] !== '-';
}

/** @param lines of which the last one alone is a last line */
export function replyOf(lines: readonly string[]): Reply {
  const texts = lines.map((line) => (LINE.exec(line)?.[3] ?? '').replace(/\p{Cc}/gu, ' '));
  const status = STATUS.exec(texts.at(-1) ?? '')?.[1];
  return { code: Number(lines.at(-1)?.slice(0, 3)), status, lines: texts };
}

export const isPositive = ({ code }: Reply): boolean => code >= 200 && code < 400;

/** The code, and the text without the status that each of its lines repeats. */
export function shownReply({ code, lines }: Reply): string {
  const text = lines.map((line) => line.replace(STATUS, '').trim()).join(' ');
  return `${code} ${text}`.trim().slice(0, SHOWN_CHARACTERS);
}

/** Wants a login, or a better one (RFC 4954, section 6). */
const LOGIN_CODES: ReadonlySet<number> = new Set([530, 534, 535, 538]);

/**
 * What a refusal means: 4xx may pass, 5xx does not.
 * @param asked what was asked for, e.g. `the sender`
 * @param quoted whether its text may be shown; that of a login might repeat the credentials
 */
export function refusalFault(host: string, reply: Reply, asked: string, quoted = true): Fault {
  const said = quoted ? shownReply(reply) : `${reply.code} ${reply.status ?? ''}`.trim();
  const data = { code: reply.code, ...(reply.status !== undefined && { status: reply.status }) };
  return fault(refusalCode(reply), `${host} refused ${asked}: ${said}`, { data });
}

function refusalCode({ code, status = '' }: Reply): ErrorCode {
  if (LOGIN_CODES.has(code)) return 'upstream.unauthorized';
  if (code >= 500) return 'upstream.rejected';
  // RFC 3463: other or undefined security status, which providers use for "too much, too fast".
  if (/^4\.7\.(?:0|1|28)$/.test(status) && code !== 454) return 'upstream.rate-limited';
  return code >= 400 ? 'upstream.unavailable' : 'upstream.invalid';
}
