/** Data actions, called as the executor calls them: parameters parsed first, what is thrown made a fault. */

import { safeParse } from 'valibot';
import { expect } from 'vitest';
import { data } from '../../../src/connectors/data/index.ts';
import type { ActionContext } from '../../../src/connectors/kit/types.ts';
import { faultOf, type ErrorCode, type Fault, type Result } from '../../../src/core/errors.ts';

export const NOW_MILLISECONDS = Date.UTC(2026, 0, 2, 3, 4, 5);

export interface Credentials {
  readonly settings: unknown;
  readonly secrets: unknown;
}

export async function run(action: string, params: unknown, credentials?: Credentials): Promise<Result<unknown>> {
  const facts = data.actions[action];
  if (facts === undefined) throw new Error(`There is no action ${action}.`);
  const parsed = safeParse(facts.params, params);
  if (!parsed.success) throw new Error(`Not accepted: ${parsed.issues[0].message}`);
  const connection = { name: 'keys', ...(credentials ?? { settings: undefined, secrets: undefined }) };
  const context = { input: undefined, written: params, connection, now: () => NOW_MILLISECONDS };
  try {
    // Data actions look at nothing else of the context.
    return await facts.run(parsed.output, context as unknown as ActionContext);
  } catch (thrown) {
    return { ok: false, fault: faultOf(thrown) };
  }
}

/** The output as a chain sees it: through JSON. */
export async function outputOf(action: string, params: unknown, credentials?: Credentials): Promise<unknown> {
  const result = await run(action, params, credentials);
  if (!result.ok) throw new Error(`Expected a success, not ${result.fault.code}: ${result.fault.message}`);
  const output: unknown = JSON.parse(JSON.stringify(result.value));
  return output;
}

/** @param message what its message must say, so that a refusal for another reason does not pass */
export async function refusal(
  action: string,
  params: unknown,
  code: ErrorCode,
  message: RegExp,
  credentials?: Credentials,
): Promise<Fault> {
  const result = await run(action, params, credentials);
  if (result.ok) throw new Error(`Expected ${code}, not ${JSON.stringify(result.value)?.slice(0, 200)}`);
  expect(result.fault.code, result.fault.message).toBe(code);
  expect(result.fault.message).toMatch(message);
  return result.fault;
}

export const accepts = (action: string, params: unknown): boolean => {
  const facts = data.actions[action];
  return facts !== undefined && safeParse(facts.params, params).success;
};
