/**
 * The shape of a signature scheme: how a sender proves that a webhook is its own. A scheme is data, and
 * `verify`, `handshake` and `sign` interpret it, so that a vendor is one row of the tables in `vendors/`.
 */

import type { AlgorithmName } from './algorithms.ts';
import type { Encoding } from './encoding.ts';

export type Scheme = SignatureScheme | TokenScheme | JwtScheme;

interface SchemeFacts {
  readonly title: string;
  /** What the secret of a source is, for whoever has to find it. */
  readonly secretIs: string;
  /**
   * Where the secret does not come from the owner: `handshake`, the vendor brings it; `none`, the key is
   * public and `requires` or the claims say whom it has to vouch for.
   */
  readonly secretFrom?: 'handshake' | 'none';
  /** How deliveries come; POST where it is absent. */
  readonly methods?: readonly string[];
  /** What every request must say, besides its proof. */
  readonly requires?: readonly Condition[];
  readonly deliveryId: DeliveryId;
  /** Only routes the event to chains; for many vendors the header is not signed. */
  readonly eventType?: EventTypePlace;
  readonly handshakes?: readonly Handshake[];
  /** What the vendor has to read when a delivery was accepted; what the gateway says anyway where it is absent. */
  readonly reply?: FixedReply;
}

/** A signature over what was sent. */
export interface SignatureScheme extends SchemeFacts {
  readonly proof: 'signature';
  /** Where the signatures stand. All headers that are present count: aliases, or one for each secret. */
  readonly signature: Place;
  /** What stands between the entries of such a place; absent where it holds one signature. */
  readonly separator?: string;
  /** Which kinds of signature count. An entry of another kind is ignored, so there is no downgrade. */
  readonly keys: readonly KeyForm[];
  /** What is signed, see `content.ts`. Of several, one has to match: spellings of the same request. */
  readonly content: string | readonly string[];
  /** The first of these headers that is present fills `{id}`. */
  readonly idHeaders?: readonly string[];
  readonly timestamp?: TimestampPlace;
  /** The body holds a list of items that are each signed, and all of them must be. */
  readonly items?: Items;
  /** The key is that of a certificate that the request points at; secrets only fill `{secret}`. */
  readonly certificate?: CertificatePlace;
  /** The URL is signed, and this parameter of it may hold the SHA-256 of the body in hex. */
  readonly bodyHashQuery?: string;
}

/** A shared secret that is sent as it is. It proves nothing of the body. */
export interface TokenScheme extends SchemeFacts {
  readonly proof: 'token';
  readonly token: Place;
  readonly prefix?: string;
  /** The body holds a list of items that each carry the token. */
  readonly items?: Items;
}

/** A JSON Web Token (RFC 7519). It proves of the body only what a claim says of it. */
export interface JwtScheme extends SchemeFacts {
  readonly proof: 'jwt';
  readonly token: Place;
  readonly prefix: string;
  readonly algorithms: readonly string[];
  readonly keys: JwtKeys;
  readonly issuers?: readonly string[];
  readonly audiences?: readonly string[];
  /** Claims that must have exactly these values. */
  readonly claims?: Readonly<Record<string, string | boolean>>;
  /** Of `iat`, for tokens without an `exp`. */
  readonly maximumAgeSeconds?: number;
  /** The claim that holds the SHA-256 of the body in hex. */
  readonly bodyHashClaim?: string;
  /** The claim that holds Atlassian's hash of method, path (below `basePath`) and query. */
  readonly requestHash?: { readonly claim: string; readonly basePath: string };
}

export type JwtKeys =
  | { readonly from: 'secret' }
  | { readonly from: 'jwks'; readonly url: string }
  /** Each key is asked for by a POST of JSON in which `{kid}` and `{secret}` are filled. */
  | {
      readonly from: 'lookup';
      readonly url: string;
      readonly body: Readonly<Record<string, string>>;
      readonly member: string;
    };

/** Where a text stands: the first present of some headers, a query parameter, or a member of the JSON body. */
export type Place =
  | { readonly headers: readonly string[] }
  | { readonly query: string }
  /** A path such as `event.id`, `items.0.id` or `items.*.id`. */
  | { readonly member: string };

/** A text is there, and it is one of these; or none is there; or a list is there and empty. */
export type Condition =
  { readonly at: Place; readonly is?: readonly string[] } | { readonly absent: Place } | { readonly emptyList: string };

export interface Items {
  readonly list: string;
  /** Places and contents are relative to this member of an item. */
  readonly member?: string;
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
  /** A place, or the beginning of an entry among the signatures. */
  readonly from: Place | { readonly entry: string };
  /**
   * Each has one form of one length: where nothing stands between time and body, they could trade
   * characters under one signature otherwise. `any` of them, or an HTTP date, for vendors that differ.
   */
  readonly unit: 'seconds' | 'milliseconds' | 'iso' | 'any';
  /** Age and future that are accepted; absent where the vendor signs a time but states no window. */
  readonly toleranceSeconds?: number;
  /** It stands in the signed body, where nobody but the sender can leave it out. */
  readonly optional?: boolean;
}

export interface CertificatePlace {
  readonly url: Place;
  readonly allowed: UrlPattern;
}

/** Which addresses a request may point at: https, the usual port, and both of these as a whole. */
export interface UrlPattern {
  readonly host: RegExp;
  readonly path: RegExp;
}

/**
 * What tells a delivery from its repetition. Only what is proven: whoever replays a request may change
 * every header that is not signed, and would so make a new delivery of it.
 *
 * - `header`: the id header, which is part of the content.
 * - `body`: the first of these members of the JSON body; where all are absent, the hash of the body
 *   without the timestamp, since such vendors sign anew on a retry.
 * - `members`: the hash of all of these, for bodies that change on a retry or hold several events.
 * - `content`: the hash of all that is signed; of a token (JWT), header and claims.
 * - `headers`: these together, for tokens, with which every header is as good as the body.
 * - `arrival`: nothing; each arrival is a delivery, since further ones have the same bytes.
 */
export type DeliveryId =
  | { readonly from: 'header' }
  | { readonly from: 'body'; readonly paths: readonly string[] }
  | { readonly from: 'members'; readonly paths: readonly string[] }
  | { readonly from: 'content' }
  | { readonly from: 'headers'; readonly names: readonly string[] }
  | { readonly from: 'arrival' };

/** Headers, or paths in the JSON body, of which the first present counts. */
export type EventTypePlace = { readonly headers: readonly string[] } | { readonly paths: readonly string[] };

/** A request by which a vendor asks whether it may send, or that is no delivery. The first that fits counts. */
export interface Handshake {
  /** Empty: any that deliveries come by. */
  readonly methods?: readonly string[];
  readonly when: readonly Condition[];
  /**
   * `proof`: it is proven as a delivery is. `nothing`: the answer tells only what the sender said.
   * `awaited`: the source has no secret yet. Or a text in the query that the settings hold, too.
   */
  readonly trust: 'proof' | 'nothing' | 'awaited' | { readonly query: string; readonly equals: string | undefined };
  readonly answer: Answer;
}

export interface FixedReply {
  readonly status: number;
  readonly type?: string;
  readonly body?: string;
}

export type Answer =
  | ({ readonly kind: 'fixed' } & FixedReply)
  /** The text itself, as plain text. */
  | { readonly kind: 'echo'; readonly from: Place }
  /**
   * The text is the secret from now on. It is sent back in a header where the vendor wants that, or the
   * owner has to enter it at the vendor's.
   */
  | { readonly kind: 'adopt'; readonly from: Place; readonly echoHeader?: string; readonly ownerConfirms?: true }
  /** The text and its signature by the secret, under these names. */
  | { readonly kind: 'sign'; readonly from: Place; readonly plain: string; readonly signed: string }
  /** The address is fetched, which confirms. */
  | { readonly kind: 'visit'; readonly from: Place; readonly allowed: UrlPattern };
