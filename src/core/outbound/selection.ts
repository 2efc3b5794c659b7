/** Which messages an endpoint gets, and in which form: event types, channels, filter and transformation. */

import type { EndpointSettings } from './settings.ts';
import { compileTemplate, type Template } from '../expression/index.ts';
import { fail, faultOf, ok, type Issue, type Result } from '../errors.ts';
import { isObject } from '../json.ts';

/** What filters and transformations see as their roots. */
export interface MessageScope {
  readonly id: string;
  readonly eventType: string;
  readonly payload: unknown;
  readonly channels: readonly string[];
  /** ISO 8601. */
  readonly createdAt: string;
}

/** An endpoint's part in {@link EndpointSettings}, compiled once. */
export interface Selection {
  /** Whether a message is for the endpoint. Never rejects. */
  wants(message: MessageScope): Promise<boolean>;
  /** The payload as this endpoint gets it. A fault where the transformation fails. */
  transform(message: MessageScope): Promise<Result<unknown>>;
}

const ONE_EXPRESSION = /^\{\{[^]*\}\}$/;

/** Fault `endpoint.invalid` for expressions that cannot be read. */
export function compileSelection(
  settings: Pick<EndpointSettings, 'eventTypes' | 'channels' | 'filter' | 'transformation'>,
): Result<Selection> {
  const issues: Issue[] = [];
  const { eventTypes, channels } = settings;
  if (settings.filter !== null && !ONE_EXPRESSION.test(settings.filter.trim())) {
    issues.push({ path: 'filter', message: 'Write one expression, such as {{ payload.total > 100 }}.' });
  }
  const filter = compile(settings.filter?.trim() ?? null, 'filter', issues);
  const transformation = compile(settings.transformation, 'transformation', issues);
  if (issues.length > 0) {
    const [first] = issues;
    return fail('endpoint.invalid', `${first?.path}: ${first?.message}`, { issues });
  }
  return ok({
    async wants(message) {
      if (eventTypes?.includes(message.eventType) === false) return false;
      if (channels?.some((channel) => message.channels.includes(channel)) === false) return false;
      return filter === undefined || (await holds(filter, message));
    },
    async transform(message) {
      if (transformation === undefined) return ok(message.payload);
      try {
        return ok(await transformation.evaluate({ ...message }));
      } catch (thrown) {
        const { message: words, detail } = faultOf(thrown);
        return fail('endpoint.transformation', `The transformation failed: ${words}`, { detail });
      }
    },
  });
}

function compile(value: unknown, path: string, issues: Issue[]): Template | undefined {
  if (value === null) return undefined;
  const compiled = compileTemplate(value, path);
  if (compiled.ok) return compiled.value;
  issues.push(...(compiled.fault.issues ?? [{ path, message: compiled.fault.message }]));
  return undefined;
}

/** A value that is missing is not what the filter asks for. A filter that fails otherwise loses no message. */
async function holds(filter: Template, message: MessageScope): Promise<boolean> {
  try {
    const value = await filter.evaluate({ ...message });
    if (Array.isArray(value)) return value.some(Boolean);
    return isObject(value) ? Object.keys(value).length > 0 : Boolean(value);
  } catch (thrown) {
    return faultOf(thrown).code !== 'expression.missing';
  }
}
