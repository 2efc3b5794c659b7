/** Authorizations of connections that get their tokens by OAuth. A token is never shown. */

import * as v from 'valibot';
import { API, endpoint } from '../endpoint.ts';
import { jsonBody } from '../request.ts';
import { instant, iso, isoOrNull } from '../schemas.ts';
import { OWNER } from '../../core/chain/connection.ts';
import { ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { isSafeEndpoint } from '../../core/oauth/settings.ts';
import { NEVER } from '../../core/oauth/tokens.ts';
import type { TokenStatus } from '../../runtime/oauth/token-object.ts';
import { recordChange } from '../../store/audit.ts';

const TAG = 'Connections';
const PATH = `${API}/connections/{name}/authorization` as const;

const query = v.strictObject({
  tenant: v.optional(v.pipe(v.string(), v.maxLength(128), v.description('Whose connection it is; by default yours.'))),
});

const linkBody = v.strictObject({
  expiresInSeconds: v.optional(
    v.pipe(v.number(), v.integer(), v.minValue(60), v.maxValue(LIMITS.connectLinkLongestSeconds)),
    LIMITS.connectLinkSeconds,
  ),
  returnUrl: v.optional(
    v.pipe(
      v.string(),
      v.maxLength(2_048),
      v.check(isSafeEndpoint, 'Must be an https:// address.'),
      v.description('Offered as a link when it is done; nobody is sent there by himself.'),
    ),
  ),
});

const link = v.strictObject({
  url: v.pipe(v.string(), v.description('The page on which somebody connects an account; it works once.')),
  expiresAt: instant,
});

const device = v.strictObject({
  userCode: v.string(),
  verificationUri: v.string(),
  verificationUriComplete: v.nullable(v.string()),
  expiresAt: instant,
});

const shown = v.strictObject({
  state: v.pipe(
    v.picklist(['none', 'pending', 'authorized', 'expired', 'refused']),
    v.description('`expired` and `refused` need another authorization.'),
  ),
  scopes: v.pipe(v.nullable(v.array(v.string())), v.description('As granted; null where the server does not say.')),
  obtainedAt: v.nullable(instant),
  expiresAt: v.pipe(v.nullable(instant), v.description('Null where the server names no lifetime.')),
  refreshAt: v.nullable(instant),
  refreshable: v.boolean(),
  rotations: v.pipe(v.number(), v.description('How often the server has replaced the refresh token.')),
  interruptedAt: v.pipe(v.nullable(instant), v.description('Start of a refresh of which no end is known.')),
  problem: v.nullable(v.string()),
});

const at = (milliseconds: number | undefined): string | null =>
  milliseconds === NEVER ? null : isoOrNull(milliseconds);

const show = ({ state, facts }: TokenStatus) => ({
  state,
  scopes: facts?.scopes ?? null,
  obtainedAt: at(facts?.obtainedAt),
  expiresAt: at(facts?.expiresAt),
  refreshAt: at(facts?.refreshAt),
  refreshable: facts?.refreshable ?? false,
  rotations: facts?.rotations ?? 0,
  interruptedAt: isoOrNull(facts?.attemptAt),
  problem: facts?.problem ?? null,
});

const FAULTS = ['connection.not-found', 'connection.invalid', 'vault.closed'] as const;

export const authorizations = [
  endpoint({
    id: 'beginAuthorization',
    tag: TAG,
    summary: 'Make a link on which somebody authorizes the connection',
    role: 'admin',
    method: 'POST',
    path: PATH,
    query,
    body: jsonBody(linkBody, true),
    replies: { 201: { description: 'The link.', schema: link } },
    faults: FAULTS,
    async handle({ ports, actor, origin, params: { name }, query: { tenant = OWNER }, body }) {
      const expiresAt = ports.now() + body.expiresInSeconds * 1000;
      const request = { origin, actor, expiresAt, returnUrl: body.returnUrl };
      const made = await ports.oauth.connectLink({ tenant, name }, request);
      return made.ok ? ok({ status: 201, body: { url: made.value, expiresAt: iso(expiresAt) } }) : made;
    },
  }),

  endpoint({
    id: 'beginDeviceAuthorization',
    tag: TAG,
    summary: 'Begin to authorize the connection on another device',
    role: 'admin',
    method: 'POST',
    path: `${PATH}/device`,
    query,
    replies: { 201: { description: 'What to enter, and where. The gateway waits for it.', schema: device } },
    faults: [...FAULTS, 'oauth.failed', 'oauth.unavailable'],
    async handle({ ports, actor, params: { name }, query: { tenant = OWNER } }) {
      const started = await ports.oauth.startDevice({ tenant, name }, actor);
      if (!started.ok) return started;
      const { userCode, verificationUri, verificationUriComplete = null, expiresAt } = started.value;
      const body = { userCode, verificationUri, verificationUriComplete, expiresAt: iso(expiresAt) };
      return ok({ status: 201, body });
    },
  }),

  endpoint({
    id: 'getAuthorization',
    tag: TAG,
    summary: 'Read how the connection is authorized',
    role: 'viewer',
    method: 'GET',
    path: PATH,
    query,
    replies: { 200: { description: 'Without the tokens.', schema: shown } },
    faults: FAULTS,
    async handle({ ports, params: { name }, query: { tenant = OWNER } }) {
      const status = await ports.oauth.status({ tenant, name });
      return status.ok ? ok({ status: 200, body: show(status.value) }) : status;
    },
  }),

  endpoint({
    id: 'revokeAuthorization',
    tag: TAG,
    summary: 'Revoke the tokens of the connection and forget them',
    role: 'admin',
    method: 'DELETE',
    path: PATH,
    query,
    replies: {
      200: {
        description: 'They are forgotten; `atServer` says whether the authorization server took them back as well.',
        schema: v.strictObject({ atServer: v.boolean() }),
      },
    },
    faults: FAULTS,
    async handle({ ports, actor, params: { name }, query: { tenant = OWNER } }) {
      const revoked = await ports.oauth.revoke({ tenant, name });
      if (!revoked.ok) return revoked;
      const audit = { at: ports.now(), actor, action: 'connection.revoke', subject: name };
      // Isolates that hold the token in memory forget it with the configuration that it came with.
      await recordChange(ports.db, { ...audit, detail: { tenant, ...revoked.value } });
      await ports.configurationChanged();
      return ok({ status: 200, body: revoked.value });
    },
  }),
];
