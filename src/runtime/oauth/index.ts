/** What the management API does with the authorizations of connections. */

import type { DeviceCode } from './authorizations.ts';
import { loadClient, tokensOf, type Place } from './place.ts';
import { faultFrom } from './source.ts';
import type { Reply, TokenStatus } from './token-object.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import type { Env } from '../../env.ts';
import { randomBytes, toBase64Url } from '../../vault/bytes.ts';
import { createConnectLinks } from '../../vault/links.ts';

export interface LinkRequest {
  /** Scheme and host under which the gateway was called; `TIDEGATE_URL` comes first. */
  readonly origin: string;
  readonly actor: string;
  /** Unix milliseconds. */
  readonly expiresAt: number;
  readonly returnUrl: string | undefined;
}

export interface OAuthPorts {
  /** The address of a connect page. Faults `connection.*`, `vault.closed`. */
  connectLink(place: Place, request: LinkRequest): Promise<Result<string>>;
  startDevice(place: Place, actor: string): Promise<Result<DeviceCode>>;
  status(place: Place): Promise<Result<TokenStatus>>;
  /** `atServer`: whether the authorization server was told and agreed. */
  revoke(place: Place): Promise<Result<{ readonly atServer: boolean }>>;
}

export const oauthOf = (env: Env): OAuthPorts => ({
  async connectLink(place, { origin, actor, expiresAt, returnUrl }) {
    const client = await loadClient(env, place);
    if (!client.ok) return client;
    if (client.value.settings.grant !== 'authorization_code') {
      return fail('connection.invalid', `${place.name} uses ${client.value.settings.grant}, which needs no page.`);
    }
    const links = createConnectLinks(env.TIDEGATE_MASTER_KEY);
    if (!links.ok) return links;
    const base = env.TIDEGATE_URL === undefined ? origin : new URL(env.TIDEGATE_URL).origin;
    const token = await links.value.sign({
      tenant: place.tenant,
      connection: place.name,
      id: toBase64Url(randomBytes(16)),
      expiresAt,
      origin: base,
      ...(returnUrl !== undefined && { returnUrl }),
      actor,
    });
    return ok(`${base}/_/connect/${token}`);
  },
  startDevice: async (place, actor) => resultOf(await tokensOf(env, place).startDevice(place, actor)),
  status: async (place) => resultOf(await tokensOf(env, place).status(place)),
  revoke: async (place) => resultOf(await tokensOf(env, place).revoke(place)),
});

const resultOf = <T>(reply: Reply<T>): Result<T> =>
  reply.ok ? ok(reply.value) : { ok: false, fault: faultFrom(reply) };
