/** Versions of an API: how a request names one, and what its callers are told of its end. */

import * as v from 'valibot';
import { requestEditsSchema, responseEditsSchema } from './edits.ts';

const instant = v.pipe(v.string(), v.isoTimestamp('Must be an instant such as 2026-12-31T00:00:00Z.'));
const httpsUrl = v.pipe(v.string(), v.regex(/^https?:\/\/[^\s<>"]+$/, 'Must be the address of a page.'));

export const hostPattern = v.pipe(
  v.string(),
  v.regex(
    /^(?:\*\.)?[a-z0-9-]+(?:\.[a-z0-9-]+)*$/,
    'Must be a host in lower case without a port, such as api.example.com or *.example.com.',
  ),
);

export const versionSchema = v.strictObject({
  upstream: v.optional(v.pipe(v.string(), v.description('Default: that of the route.'))),
  hosts: v.optional(v.pipe(v.array(hostPattern), v.minLength(1), v.description('Where versions go by host.'))),
  request: v.optional(requestEditsSchema),
  response: v.optional(responseEditsSchema),
  deprecated: v.optional(
    v.pipe(instant, v.description('Since when, or from when on, it should not be used (RFC 9745).')),
  ),
  sunset: v.optional(v.pipe(instant, v.description('When it is expected to stop answering (RFC 8594).'))),
  afterSunset: v.optional(
    v.pipe(v.picklist(['serve', 'refuse']), v.description('`refuse`: 410 from then on.')),
    'serve',
  ),
  link: v.optional(v.pipe(httpsUrl, v.description('A page that tells what to do instead.'))),
});

export const versionsSchema = v.pipe(
  v.strictObject({
    by: v.pipe(
      v.picklist(['path', 'host', 'header', 'query']),
      v.description('`path`: the path of the route holds `{version}`; `host`: each version has `hosts`.'),
    ),
    name: v.optional(
      v.pipe(v.string(), v.regex(/^[A-Za-z0-9_-]{1,64}$/), v.description('Of the header or the query parameter.')),
      'api-version',
    ),
    default: v.optional(
      v.pipe(v.string(), v.description('For requests that name none. Without it, they are refused.')),
    ),
    list: v.record(v.pipe(v.string(), v.regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/)), versionSchema),
  }),
  v.description('Versions of the API, side by side.'),
);

export type VersionDocument = v.InferOutput<typeof versionSchema>;

/** Headers for the callers of a version that will go: RFC 9745, RFC 8594, RFC 8288. */
export function noticesOf({ deprecated, sunset, link }: VersionDocument): readonly (readonly [string, string])[] {
  const notices: [string, string][] = [];
  if (deprecated !== undefined) notices.push(['deprecation', `@${Math.floor(Date.parse(deprecated) / 1000)}`]);
  if (sunset !== undefined) notices.push(['sunset', new Date(sunset).toUTCString()]);
  if (link !== undefined) {
    const relation = deprecated === undefined ? 'sunset' : 'deprecation';
    notices.push(['link', `<${link}>; rel="${relation}"; type="text/html"`]);
  }
  return notices;
}
