/**
 * The shape of a signature scheme: how a sender proves that a webhook is its own. A scheme is data, and
 * `verify` and `sign` interpret it, so that a vendor is one row of the table in `schemes.ts`.
 */

import type { AlgorithmName } from './algorithms.ts';
import type { Encoding } from './encoding.ts';

export interface Scheme {
  readonly title: string;
  /** Headers that carry signatures. All that are present count: aliases, or one header for each secret. */
  readonly signatureHeaders: readonly string[];
  /** What stands between the entries of such a header; absent where it holds one signature. */
  readonly separator?: string;
  /** Which kinds of signature count. An entry of another kind is ignored, so there is no downgrade. */
  readonly keys: readonly KeyForm[];
  /** What is signed: text with `{body}` once, and `{id}` and `{timestamp}` where they are signed. */
  readonly content: string;
  /** The first of these headers that is present fills `{id}`. */
  readonly idHeaders?: readonly string[];
  readonly timestamp?: TimestampPlace;
  readonly deliveryId: DeliveryId;
  /** Only routes the event to chains; for many vendors the header is not signed. */
  readonly eventType?: EventTypePlace;
}

/** One kind of signature, and the form of the secret that belongs to it. */
export interface KeyForm {
  readonly algorithm: AlgorithmName;
  /** What an entry of this kind begins with, e.g. `sha256=`; may be empty. */
  readonly prefix: string;
  readonly encoding: Encoding;
  readonly secret: SecretForm;
}

export interface SecretForm {
  /** `text`: the characters themselves are the key. */
  readonly encoding: 'text' | Encoding;
  /** What the secret begins with and what is no part of the key, e.g. `whsec_`. */
  readonly tag?: string;
  /** A secret without the tag is also of this form. */
  readonly tagOptional?: boolean;
  /** The tag of the private key that signs, where it is not the one that verifies. */
  readonly signingTag?: string;
}

export interface TimestampPlace {
  /** Headers of which the first present counts, or the beginning of an entry in the signature header. */
  readonly from: { readonly headers: readonly string[] } | { readonly entry: string };
  /** `opaque`: signed as it stands but never read, for vendors that document no form. */
  readonly unit: 'seconds' | 'milliseconds' | 'iso' | 'opaque';
  /** Age and future that are accepted; without meaning for `opaque`. */
  readonly toleranceSeconds: number;
}

/**
 * What tells a delivery from its repetition. Only signed material: whoever replays a request may
 * change every header that is not signed, and would so make a new delivery of it.
 * `header`: the id header, which is part of the content. `body`: the first of these members of the JSON
 * body; where all are absent, the hash of the body without the timestamp, since such vendors sign anew
 * on a retry. `content`: the hash of all that is signed.
 */
export type DeliveryId =
  | { readonly from: 'header' }
  | { readonly from: 'body'; readonly paths: readonly string[] }
  | { readonly from: 'content' };

/** Headers, or dotted paths in the JSON body, of which the first present counts. */
export type EventTypePlace = { readonly headers: readonly string[] } | { readonly paths: readonly string[] };
