/** What the actions of `http` take, and the connection that they may use. */

import * as v from 'valibot';
import { originOf, type ConnectionFacts } from '../kit/types.ts';
import { isSafeEndpoint, oauthSecrets, oauthSettings } from '../../core/oauth/settings.ts';

const scalar = v.union([v.string(), v.number(), v.boolean()]);

const common = {
  url: v.pipe(
    v.string(),
    v.minLength(1),
    v.description('An absolute URL, or with a connection a path that is put behind its `baseUrl`.'),
  ),
  query: v.optional(
    v.pipe(
      v.record(v.string(), v.union([scalar, v.null(), v.array(scalar)])),
      v.description('Added to the URL; a list repeats the parameter, null leaves it out.'),
    ),
  ),
  headers: v.optional(v.record(v.string(), scalar)),
  expect: v.optional(
    v.pipe(
      v.union([v.picklist(['2xx', 'any']), v.array(v.pipe(v.number(), v.integer()))]),
      v.description('Which statuses are a success: "2xx" (default), "any", or a list. Others fail the step.'),
    ),
  ),
  parse: v.optional(
    v.pipe(
      v.picklist(['auto', 'json', 'text', 'base64']),
      v.description('How the body of the reply is read. By default its content type decides.'),
    ),
  ),
};

export const { url: urlField, query: queryField, headers: headersField } = common;

const body = {
  json: v.optional(v.pipe(v.unknown(), v.description('Sent as JSON.'))),
  form: v.optional(
    v.pipe(
      v.record(v.string(), v.union([scalar, v.null(), v.array(scalar)])),
      v.description('Sent as application/x-www-form-urlencoded.'),
    ),
  ),
  text: v.optional(v.pipe(v.string(), v.description('Sent as it is.'))),
  base64: v.optional(v.pipe(v.string(), v.description('Bytes in base64, sent as such.'))),
};

export const withoutBody = v.strictObject(common);
export const withBody = v.strictObject({ ...common, ...body });
export const withMethod = v.strictObject({
  method: v.picklist(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']),
  ...common,
  ...body,
});

/** What all three have in common; `body` members are absent where the action takes none. */
export type HttpParams = v.InferOutput<typeof withBody>;
export type QueryFields = NonNullable<HttpParams['query']>;

const headers = v.optional(v.record(v.string(), v.string()));
const text = v.pipe(v.string(), v.minLength(1));

const settingsFields = v.strictObject({
  baseUrl: v.pipe(
    v.string(),
    v.regex(/^https?:\/\/[^\s?#@\\]+$/, 'Must be an absolute URL without user name, query and fragment.'),
    v.description('The connection is used for this host only.'),
  ),
  headers: v.optional(v.pipe(v.record(v.string(), v.string()), v.description('Sent with every request; not secret.'))),
  oauth: v.optional(
    v.pipe(oauthSettings, v.description('Steps send a token that the gateway gets and renews by OAuth 2.')),
  ),
  probe: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^\/[^\s#\\]*$/, 'Must be a path behind the `baseUrl`, such as /health.'),
      v.description(
        'What a probe gets, which must answer 2xx. By default any answer of the host but a refusal will do.',
      ),
    ),
  ),
});

export const httpSettings = v.pipe(
  settingsFields,
  v.check(
    ({ baseUrl, oauth }) => oauth === undefined || isSafeEndpoint(baseUrl),
    'baseUrl: Must be https, since tokens are sent there.',
  ),
);

export const httpSecrets = v.union([
  v.strictObject({ bearer: text, headers }),
  v.strictObject({
    basic: v.strictObject({
      username: v.pipe(v.string(), v.regex(/^[^:]*$/, 'Must not contain a colon.')),
      password: v.string(),
    }),
    headers,
  }),
  v.strictObject({ oauth: oauthSecrets, headers }),
  v.strictObject({ headers }),
]);

export type HttpSettings = v.InferOutput<typeof httpSettings>;
export type HttpSecrets = v.InferOutput<typeof httpSecrets>;

export const httpOAuth: NonNullable<ConnectionFacts<HttpSettings, HttpSecrets>['oauth']> = (
  { baseUrl, oauth },
  secrets,
) =>
  oauth && {
    settings: oauth,
    secrets: 'oauth' in secrets ? secrets.oauth : {},
    origins: [originOf(baseUrl)],
  };
