/** What the owner of an endpoint settles: where messages go, which, how fast and in which form. */

import * as v from 'valibot';
import { LIMITS } from '../limits.ts';

/** `noun.verb`, in lower case: `invoice.paid`, `user.email.changed`. */
export const EVENT_TYPE = /^[a-z0-9][a-z0-9_-]*(?:\.[a-z0-9][a-z0-9_-]*)+$/;

export const eventTypeName = v.pipe(
  v.string(),
  v.regex(EVENT_TYPE),
  v.maxLength(LIMITS.eventTypeCharacters),
  v.description('`noun.verb` in lower case, such as `invoice.paid`.'),
);

export const channelNames = v.pipe(
  v.array(v.pipe(v.string(), v.regex(/^[A-Za-z0-9._:-]{1,128}$/))),
  v.maxLength(LIMITS.messageChannels),
);

const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9a-z-]{1,64}$/;

const headerName = (usual: string) => v.optional(v.pipe(v.string(), v.regex(HEADER_NAME)), usual);

const headerNames = v.pipe(
  v.strictObject({
    id: headerName('webhook-id'),
    timestamp: headerName('webhook-timestamp'),
    signature: headerName('webhook-signature'),
    eventType: v.optional(v.nullable(v.pipe(v.string(), v.regex(HEADER_NAME))), null),
  }),
  v.check((names) => {
    const given = Object.values(names).filter((name) => name !== null);
    return new Set(given).size === given.length;
  }, 'four different names'),
);

const wholeNumber = (least: number, most: number) =>
  v.pipe(v.number(), v.integer(), v.minValue(least), v.maxValue(most));

/** Of the event types, filter and channels all must fit. Everything but `url` may be left out. */
export const endpointSettings = v.strictObject({
  url: v.pipe(v.string(), v.url(), v.maxLength(LIMITS.endpointUrlCharacters)),
  description: v.optional(v.pipe(v.string(), v.maxLength(LIMITS.descriptionCharacters)), ''),
  eventTypes: v.optional(
    v.nullable(v.pipe(v.array(eventTypeName), v.minLength(1), v.maxLength(LIMITS.endpointEventTypes))),
    null,
  ),
  channels: v.optional(v.nullable(v.pipe(channelNames, v.minLength(1))), null),
  filter: v.optional(
    v.nullable(v.pipe(v.string(), v.description('One expression, such as `{{ payload.total > 100 }}`.'))),
    null,
  ),
  transformation: v.optional(
    v.nullable(
      v.pipe(v.unknown(), v.description('The payload that is sent in place of the message’s, with expressions.')),
    ),
    null,
  ),
  rateLimit: v.optional(
    v.nullable(
      v.strictObject({
        limit: wholeNumber(1, LIMITS.flowLimit),
        periodSeconds: v.optional(wholeNumber(1, 86_400), 1),
        burst: v.optional(wholeNumber(1, LIMITS.flowLimit), 1),
      }),
    ),
    null,
  ),
  ordered: v.optional(
    v.pipe(v.boolean(), v.description('One after the other, in the order of acceptance; a failure holds up the rest.')),
    false,
  ),
  timeoutMilliseconds: v.optional(
    wholeNumber(1_000, LIMITS.deliveryTimeoutLongestMilliseconds),
    LIMITS.deliveryTimeoutMilliseconds,
  ),
  largePayloads: v.optional(
    v.pipe(
      v.picklist(['inline', 'reference']),
      v.description(`How bodies over ${LIMITS.inlinePayloadBytes} bytes go: as they are, or as a link to them.`),
    ),
    'reference',
  ),
  headerNames: v.optional(headerNames, {}),
});

/** The runtime frames the message itself, and the body is always JSON. */
const TAKEN_HEADERS: ReadonlySet<string> = new Set(
  'connection content-length content-type host keep-alive proxy-connection te trailer transfer-encoding upgrade'.split(
    ' ',
  ),
);

/** Sent with each delivery; the values may be credentials. */
export const endpointHeaders = v.pipe(
  v.record(
    v.pipe(v.string(), v.regex(HEADER_NAME)),
    v.pipe(v.string(), v.maxLength(4_096), v.regex(/^(?:\t|[^\p{Cc}\u{100}-\u{10ffff}])*$/u)),
  ),
  v.check(
    (headers) => Object.keys(headers).length <= LIMITS.endpointHeaders,
    `up to ${LIMITS.endpointHeaders} headers`,
  ),
  v.check(
    (headers) => Object.keys(headers).every((name) => !TAKEN_HEADERS.has(name)),
    'headers that the gateway does not set itself',
  ),
);

export type EndpointSettings = v.InferOutput<typeof endpointSettings>;
export type HeaderNames = EndpointSettings['headerNames'];
