/**
 * Handshakes: requests by which a vendor asks whether it may send, and others that are no deliveries.
 *
 * Guarantee: what is sent back is text that a browser does not run (plain, no sniffing, bounded), and a
 * request that must be proven is proven first: signing a text for whoever asks would sign a delivery.
 * Accepted weakness: Graph and Dropbox prove nothing when they ask, so anyone may have their own text
 * sent back; and whoever comes first to a source that awaits its secret sets it.
 */

import { encode, utf8 } from './encoding.ts';
import { unverified, type Proven } from './proof.ts';
import { isAllowed } from './remote.ts';
import { holds, nameOf, Reading, textAt, type WebhookRequest } from './request.ts';
import type { Answer, FixedReply, Handshake, Scheme } from './scheme.ts';
import { prepareScheme, type PreparedSource } from './source.ts';
import { equalSecrets } from './token.ts';
import { proveReading } from './verify.ts';
import { fail, ok, type Result } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { hostOf } from '../url.ts';

export interface HandshakeReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
  /** The secret that the vendor brought. The caller keeps it, unless the source has one by then. */
  readonly store?: string;
}

const DELIVERY_METHODS: readonly string[] = ['POST'];

/** The methods that a source of this scheme takes, for deliveries and handshakes together. */
export const methodsOf = (scheme: Scheme): readonly string[] => [
  ...new Set([
    ...(scheme.methods ?? DELIVERY_METHODS),
    ...(scheme.handshakes ?? []).flatMap(({ methods }) => methods ?? []),
  ]),
];

/** Whether a delivery may come by this method; a handshake may come by others. */
export const deliversBy = (scheme: Scheme, method: string): boolean =>
  (scheme.methods ?? DELIVERY_METHODS).includes(method);

/**
 * The answer to a handshake; undefined where the request is none and has to be verified.
 * Fault `webhook.unverified` for a handshake that is not the vendor's; `upstream.unavailable` where the
 * vendor did not take the confirmation.
 */
export async function handshake(
  source: PreparedSource,
  request: WebhookRequest,
): Promise<Result<HandshakeReply | undefined>> {
  const { handshakes } = source.scheme;
  if (handshakes === undefined || request.body.length > LIMITS.webhookHandshakeBytes) return ok(undefined);
  const reading = new Reading(request);
  const asked = handshakes.find((one) => fits(one, source, reading));
  if (asked === undefined) return ok(undefined);
  const trusted = await trust(asked, source, reading);
  return trusted.ok ? answerOf(asked.answer, source.scheme, trusted.value, reading) : trusted;
}

/** Whether the owner has to read the secret that the vendor brought, to enter it at the vendor's. */
export const ownerConfirms = ({ handshakes = [] }: Scheme): boolean =>
  handshakes.some(({ answer }) => answer.kind === 'adopt' && answer.ownerConfirms === true);

/** Headers and query parameters that prove the sender and that no chain, and so no record, may read. */
export function credentialsOf(scheme: Scheme): {
  readonly headers: readonly string[];
  readonly query: readonly string[];
} {
  const place = scheme.proof === 'signature' ? undefined : scheme.token;
  return {
    headers: place !== undefined && 'headers' in place ? place.headers.map((name) => name.toLowerCase()) : [],
    query: place !== undefined && 'query' in place ? [place.query] : [],
  };
}

/** What the vendor has to read when a delivery was accepted; undefined where it does not care. */
export const acceptedReply = ({ reply }: Scheme): HandshakeReply | undefined =>
  reply === undefined ? undefined : fixed(reply);

const fits = ({ methods, when, trust: by }: Handshake, { scheme, awaitsSecret }: PreparedSource, reading: Reading) =>
  (methods ?? scheme.methods ?? DELIVERY_METHODS).includes(reading.request.method) &&
  (by !== 'awaited' || awaitsSecret) &&
  when.every((condition) => holds(condition, reading));

async function trust(
  { trust: by }: Handshake,
  source: PreparedSource,
  reading: Reading,
): Promise<Result<Proven | undefined>> {
  if (by === 'proof') return proveReading(source, reading);
  if (by === 'nothing' || by === 'awaited') return ok(undefined);
  if (by.equals === undefined) {
    return unverified(`The source takes no handshake: its settings do not say what ${by.query} must be.`);
  }
  const given = textAt({ query: by.query }, reading);
  if (given === undefined || !(await equalSecrets(by.equals, given))) {
    return unverified(`The query parameter ${by.query} is not the one of the settings.`);
  }
  return ok(undefined);
}

async function answerOf(
  what: Answer,
  scheme: Scheme,
  proven: Proven | undefined,
  reading: Reading,
): Promise<Result<HandshakeReply>> {
  if (what.kind === 'fixed') return ok(fixed(what));
  const text = textAt(what.from, reading);
  if (text === undefined) return unverified(`${nameOf(what.from)} is missing.`);
  if (text.length > LIMITS.webhookChallengeCharacters) {
    return unverified(`${nameOf(what.from)} has more than ${LIMITS.webhookChallengeCharacters} characters.`);
  }
  switch (what.kind) {
    case 'echo':
      return ok(fixed({ status: 200, body: text }));
    case 'adopt':
      return adopt(text, what.echoHeader, scheme);
    case 'sign': {
      // Letters and digits only, so that what is signed here can never be the content of a delivery.
      if (proven?.key === undefined || !/^[\w-]+$/.test(text)) return unverified(`${nameOf(what.from)} is malformed.`);
      const signed = encode(await proven.key.sign(utf8(text)), 'hex');
      return ok(
        fixed({ status: 200, type: JSON_TYPE, body: JSON.stringify({ [what.plain]: text, [what.signed]: signed }) }),
      );
    }
    case 'visit':
      if (!isAllowed(text, what.allowed)) return unverified(`${nameOf(what.from)} is not an address of the sender.`);
      return visit(text, reading);
  }
}

const JSON_TYPE = 'application/json';

const fixed = ({ status, type = 'text/plain; charset=utf-8', body }: FixedReply): HandshakeReply => ({
  status,
  headers: {
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(body !== undefined && { 'content-type': type }),
  },
  body: body ?? null,
});

/** A secret that would not verify deliveries afterwards, or that could be guessed, is refused. */
async function adopt(secret: string, echoHeader: string | undefined, scheme: Scheme): Promise<Result<HandshakeReply>> {
  const { least, most } = LIMITS.webhookAdoptedSecretCharacters;
  const prepared = await prepareScheme('', scheme, [secret]);
  if (secret.length < least || secret.length > most || !/^[!-~]+$/.test(secret) || !prepared.ok) {
    return unverified('The secret of the handshake is malformed.');
  }
  const reply = fixed({ status: 200 });
  const headers = echoHeader === undefined ? reply.headers : { ...reply.headers, [echoHeader]: secret };
  return ok({ ...reply, headers, store: secret });
}

async function visit(url: string, { request }: Reading): Promise<Result<HandshakeReply>> {
  const unavailable = fail('upstream.unavailable', `${hostOf(url)} did not take the confirmation.`);
  try {
    const signal = AbortSignal.timeout(LIMITS.webhookKeyTimeoutMilliseconds);
    const response = await request.fetch(url, { redirect: 'manual', signal });
    await response.body?.cancel();
    return response.ok ? ok(fixed({ status: 200 })) : unavailable;
  } catch {
    return unavailable;
  }
}
