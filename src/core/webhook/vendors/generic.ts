/** Schemes of any sender, described by the settings of its source: `hmac`, `token` and `jwt`. */

import * as v from 'valibot';
import type { DeliveryId, EventTypePlace, Place } from '../scheme.ts';
import { header, textKey, timeIn, TOLERANCE_SECONDS, withSettings, type SchemeRow } from './row.ts';
import type { Issue } from '../../errors.ts';

const LONGEST_TOLERANCE_SECONDS = 24 * 3_600;

const headerName = v.pipe(
  v.string(),
  v.regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'Must be the name of a header, such as X-Signature.'),
);
const path = v.pipe(v.string(), v.regex(/^[^.]+(?:\.[^.]+)*$/, 'Must be a path, such as event.id.'), v.maxLength(256));
const prefix = v.pipe(v.string(), v.maxLength(64));

const events = {
  eventHeader: v.optional(v.pipe(headerName, v.description('The header that names the type of the event.'))),
  eventPath: v.optional(v.pipe(path, v.description('The member of the JSON body that does.'))),
};

const ids = {
  idPath: v.optional(v.pipe(path, v.description('The member of the JSON body that tells one delivery from another.'))),
};

function eventTypeOf(settings: { eventHeader?: string | undefined; eventPath?: string | undefined }): {
  eventType?: EventTypePlace;
} {
  if (settings.eventHeader !== undefined) return { eventType: { headers: [settings.eventHeader] } };
  return settings.eventPath === undefined ? {} : { eventType: { paths: [settings.eventPath] } };
}

const idIn = (idPath: string | undefined, otherwise: DeliveryId): DeliveryId =>
  idPath === undefined ? otherwise : { from: 'body', paths: [idPath] };

const hmacSettings = v.strictObject({
  header: v.pipe(headerName, v.description('The header that carries the signature.')),
  algorithm: v.picklist(['sha256', 'sha1', 'sha512']),
  encoding: v.picklist(['hex', 'base64']),
  prefix: v.optional(v.pipe(prefix, v.description('What stands before it, e.g. "sha256=".')), ''),
  secretEncoding: v.pipe(
    v.optional(v.picklist(['text', 'hex', 'base64']), 'text'),
    v.description('How the secret spells the key; its characters are the key where it is "text".'),
  ),
  content: v.optional(
    v.pipe(v.string(), v.maxLength(256), v.description('What is signed, e.g. "{timestamp}.{body}" or "{url}{body}".')),
    '{body}',
  ),
  timestampHeader: v.optional(v.pipe(headerName, v.description('The header of the signed unix time in seconds.'))),
  toleranceSeconds: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LONGEST_TOLERANCE_SECONDS))),
  ...ids,
  ...events,
});

type HmacSettings = v.InferOutput<typeof hmacSettings>;

const PLACEHOLDERS = ['{body}', '{timestamp}', '{method}', '{url}'];

function mistakeInHmac(settings: HmacSettings): Issue | undefined {
  const { content, timestampHeader, toleranceSeconds } = settings;
  const placeholders: readonly string[] = content.match(/\{[^{}]*\}/g) ?? [];
  const unknown = placeholders.find((name) => !PLACEHOLDERS.includes(name));
  if (unknown !== undefined) {
    return { path: 'settings.content', message: `${unknown} is not known; there are ${PLACEHOLDERS.join(', ')}.` };
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

const tokenSettings = v.strictObject({
  header: v.optional(v.pipe(headerName, v.description('The header that carries the token.'))),
  query: v.optional(v.pipe(v.string(), v.minLength(1), v.description('The query parameter that does.'))),
  path: v.optional(v.pipe(path, v.description('The member of the JSON body that does.'))),
  prefix: v.optional(v.pipe(prefix, v.description('What stands before it, e.g. "Bearer ".')), ''),
  ...ids,
  ...events,
});

function placeOf({ header: name, query, path: member }: v.InferOutput<typeof tokenSettings>): Place | Issue {
  const places: Place[] = [];
  if (name !== undefined) places.push(header(name));
  if (query !== undefined) places.push({ query });
  if (member !== undefined) places.push({ member });
  const [place] = places;
  if (place !== undefined && places.length === 1) return place;
  return { path: 'settings', message: 'Must have one of `header`, `query` and `path`: where the token stands.' };
}

/** Public keys only: a set of them must never serve as the secret of an HMAC. */
const KEY_SET_ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'EdDSA'] as const;
const SECRET_ALGORITHMS = ['HS256', 'HS384', 'HS512'] as const;

const jwtSettings = v.strictObject({
  header: v.optional(headerName, 'Authorization'),
  prefix: v.optional(prefix, 'Bearer '),
  jwksUrl: v.optional(
    v.pipe(v.string(), v.url(), v.startsWith('https://'), v.description('The key set of the issuer; else the secret.')),
  ),
  algorithms: v.pipe(v.array(v.picklist([...KEY_SET_ALGORITHMS, ...SECRET_ALGORITHMS])), v.minLength(1)),
  issuer: v.pipe(v.string(), v.minLength(1)),
  audience: v.pipe(v.string(), v.minLength(1)),
  bodyHashClaim: v.optional(
    v.pipe(v.string(), v.minLength(1), v.description('The claim that holds the SHA-256 of the body in hex.')),
  ),
  ...ids,
  ...events,
});

export const GENERIC: Readonly<Record<string, SchemeRow>> = {
  hmac: withSettings(
    'HMAC of any sender',
    hmacSettings,
    { header: 'X-Signature', algorithm: 'sha256', encoding: 'hex' },
    (given) => {
      const mistake = mistakeInHmac(given);
      if (mistake !== undefined) return mistake;
      const { timestampHeader, toleranceSeconds = TOLERANCE_SECONDS } = given;
      return {
        title: 'HMAC',
        secretIs: 'the secret that the sender signs with',
        proof: 'signature',
        signature: header(given.header),
        keys: [
          {
            ...textKey(`hmac-${given.algorithm}`, given.encoding, given.prefix),
            secret: { encoding: given.secretEncoding },
          },
        ],
        content: given.content,
        deliveryId: idIn(given.idPath, { from: 'content' }),
        ...(timestampHeader !== undefined && {
          timestamp: timeIn({ headers: [timestampHeader] }, 'seconds', toleranceSeconds),
        }),
        ...eventTypeOf(given),
      };
    },
  ),

  token: withSettings('Token of any sender', tokenSettings, { header: 'X-Webhook-Token' }, (given) => {
    const place = placeOf(given);
    if ('message' in place) return place;
    return {
      title: 'Token',
      secretIs: 'the token that the sender sends along',
      proof: 'token',
      token: place,
      prefix: given.prefix,
      deliveryId: idIn(given.idPath, { from: 'body', paths: [] }),
      ...eventTypeOf(given),
    };
  }),

  jwt: withSettings(
    'JWT of any sender',
    jwtSettings,
    {
      jwksUrl: 'https://issuer.example.com/.well-known/jwks.json',
      algorithms: ['RS256'],
      issuer: 'https://issuer.example.com',
      audience: 'tidegate',
    },
    (given) => {
      const { jwksUrl, algorithms, bodyHashClaim } = given;
      const fitting: readonly string[] = jwksUrl === undefined ? SECRET_ALGORITHMS : KEY_SET_ALGORITHMS;
      const unfit = algorithms.find((name) => !fitting.includes(name));
      if (unfit !== undefined) {
        const kind = jwksUrl === undefined ? 'a secret' : 'a key set';
        return {
          path: 'settings.algorithms',
          message: `${unfit} does not go with ${kind}; use ${fitting.join(', ')}.`,
        };
      }
      return {
        title: 'JWT',
        secretIs: 'the secret that the sender signs with',
        ...(jwksUrl !== undefined && { secretFrom: 'none' as const }),
        proof: 'jwt',
        token: header(given.header),
        prefix: given.prefix,
        algorithms,
        keys: jwksUrl === undefined ? { from: 'secret' } : { from: 'jwks', url: jwksUrl },
        issuers: [given.issuer],
        audiences: [given.audience],
        ...(bodyHashClaim !== undefined && { bodyHashClaim }),
        deliveryId: idIn(given.idPath, bodyHashClaim === undefined ? { from: 'body', paths: [] } : { from: 'content' }),
        ...eventTypeOf(given),
      };
    },
  ),
};
