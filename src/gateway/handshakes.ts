/**
 * What `/hooks/{source}` answers besides deliveries: handshakes of vendors, and the replies that they want.
 *
 * Guarantee: a secret that a vendor brings is kept only while the source has none, also where two come at
 * the same moment.
 */

import { fail, fault, ok, problemResponse, type Result } from '../core/errors.ts';
import { pathStart } from '../core/url.ts';
import type { HandshakeReply } from '../core/webhook/index.ts';
import type { Env } from '../env.ts';
import { reloadConfiguration, vaultOf } from '../runtime/configuration.ts';
import { adoptSecret, type SourceRow } from '../store/sources.ts';
import { sourceContext } from '../vault/vault.ts';

/** The address as the vendor was given it, which some of them sign. */
export function publicUrl(url: string, { TIDEGATE_URL: base }: Env): string {
  if (base === undefined || base === '') return url;
  return base.replace(/\/+$/, '') + url.slice(pathStart(url));
}

export const methodRefused = (path: string, allow: readonly string[]): Response =>
  problemResponse(fault('request.method', `${path} takes ${allow.join(', ')}.`, { allow }));

export const replyResponse = ({ status, headers, body }: HandshakeReply): Response =>
  new Response(body, { status, headers: { ...headers } });

/** The answer to a handshake, sent only after the secret that came with it is kept. */
export async function answerHandshake(env: Env, row: SourceRow, reply: HandshakeReply): Promise<Result<Response>> {
  if (reply.store !== undefined) {
    const vault = vaultOf(env);
    if (!vault.ok) return vault;
    const sealed = await vault.value.seal(sourceContext(row.scheme, row.name), [reply.store]);
    const kept = await adoptSecret(env.DB, row, sealed, Date.now());
    await reloadConfiguration(env);
    if (!kept) return fail('webhook.unverified', `The source ${row.name} has a secret already.`);
  }
  return ok(replyResponse(reply));
}
