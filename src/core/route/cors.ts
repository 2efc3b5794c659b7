/** Cross-origin requests: which pages of other sites may read an answer. https://fetch.spec.whatwg.org/#http-cors-protocol */

import * as v from 'valibot';
import { at, type IssueList } from '../chain/issues.ts';
import { DURATION, parseDuration } from '../chain/duration.ts';

const token = v.pipe(v.string(), v.regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'Must be the name of a header.'));

export const corsSchema = v.pipe(
  v.strictObject({
    origins: v.union([
      v.pipe(v.literal('*'), v.description('Pages of every site.')),
      v.pipe(
        v.array(v.pipe(v.string(), v.maxLength(256), v.examples(['https://app.example', 'https://*.app.example']))),
        v.minLength(1),
        v.description('Origins; `*.` stands for any number of labels of a host.'),
      ),
    ]),
    headers: v.optional(
      v.pipe(v.array(token), v.description('Headers that pages may send. Default: those that they ask for.')),
    ),
    expose: v.optional(v.pipe(v.array(token), v.description('Headers of the answer that pages may read.'))),
    credentials: v.optional(v.pipe(v.boolean(), v.description('Whether cookies are sent along.')), false),
    maxAge: v.optional(
      v.pipe(v.string(), v.regex(DURATION), v.description('How long a browser may remember the permission.')),
      '10m',
    ),
  }),
  v.description('Which pages of other sites may call.'),
);

export type CorsDocument = v.InferOutput<typeof corsSchema>;

export interface CorsPlan {
  /** `*`: every origin, without credentials. */
  readonly any: boolean;
  readonly exact: ReadonlySet<string>;
  /** `https://` and `.app.example`. */
  readonly wildcards: readonly { readonly scheme: string; readonly suffix: string }[];
  /** Undefined: whatever the page asks for. */
  readonly headers: string | undefined;
  readonly expose: string | undefined;
  readonly credentials: boolean;
  readonly maxAgeSeconds: string;
}

const ORIGIN = /^(https?:\/\/)(\*\.)?([a-z0-9-]+(?:\.[a-z0-9-]+)*(?::\d{1,5})?)$/;

export function compileCors(document: CorsDocument, place: string, issues: IssueList): CorsPlan {
  const { origins, credentials, headers, expose, maxAge } = document;
  const exact = new Set<string>();
  const wildcards: CorsPlan['wildcards'][number][] = [];
  for (const [index, origin] of origins === '*' ? [] : origins.entries()) {
    const [, scheme = '', wildcard, host = ''] = ORIGIN.exec(origin) ?? [];
    if (scheme === '') {
      const form = 'An origin is scheme and host in lower case, such as https://app.example or https://*.app.example.';
      issues.add(at(place, 'origins', index), form);
    } else if (wildcard === undefined) exact.add(origin);
    else wildcards.push({ scheme, suffix: `.${host}` });
  }
  if (origins === '*' && credentials) {
    issues.add(
      at(place, 'credentials'),
      'Cookies for every site would let each act for its visitors: list the origins.',
    );
  }
  return {
    any: origins === '*',
    exact,
    wildcards,
    headers: headers?.join(', '),
    expose: expose?.join(', '),
    credentials,
    maxAgeSeconds: String(Math.floor((parseDuration(maxAge) ?? 0) / 1000)),
  };
}

export const allowsOrigin = (plan: CorsPlan, origin: string): boolean =>
  plan.any ||
  plan.exact.has(origin) ||
  plan.wildcards.some(
    ({ scheme, suffix }) =>
      origin.startsWith(scheme) && origin.endsWith(suffix) && origin.length > scheme.length + suffix.length,
  );
