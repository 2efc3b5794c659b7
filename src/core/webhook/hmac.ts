/** The scheme `hmac`: any sender that signs with an HMAC, described by the settings of its source. */

import * as v from 'valibot';
import type { Scheme } from './scheme.ts';
import { fail, ok, type Result } from '../errors.ts';
import { LIMITS } from '../limits.ts';

const LONGEST_TOLERANCE_SECONDS = 24 * 3_600;

const headerName = v.pipe(
  v.string(),
  v.regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'Must be the name of a header, such as X-Signature.'),
);

export const hmacSettings = v.strictObject({
  header: v.pipe(headerName, v.description('The header that carries the signature.')),
  algorithm: v.picklist(['sha256', 'sha1', 'sha512']),
  encoding: v.picklist(['hex', 'base64']),
  prefix: v.optional(v.pipe(v.string(), v.maxLength(64), v.description('What stands before it, e.g. "sha256=".')), ''),
  content: v.optional(
    v.pipe(v.string(), v.maxLength(256), v.description('What is signed, e.g. "{timestamp}.{body}".')),
    '{body}',
  ),
  timestampHeader: v.optional(v.pipe(headerName, v.description('The header of the signed unix time in seconds.'))),
  toleranceSeconds: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LONGEST_TOLERANCE_SECONDS))),
  eventHeader: v.optional(v.pipe(headerName, v.description('The header that names the type of the event.'))),
});

export type HmacSettings = v.InferOutput<typeof hmacSettings>;

/** Fault `source.invalid` with one issue for each mistake. */
export function hmacScheme(settings: unknown): Result<Scheme> {
  const parsed = v.safeParse(hmacSettings, settings ?? {});
  if (!parsed.success) {
    return refuse(
      parsed.issues.map((issue) => ({
        path: ['settings', ...(issue.path ?? []).map((item) => String(item.key))].join('.'),
        message: issue.message,
      })),
    );
  }
  const given = parsed.output;
  const mistake = mistakeIn(given);
  if (mistake !== undefined) return refuse([mistake]);
  const { timestampHeader, eventHeader } = given;
  return ok({
    title: 'HMAC',
    signatureHeaders: [given.header],
    keys: [
      {
        algorithm: `hmac-${given.algorithm}`,
        prefix: given.prefix,
        encoding: given.encoding,
        secret: { encoding: 'text' },
      },
    ],
    content: given.content,
    deliveryId: { from: 'content' },
    ...(timestampHeader !== undefined && {
      timestamp: {
        from: { headers: [timestampHeader] },
        unit: 'seconds',
        toleranceSeconds: given.toleranceSeconds ?? LIMITS.webhookToleranceSeconds,
      },
    }),
    ...(eventHeader !== undefined && { eventType: { headers: [eventHeader] } }),
  });
}

const refuse = (issues: readonly { readonly path: string; readonly message: string }[]): Result<never> =>
  fail('source.invalid', issues.map(({ path, message }) => `${path}: ${message}`).join(' '), { issues });

function mistakeIn(settings: HmacSettings): { path: string; message: string } | undefined {
  const { content, timestampHeader, toleranceSeconds } = settings;
  const placeholders: readonly string[] = content.match(/\{[^{}]*\}/g) ?? [];
  const unknown = placeholders.find((name) => name !== '{body}' && name !== '{timestamp}');
  if (unknown !== undefined) {
    return { path: 'settings.content', message: `${unknown} is not known; there are {body} and {timestamp}.` };
  }
  if (placeholders.filter((name) => name === '{body}').length !== 1) {
    return { path: 'settings.content', message: 'Must have {body} once: what is not signed cannot be trusted.' };
  }
  const signed = placeholders.includes('{timestamp}');
  if (signed && timestampHeader === undefined) {
    return { path: 'settings.timestampHeader', message: 'Is missing; it fills {timestamp} in `content`.' };
  }
  if (!signed && timestampHeader !== undefined) {
    return { path: 'settings.content', message: 'Must have {timestamp}: a time that is not signed proves nothing.' };
  }
  if (toleranceSeconds !== undefined && timestampHeader === undefined) {
    return { path: 'settings.toleranceSeconds', message: 'Needs `timestampHeader`; without a time there is no age.' };
  }
  return undefined;
}
