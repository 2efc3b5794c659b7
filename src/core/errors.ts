/**
 * Every failure that a user can see, in one table.
 *
 * An expected failure is a value: {@link Fault}, carried by {@link Result}. `FaultError` wraps a
 * fault only where a value cannot travel (inside an expression, a library's callback); whoever
 * calls such code turns it back with {@link faultOf}. Any other exception is a bug.
 * The wire form is RFC 9457 problem JSON, made once by {@link toProblem}.
 */

/** `status`: HTTP status; `retryable`: whether the same request may succeed later. */
interface ErrorFacts {
  readonly status: number;
  readonly title: string;
  readonly retryable: boolean;
}

const terminal = (status: number, title: string): ErrorFacts => ({ status, title, retryable: false });
const retryable = (status: number, title: string): ErrorFacts => ({ status, title, retryable: true });

export const ERRORS = {
  'request.invalid': terminal(400, 'The request is not valid'),
  'request.too-large': terminal(413, 'The request body is too large'),
  'request.media-type': terminal(415, 'The content type is not supported'),
  'request.not-found': terminal(404, 'There is nothing at this address'),
  'request.method': terminal(405, 'This address does not take that method'),
  'request.loop': terminal(508, 'The request comes back to the gateway again and again'),
  'auth.missing': terminal(401, 'A credential is required'),
  'auth.invalid': terminal(401, 'The credential is not valid'),
  'auth.limited': retryable(429, 'Too many wrong credentials came from there'),
  'auth.forbidden': terminal(403, 'The credential does not allow this'),
  'auth.closed': terminal(503, 'The management API is closed'),
  'auth.unavailable': retryable(503, 'The credential cannot be verified at the moment'),

  'limit.exceeded': retryable(429, 'Too many requests'),
  'limit.unavailable': retryable(503, 'The limits cannot be checked'),
  'quota.exceeded': retryable(429, 'The quota is used up'),
  'concurrency.exceeded': retryable(429, 'Too many requests at a time'),

  'chain.invalid': terminal(422, 'The chain document is not valid'),
  'chain.not-found': terminal(404, 'There is no such chain'),
  'route.invalid': terminal(422, 'The route is not valid'),
  'route.not-found': terminal(404, 'There is no such route'),
  'route.taken': terminal(409, 'Another route answers these requests'),
  'route.failed': terminal(502, 'The route could not make its request or reply'),
  'upstream.malformed': terminal(422, 'The upstream is not valid'),
  'upstream.not-found': terminal(404, 'There is no such upstream'),
  'version.unknown': terminal(400, 'There is no such version'),
  'version.gone': terminal(410, 'The version has ended'),
  'chain.route-taken': terminal(409, 'Another chain answers this route'),
  'chain.version-not-found': terminal(404, 'There is no such version of the chain'),
  'chain.no-previous': terminal(409, 'There is no earlier version to go back to'),
  'canary.not-found': terminal(404, 'The chain has no canary'),
  'canary.refused': terminal(409, 'The version cannot be a canary'),
  'input.invalid': terminal(400, 'The input does not match the schema of the chain'),
  'data.invalid': terminal(422, 'The data does not match the schema of the step'),
  'data.malformed': terminal(422, 'The data is not what its format or type asks for'),
  'data.too-large': terminal(413, 'The data is larger than the step takes or makes'),
  'data.unverified': terminal(422, 'The token could not be verified or decrypted'),

  'expression.syntax': terminal(422, 'The expression cannot be read'),
  'expression.failed': terminal(500, 'The expression failed'),
  'expression.missing': terminal(500, 'A referenced value is missing'),
  'expression.bounds': terminal(500, 'The expression exceeded a bound'),

  'step.failed': terminal(500, 'The step failed'),
  'step.params': terminal(500, 'The parameters of the step are not valid'),
  'step.timeout': retryable(504, 'The step took too long'),
  'step.interrupted': retryable(500, 'The gateway stopped during the attempt'),
  'step.ambiguous': terminal(500, 'It is unknown whether the step took effect'),
  'step.output-too-large': terminal(500, 'The output of the step is too large'),
  'step.items-failed': terminal(500, 'Items of the step failed'),
  'each.undeliverable': terminal(500, 'The items could not be handed over'),
  'wait.timeout': terminal(504, 'What the step waited for did not come'),
  'call.failed': terminal(500, 'The called chain failed'),
  'call.depth': terminal(500, 'Chains call each other too deep'),
  'run.failed': terminal(500, 'The chain ended the run'),
  'run.timeout': terminal(504, 'The run took too long'),
  'run.cancelled': terminal(409, 'The run was cancelled'),
  'run.dropped': retryable(429, 'The chain has as many runs as it may have'),
  'run.superseded': terminal(409, 'A newer run took the place of the run'),
  'run.not-found': terminal(404, 'There is no such run'),
  'run.ended': terminal(409, 'The run has already ended'),
  'run.not-failed': terminal(409, 'Only a run that failed can be retried'),
  'run.busy': retryable(429, 'Too many runs are waiting'),

  'upstream.unreachable': retryable(502, 'The upstream could not be reached'),
  'upstream.timeout': retryable(504, 'The upstream took too long'),
  'upstream.rejected': terminal(502, 'The upstream refused the request'),
  'upstream.unavailable': retryable(502, 'The upstream is not available'),
  'upstream.rate-limited': retryable(502, 'The upstream limits the rate of requests'),
  'upstream.unauthorized': terminal(502, 'The upstream did not accept the credentials'),
  'upstream.invalid': terminal(502, 'The upstream sent something that cannot be read'),
  'upstream.too-large': terminal(502, 'The upstream sent too much'),
  'egress.refused': terminal(403, 'The outgoing address is not allowed'),

  'connection.not-found': terminal(404, 'There is no such connection'),
  'connection.invalid': terminal(422, 'The connection is not valid'),
  'connection.unauthorized': terminal(409, 'The connection has to be authorized'),
  'oauth.failed': terminal(502, 'The authorization server refused'),
  'oauth.unavailable': retryable(502, 'The authorization server is not able to give a token now'),
  'oauth.state': terminal(400, 'The authorization cannot be completed'),
  'connection.tenant': terminal(403, 'The caller acts for no tenant'),
  'connection.disabled': terminal(503, 'The connection is switched off'),
  'connection.incomplete': terminal(409, 'The connection has no secrets yet'),
  'connector.not-found': terminal(404, 'There is no such connector'),
  'rotation.not-needed': terminal(409, 'There is nothing to rotate to'),
  'vault.closed': terminal(503, 'The vault has no usable master key'),
  'vault.unreadable': terminal(500, 'The secrets of the connection cannot be decrypted'),

  'subscription.not-found': terminal(404, 'There is no such subscription'),
  'subscription.ended': terminal(410, 'The other side has ended the subscription'),
  'source.not-found': terminal(404, 'There is no such webhook source'),
  'source.invalid': terminal(422, 'The webhook source is not valid'),
  'webhook.unverified': terminal(401, 'The webhook could not be verified'),
  'event.not-found': terminal(404, 'There is no such event'),
  'event.rejected': terminal(409, 'A delivery that was refused starts no run'),
  'event.unwanted': terminal(409, 'No chain wants the event'),
  'inbox.busy': retryable(429, 'Too many clients listen'),

  'application.not-found': terminal(404, 'There is no such application'),
  'application.taken': terminal(409, 'Another application has this uid'),
  'event-type.not-found': terminal(404, 'There is no such event type'),
  'event-type.invalid': terminal(422, 'The event type is not valid'),
  'event-type.archived': terminal(422, 'The event type is archived'),
  'endpoint.not-found': terminal(404, 'There is no such endpoint'),
  'endpoint.invalid': terminal(422, 'The endpoint is not valid'),
  'endpoint.too-many': terminal(409, 'The application has as many endpoints as it may have'),
  'endpoint.disabled': terminal(409, 'The endpoint is disabled'),
  'endpoint.transformation': retryable(500, 'The transformation of the endpoint failed'),
  'message.not-found': terminal(404, 'There is no such message'),
  'message.invalid': terminal(422, 'The message is not valid'),

  'key.not-found': terminal(404, 'There is no such key'),
  'cache.not-stored': terminal(504, 'The cache has no response that may be used'),
  'idempotency.missing': terminal(400, 'An idempotency key is required'),
  'idempotency.running': retryable(409, 'The first request with this idempotency key is not done'),
  'idempotency.mismatch': terminal(422, 'The idempotency key belongs to another request'),
  'idempotency.not-kept': terminal(409, 'The request was carried out, but its response is not kept'),
  'token.not-found': terminal(404, 'There is no such management token'),
  'person.not-found': terminal(404, 'There is no such person'),
  'person.taken': terminal(409, 'This person has a role already'),
  'storage.unavailable': retryable(503, 'The storage did not answer'),
  'internal.unexpected': retryable(500, 'Something unexpected happened'),
} as const satisfies Record<string, ErrorFacts>;

export type ErrorCode = keyof typeof ERRORS;

/** One mistake in a document or request: where it is, what is wrong and what would be right. */
export interface Issue {
  /** A path in dotted form, e.g. `steps.order.with.sql`; empty for the whole. */
  readonly path: string;
  readonly message: string;
}

/** A failure as a value. Everything but `detail` may be shown to whoever made the request. */
export interface Fault {
  readonly code: ErrorCode;
  /** A sentence for the reader: what happened and, where known, how to mend it. Never a secret. */
  readonly message: string;
  readonly retryable: boolean;
  /** What the other side asked for, in milliseconds (`Retry-After`). */
  readonly retryAfterMilliseconds?: number;
  /** HTTP status where it differs from the code's own. */
  readonly status?: number;
  /** `WWW-Authenticate`, where it is not plain `Bearer`. */
  readonly challenge?: string;
  /** The methods that the address takes (`Allow`), for `request.method`. */
  readonly allow?: readonly string[];
  readonly issues?: readonly Issue[];
  /** For the operator's log only. Never sent to a caller. */
  readonly detail?: unknown;
  /** What a chain's author may read of the failure, e.g. the status and body of an upstream's reply. */
  readonly data?: unknown;
}

export type Result<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly fault: Fault };

type FaultExtra = Partial<Omit<Fault, 'code' | 'message'>>;

export const fault = (code: ErrorCode, message: string, extra?: FaultExtra): Fault => ({
  code,
  message,
  retryable: ERRORS[code].retryable,
  ...extra,
});

export const ok = <T>(value: T): Result<T> => ({ ok: true, value });

export const fail = (code: ErrorCode, message: string, extra?: FaultExtra): { ok: false; fault: Fault } => ({
  ok: false,
  fault: fault(code, message, extra),
});

/** A fault on its way through code that can only throw. */
export class FaultError extends Error {
  readonly fault: Fault;
  constructor(value: Fault) {
    super(value.message);
    this.name = 'FaultError';
    this.fault = value;
  }
}

/** The fault inside anything that was thrown; an unknown exception becomes `internal.unexpected`. */
export function faultOf(thrown: unknown): Fault {
  if (thrown instanceof FaultError) return thrown.fault;
  return fault('internal.unexpected', 'Something unexpected happened.', { detail: thrown });
}

/** The problem document of RFC 9457, section 3. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly code: ErrorCode;
  readonly detail: string;
  readonly errors?: readonly Issue[];
}

export function toProblem(value: Fault): Problem {
  const facts = ERRORS[value.code];
  return {
    type: `https://tidegate.dev/problems/${value.code}`,
    title: facts.title,
    status: value.status ?? facts.status,
    code: value.code,
    detail: value.message,
    ...(value.issues === undefined ? {} : { errors: value.issues }),
  };
}

/** The answer to a caller: problem JSON with its status, `Retry-After`, `Allow` and, for 401, `WWW-Authenticate`. */
export function problemResponse(value: Fault, more?: Record<string, unknown>): Response {
  const problem = toProblem(value);
  const headers: Record<string, string> = { 'content-type': 'application/problem+json' };
  if (value.retryAfterMilliseconds !== undefined) {
    headers['retry-after'] = String(Math.ceil(value.retryAfterMilliseconds / 1000));
  }
  const challenge = value.challenge ?? (problem.status === 401 ? 'Bearer' : undefined);
  if (challenge !== undefined) headers['www-authenticate'] = challenge;
  if (value.allow !== undefined) headers['allow'] = value.allow.join(', ');
  return new Response(JSON.stringify({ ...problem, ...more }), { status: problem.status, headers });
}
