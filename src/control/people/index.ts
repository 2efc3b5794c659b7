/** People: who may use this API after signing in, and as what. */

import * as v from 'valibot';
import { API, endpoint } from '../endpoint.ts';
import { jsonBody } from '../request.ts';
import { instant, iso, listOf } from '../schemas.ts';
import { fail, ok } from '../../core/errors.ts';
import { ROLES } from '../../core/roles.ts';
import { isTaken } from '../../store/database.ts';
import { addPerson, changeRole, listPeople, loadPerson, removePerson, type PersonRow } from '../../store/people.ts';

const TAG = 'People';
const PATH = `${API}/people`;

const role = v.picklist(ROLES);

const body = v.union([
  v.strictObject({
    subject: v.pipe(
      v.string(),
      v.regex(/^(?:oidc|access)\|.{1,255}$/),
      v.examples(['oidc|248289761001']),
      v.description('`oidc|` or `access|`, and the `sub` of their tokens.'),
    ),
    role,
  }),
  v.strictObject({ email: v.pipe(v.string(), v.email(), v.maxLength(254), v.toLowerCase()), role }),
]);

const shown = v.strictObject({
  id: v.string(),
  subject: v.nullable(v.string()),
  email: v.nullable(v.string()),
  role,
  createdAt: instant,
  createdBy: v.string(),
});

const show = (row: PersonRow) => ({ ...row, createdAt: iso(row.createdAt) });
const notFound = (id: string) => fail('person.not-found', `There is no person with the id ${id}.`);

export const people = [
  endpoint({
    id: 'whoAmI',
    tag: TAG,
    summary: 'Tell who asks, and as what',
    role: 'viewer',
    method: 'GET',
    path: `${API}/me`,
    replies: {
      200: { description: 'As the audit log names it.', schema: v.strictObject({ actor: v.string(), role }) },
    },
    handle: async ({ actor, role: own }) => ok({ status: 200, body: { actor, role: own } }),
  }),

  endpoint({
    id: 'addPerson',
    tag: TAG,
    summary: 'Give a person a role',
    role: 'owner',
    method: 'POST',
    path: PATH,
    body: jsonBody(body),
    replies: { 201: { description: 'Who signs in as that person may call this API.', schema: shown } },
    faults: ['person.taken'],
    async handle({ ports, actor, body: given }) {
      const now = ports.now();
      const who = 'email' in given ? { email: given.email, subject: null } : { subject: given.subject, email: null };
      const row = { id: crypto.randomUUID(), ...who, role: given.role, createdAt: now, createdBy: actor };
      try {
        await addPerson(ports.db, row, { actor, now });
      } catch (thrown) {
        if (!isTaken(thrown, 'people')) throw thrown;
        return fail('person.taken', `${who.email ?? who.subject ?? ''} has a role already; change it by PATCH.`);
      }
      return ok({ status: 201, body: show(row), location: `${PATH}/${row.id}` });
    },
  }),

  endpoint({
    id: 'listPeople',
    tag: TAG,
    summary: 'List the people who have a role',
    role: 'owner',
    method: 'GET',
    path: PATH,
    replies: { 200: { description: 'The first who got one first.', schema: listOf(shown) } },
    handle: async ({ ports }) => ok({ status: 200, body: { items: (await listPeople(ports.db)).map(show) } }),
  }),

  endpoint({
    id: 'changePerson',
    tag: TAG,
    summary: 'Change the role of a person',
    role: 'owner',
    method: 'PATCH',
    path: `${PATH}/{id}`,
    body: jsonBody(v.strictObject({ role })),
    replies: { 200: { description: 'From the next request on.', schema: shown } },
    faults: ['person.not-found'],
    async handle({ ports, actor, params: { id }, body: { role: next } }) {
      const row = await loadPerson(ports.db, id);
      if (row === undefined) return notFound(id);
      await changeRole(ports.db, id, next, { actor, now: ports.now() });
      return ok({ status: 200, body: show({ ...row, role: next }) });
    },
  }),

  endpoint({
    id: 'removePerson',
    tag: TAG,
    summary: 'Take the role of a person away',
    role: 'owner',
    method: 'DELETE',
    path: `${PATH}/{id}`,
    replies: { 204: { description: 'They may call nothing any more.' } },
    faults: ['person.not-found'],
    async handle({ ports, actor, params: { id } }) {
      return (await removePerson(ports.db, id, { actor, now: ports.now() })) ? ok({ status: 204 }) : notFound(id);
    },
  }),
];
