import { expect, it } from 'vitest';
import { fault, type ErrorCode } from '../../src/core/errors.ts';
import { callOutcomeOf } from '../../src/runtime/providers.ts';

it.each<[ErrorCode, string]>([
  ['upstream.unreachable', 'failed'],
  ['upstream.unavailable', 'failed'],
  ['upstream.rate-limited', 'failed'],
  ['step.timeout', 'failed'],
  ['upstream.rejected', 'succeeded'],
  ['upstream.unauthorized', 'succeeded'],
  ['upstream.invalid', 'succeeded'],
  ['upstream.too-large', 'succeeded'],
  ['expression.missing', 'unknown'],
  ['step.params', 'unknown'],
  ['egress.refused', 'unknown'],
  ['connection.not-found', 'unknown'],
  ['storage.unavailable', 'unknown'],
  ['internal.unexpected', 'unknown'],
  ['run.cancelled', 'unknown'],
])('%s says of the provider: %s', (code, kind) => {
  expect(callOutcomeOf({ kind: 'failed', fault: fault(code, 'It failed.') }).kind).toBe(kind);
});

it('what a provider asks for reaches its breaker', () => {
  const limited = fault('upstream.rate-limited', 'Too many.', { retryAfterMilliseconds: 7_000 });
  expect(callOutcomeOf({ kind: 'failed', fault: limited })).toEqual({ kind: 'failed', retryAfterMilliseconds: 7_000 });
});

it('a step that was skipped says nothing of its provider', () => {
  expect(callOutcomeOf({ kind: 'skipped' }).kind).toBe('unknown');
});
