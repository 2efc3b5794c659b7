/** API keys: shown once, stored as a hash. */

import * as v from 'valibot';
import { changedKeySchema, newKeySchema, rotationSchema, secretsShownOnce, showKey, shownKey } from './schemas.ts';
import { makeSigning, rotateSigning } from './signing.ts';
import { API, endpoint } from '../endpoint.ts';
import { refuse } from '../issues.ts';
import { jsonBody } from '../request.ts';
import { listOf } from '../schemas.ts';
import { parseDuration } from '../../core/chain/duration.ts';
import { fail, ok, type Result } from '../../core/errors.ts';
import { LIMITS } from '../../core/limits.ts';
import { addKey, changeKey, listKeys, loadKey, removeKey, type KeyRow } from '../../store/keys.ts';
import { makeKey } from '../../vault/api-key.ts';

const TAG = 'Keys';
const PATH = `${API}/keys/{id}`;

const shown = v.strictObject(shownKey);
const shownOnce = v.strictObject({ ...shownKey, ...secretsShownOnce });
const notFound = (id: string) => fail('key.not-found', `There is no key with the id ${id}.`);
const wrong = (path: string, message: string) => refuse('request.invalid', [{ path, message }]);

/** Unix milliseconds; null for a key that does not expire. */
function expiryOf(given: string | null | undefined, now: number): Result<number | null> {
  const expiry = given === null || given === undefined ? null : Date.parse(given);
  if (expiry === null || expiry > now) return ok(expiry);
  return wrong('expiresAt', 'This instant is past; give a later one.');
}

export const keys = [
  endpoint({
    id: 'addKey',
    tag: TAG,
    summary: 'Make an API key',
    role: 'admin',
    method: 'POST',
    path: `${API}/keys`,
    body: jsonBody(newKeySchema),
    replies: { 201: { description: 'The key and its signing secret, shown this once.', schema: shownOnce } },
    faults: ['vault.closed'],
    async handle({ ports, actor, body }) {
      const now = ports.now();
      const expiresAt = expiryOf(body.expiresAt, now);
      if (!expiresAt.ok) return expiresAt;
      const id = crypto.randomUUID();
      const made = await makeSigning(ports.vault, id, body.signing);
      if (!made.ok) return made;
      const { signing, shown: signingSecret } = made.value;
      const { key, hash, hint } = await makeKey();
      const { name, scopes, owner = null, tenant = null, description = null, limits = null } = body;
      const about = { name, scopes, owner, tenant, description, limits, expiresAt: expiresAt.value };
      const row: KeyRow = {
        ...about,
        id,
        hash,
        hint,
        createdAt: now,
        signing,
        previousHash: null,
        previousExpiresAt: null,
      };
      await addKey(ports.db, row, { actor, now });
      await ports.configurationChanged();
      const secrets = { key: key.reveal(), ...signingSecret };
      return ok({ status: 201, body: { ...showKey(row), ...secrets }, location: `${API}/keys/${id}` });
    },
  }),

  endpoint({
    id: 'listKeys',
    tag: TAG,
    summary: 'List the API keys',
    role: 'viewer',
    method: 'GET',
    path: `${API}/keys`,
    replies: { 200: { description: 'Without the keys themselves.', schema: listOf(shown) } },
    handle: async ({ ports }) => ok({ status: 200, body: { items: (await listKeys(ports.db)).map(showKey) } }),
  }),

  endpoint({
    id: 'getKey',
    tag: TAG,
    summary: 'Read an API key',
    role: 'viewer',
    method: 'GET',
    path: PATH,
    replies: { 200: { description: 'Without the key itself.', schema: shown } },
    faults: ['key.not-found'],
    async handle({ ports, params: { id } }) {
      const row = await loadKey(ports.db, id);
      return row === undefined ? notFound(id) : ok({ status: 200, body: showKey(row) });
    },
  }),

  endpoint({
    id: 'changeKey',
    tag: TAG,
    summary: 'Change what an API key may do, and what is known of it',
    role: 'admin',
    method: 'PATCH',
    path: PATH,
    body: jsonBody(changedKeySchema),
    replies: { 200: { description: 'It was changed. What was left out stays; null takes it away.', schema: shown } },
    faults: ['key.not-found'],
    async handle({ ports, actor, params: { id }, body: { expiresAt, ...values } }) {
      const now = ports.now();
      const row = await loadKey(ports.db, id);
      if (row === undefined) return notFound(id);
      const expiry = expiresAt === undefined ? ok(row.expiresAt) : expiryOf(expiresAt, now);
      if (!expiry.ok) return expiry;
      const changed = { ...values, expiresAt: expiry.value };
      await changeKey(ports.db, id, 'key.change', changed, { actor, now });
      await ports.configurationChanged();
      return ok({ status: 200, body: showKey({ ...row, ...changed }) });
    },
  }),

  endpoint({
    id: 'rotateKey',
    tag: TAG,
    summary: 'Replace an API key, which stays good for a while',
    role: 'admin',
    method: 'POST',
    path: `${PATH}/rotate`,
    body: jsonBody(rotationSchema, true),
    replies: { 200: { description: 'The new key and signing secret, shown this once.', schema: shownOnce } },
    faults: ['key.not-found', 'vault.closed'],
    async handle({ ports, actor, params: { id }, body: { overlap } }) {
      const now = ports.now();
      const row = await loadKey(ports.db, id);
      if (row === undefined) return notFound(id);
      const overlapMilliseconds = parseDuration(overlap) ?? Infinity;
      if (overlapMilliseconds > LIMITS.keyOverlapLongestMilliseconds) return wrong('overlap', 'At most 30d.');
      const rotated = await rotateSigning(ports.vault, row);
      if (!rotated.ok) return rotated;
      const { signing, shown: signingSecret } = rotated.value;
      const { key, hash, hint } = await makeKey();
      const previous = { previousHash: row.hash, previousExpiresAt: now + overlapMilliseconds };
      const changed = { hash, hint, signing, ...previous };
      await changeKey(ports.db, id, 'key.rotate', changed, { actor, now });
      await ports.configurationChanged();
      return ok({ status: 200, body: { ...showKey({ ...row, ...changed }), key: key.reveal(), ...signingSecret } });
    },
  }),

  endpoint({
    id: 'removeKey',
    tag: TAG,
    summary: 'Revoke an API key, and the one that it replaced',
    role: 'admin',
    method: 'DELETE',
    path: PATH,
    replies: { 204: { description: 'It opens nothing any more.' } },
    faults: ['key.not-found'],
    async handle({ ports, actor, params: { id } }) {
      if (!(await removeKey(ports.db, id, { actor, now: ports.now() }))) return notFound(id);
      await ports.configurationChanged();
      return ok({ status: 204 });
    },
  }),
];
