/** Management tokens: credentials of programs for this API, each with a role. Shown once, stored as a hash. */

import * as v from 'valibot';
import { API, endpoint } from '../endpoint.ts';
import { refuse } from '../issues.ts';
import { jsonBody } from '../request.ts';
import { instant, iso, isoOrNull, listOf } from '../schemas.ts';
import { fail, ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { ROLES } from '../../core/roles.ts';
import {
  addManagementToken,
  listManagementTokens,
  removeManagementToken,
  type ManagementTokenRow,
} from '../../store/people.ts';
import { makeKey } from '../../vault/api-key.ts';

const TAG = 'People';
const PATH = `${API}/tokens`;

const body = v.strictObject({
  name: v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(LIMITS.labelCharacters)),
  role: v.picklist(ROLES),
  expiresAt: v.optional(v.nullable(v.pipe(v.string(), v.isoTimestamp())), null),
});

const shown = {
  id: v.string(),
  name: v.string(),
  hint: v.string(),
  role: v.picklist(ROLES),
  createdAt: instant,
  createdBy: v.string(),
  expiresAt: v.nullable(instant),
};

const show = ({ hash: _hash, createdAt, expiresAt, ...row }: ManagementTokenRow) => ({
  ...row,
  createdAt: iso(createdAt),
  expiresAt: isoOrNull(expiresAt),
});

export const tokens = [
  endpoint({
    id: 'addToken',
    tag: TAG,
    summary: 'Make a management token',
    role: 'owner',
    method: 'POST',
    path: PATH,
    body: jsonBody(body),
    replies: { 201: { description: 'Shown this once.', schema: v.strictObject({ ...shown, token: v.string() }) } },
    async handle({ ports, actor, body: { name, role, expiresAt } }) {
      const now = ports.now();
      const expiry = expiresAt === null ? null : Date.parse(expiresAt);
      if (expiry !== null && !(expiry > now)) {
        return refuse('request.invalid', [{ path: 'expiresAt', message: 'This instant is past; give a later one.' }]);
      }
      const { key, hash, hint } = await makeKey('tgm');
      const row = {
        id: crypto.randomUUID(),
        name,
        hash,
        hint,
        role,
        expiresAt: expiry,
        createdAt: now,
        createdBy: actor,
      };
      await addManagementToken(ports.db, row, { actor, now });
      return ok({ status: 201, body: { ...show(row), token: key.reveal() }, location: `${PATH}/${row.id}` });
    },
  }),

  endpoint({
    id: 'listTokens',
    tag: TAG,
    summary: 'List the management tokens',
    role: 'owner',
    method: 'GET',
    path: PATH,
    replies: { 200: { description: 'Without the tokens themselves.', schema: listOf(v.strictObject(shown)) } },
    handle: async ({ ports }) => ok({ status: 200, body: { items: (await listManagementTokens(ports.db)).map(show) } }),
  }),

  endpoint({
    id: 'removeToken',
    tag: TAG,
    summary: 'Revoke a management token',
    role: 'owner',
    method: 'DELETE',
    path: `${PATH}/{id}`,
    replies: { 204: { description: 'It opens nothing any more.' } },
    faults: ['token.not-found'],
    async handle({ ports, actor, params: { id } }) {
      return (await removeManagementToken(ports.db, id, { actor, now: ports.now() }))
        ? ok({ status: 204 })
        : fail('token.not-found', `There is no management token with the id ${id}.`);
    },
  }),
];
