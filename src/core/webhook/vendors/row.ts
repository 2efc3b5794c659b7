/** A row of the tables: what a source's settings make of a scheme. */

import * as v from 'valibot';
import type { KeyForm, Place, Scheme, TimestampPlace } from '../scheme.ts';
import type { AlgorithmName } from '../algorithms.ts';
import type { Encoding } from '../encoding.ts';
import { fail, ok, type Issue, type Result } from '../../errors.ts';
import { isObject } from '../../json.ts';
import { LIMITS } from '../../limits.ts';

export interface SchemeRow {
  readonly title: string;
  /** Absent where the scheme takes none. */
  readonly settings?: v.GenericSchema;
  /** Settings that fit, for the documentation. */
  readonly example?: Readonly<Record<string, unknown>>;
  /** Fault `source.invalid` with one issue for each mistake. */
  schemeFor(settings: unknown): Result<Scheme>;
}

export const withoutSettings = (scheme: Scheme): SchemeRow => ({
  title: scheme.title,
  schemeFor: (settings) =>
    settings === undefined || settings === null || (isObject(settings) && Object.keys(settings).length === 0)
      ? ok(scheme)
      : fail('source.invalid', `settings: ${scheme.title} takes no settings; remove them.`),
});

/** @param make fault, or the issues of what a schema cannot tell */
export const withSettings = <S extends v.GenericSchema>(
  title: string,
  settings: S,
  example: v.InferInput<S> & Readonly<Record<string, unknown>>,
  make: (settings: v.InferOutput<S>) => Scheme | Issue,
): SchemeRow => ({
  title,
  settings,
  example,
  schemeFor(given) {
    const parsed = v.safeParse(settings, given ?? {});
    if (!parsed.success) {
      return refuse(
        parsed.issues.map((issue) => ({
          path: ['settings', ...(issue.path ?? []).map((item) => String(item.key))].join('.'),
          message: issue.message,
        })),
      );
    }
    const made = make(parsed.output);
    return 'message' in made ? refuse([made]) : ok(made);
  },
});

const refuse = (issues: readonly Issue[]): Result<never> =>
  fail('source.invalid', issues.map(({ path, message }) => `${path}: ${message}`).join(' '), { issues });

export const TOLERANCE_SECONDS = LIMITS.webhookToleranceSeconds;

/** The characters of the secret are the key, which is what most vendors do. */
export const textKey = (algorithm: AlgorithmName, encoding: Encoding, prefix = ''): KeyForm => ({
  algorithm,
  prefix,
  encoding,
  secret: { encoding: 'text' },
});

export const hexHmac = (prefix = ''): KeyForm => textKey('hmac-sha256', 'hex', prefix);
export const base64Hmac = (prefix = ''): KeyForm => textKey('hmac-sha256', 'base64', prefix);

export const header = (...headers: readonly string[]): Place => ({ headers });

/** @param toleranceSeconds absent where the vendor states no window */
export const timeIn = (
  from: TimestampPlace['from'],
  unit: TimestampPlace['unit'],
  toleranceSeconds?: number,
): TimestampPlace => ({ from, unit, ...(toleranceSeconds !== undefined && { toleranceSeconds }) });

/** Nothing but the body, which is all that is signed. */
export const BODY_HASH = { from: 'content' } as const;
export const EMPTY_REPLY = { status: 200 } as const;
