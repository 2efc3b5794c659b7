/** Purging what the gateway has cached. */

import * as v from 'valibot';
import { API, endpoint } from '../endpoint.ts';
import { jsonBody } from '../request.ts';
import { fail, ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { addPurges, EVERYTHING } from '../../store/purges.ts';

const few = <Schema extends v.GenericSchema>(schema: Schema, description: string) =>
  v.optional(v.pipe(v.array(schema), v.minLength(1), v.maxLength(LIMITS.cachePurgeItems), v.description(description)));

const name = v.pipe(v.string(), v.regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/), v.maxLength(64));

const body = v.strictObject({
  tags: few(v.pipe(v.string(), v.minLength(1), v.maxLength(LIMITS.cacheTagCharacters)), 'What has one of these tags.'),
  urls: few(
    v.pipe(v.string(), v.url(), v.maxLength(2_048)),
    'What is stored of these addresses, as callers know them. A query makes no difference: all of them are purged.',
  ),
  route: v.optional(v.pipe(name, v.description('All that is stored of a route.'))),
  chain: v.optional(v.pipe(name, v.description('All that is stored of the HTTP triggers of a chain.'))),
  all: v.optional(v.pipe(v.literal(true), v.description('Everything.'))),
});

function addressOf(text: string): string {
  const { origin, pathname } = new URL(text);
  return origin + pathname;
}

export const cache = [
  endpoint({
    id: 'purgeCache',
    tag: 'Cache',
    summary: 'Purge cached responses',
    role: 'developer',
    method: 'POST',
    path: `${API}/cache/purge`,
    body: jsonBody(body),
    replies: {
      200: {
        description: 'They are stale: at once for whoever is answered here, elsewhere within 5 s.',
        schema: v.strictObject({ purged: v.pipe(v.array(v.string()), v.description('What was purged by.')) }),
      },
    },
    async handle({ ports, actor, body: { tags = [], urls = [], route, chain, all } }) {
      const scopes = [
        ...(all === undefined ? [] : [EVERYTHING]),
        ...(route === undefined ? [] : [`target:route:${route}`]),
        ...(chain === undefined ? [] : [`target:chain:${chain}`]),
        ...urls.map((url) => `url:${addressOf(url)}`),
        ...tags.map((tag) => `tag:${tag.trim()}`),
      ];
      if (scopes.length === 0) {
        return fail('request.invalid', 'Say what to purge: tags, urls, route, chain, or "all": true.');
      }
      const purged = [...new Set(scopes)];
      await addPurges(ports.db, purged, actor, ports.now());
      await ports.configurationChanged();
      return ok({ status: 200, body: { purged } });
    },
  }),
];
