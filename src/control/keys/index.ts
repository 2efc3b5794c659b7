/** API keys: shown once, stored as a hash. */

import * as v from 'valibot';
import { API, endpoint } from '../endpoint.ts';
import { refuse } from '../issues.ts';
import { jsonBody } from '../request.ts';
import { instant, iso, isoOrNull, listOf } from '../schemas.ts';
import { fail, ok } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { addKey, listKeys, removeKey, type KeyRow } from '../../store/keys.ts';
import { KEY_SCOPE, makeKey } from '../../vault/api-key.ts';

const TAG = 'Keys';

const body = v.strictObject({
  name: v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(LIMITS.labelCharacters)),
  scopes: v.optional(
    v.pipe(
      v.array(v.pipe(v.string(), v.regex(KEY_SCOPE))),
      v.minLength(1),
      v.maxLength(LIMITS.keyScopes),
      v.description('What the key may call: `chain:<name>`, or `chain:*` for every chain.'),
    ),
    ['chain:*'],
  ),
  expiresAt: v.optional(v.nullable(v.pipe(v.string(), v.isoTimestamp())), null),
});

const shown = {
  id: v.string(),
  name: v.string(),
  scopes: v.array(v.string()),
  createdAt: instant,
  expiresAt: v.nullable(instant),
};

const show = ({ id, name, scopes, createdAt, expiresAt }: KeyRow) => ({
  id,
  name,
  scopes,
  createdAt: iso(createdAt),
  expiresAt: isoOrNull(expiresAt),
});

export const keys = [
  endpoint({
    id: 'addKey',
    tag: TAG,
    summary: 'Make an API key',
    method: 'POST',
    path: `${API}/keys`,
    body: jsonBody(body),
    replies: {
      201: { description: 'The key, shown this once.', schema: v.strictObject({ ...shown, key: v.string() }) },
    },
    async handle({ ports, actor, body: { name, scopes, expiresAt } }) {
      const now = ports.now();
      const expiry = expiresAt === null ? null : Date.parse(expiresAt);
      if (expiry !== null && !(expiry > now)) {
        return refuse('request.invalid', [{ path: 'expiresAt', message: 'This instant is past; give a later one.' }]);
      }
      const { key, hash } = await makeKey();
      const row = { id: crypto.randomUUID(), name, hash, scopes, expiresAt: expiry, createdAt: now };
      await addKey(ports.db, row, actor);
      await ports.configurationChanged();
      return ok({ status: 201, body: { ...show(row), key: key.reveal() }, location: `${API}/keys/${row.id}` });
    },
  }),

  endpoint({
    id: 'listKeys',
    tag: TAG,
    summary: 'List the API keys',
    method: 'GET',
    path: `${API}/keys`,
    replies: { 200: { description: 'Without the keys themselves.', schema: listOf(v.strictObject(shown)) } },
    handle: async ({ ports }) => ok({ status: 200, body: { items: (await listKeys(ports.db)).map(show) } }),
  }),

  endpoint({
    id: 'removeKey',
    tag: TAG,
    summary: 'Revoke an API key',
    method: 'DELETE',
    path: `${API}/keys/{id}`,
    replies: { 204: { description: 'It opens nothing any more.' } },
    faults: ['key.not-found'],
    async handle({ ports, actor, params: { id } }) {
      if (!(await removeKey(ports.db, id, actor, ports.now()))) {
        return fail('key.not-found', `There is no key with the id ${id}.`);
      }
      await ports.configurationChanged();
      return ok({ status: 204 });
    },
  }),
];
