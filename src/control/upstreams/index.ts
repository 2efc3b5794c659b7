/** Upstreams: pools of targets that routes lead to. */

import * as v from 'valibot';
import { API, endpoint } from '../endpoint.ts';
import { refuse } from '../issues.ts';
import type { BodyReader } from '../request.ts';
import { instant, iso, listOf } from '../schemas.ts';
import { parseChainText } from '../../core/chain/text.ts';
import { fail, ok } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { compilePool } from '../../core/route/upstream.ts';
import { listUpstreams, loadUpstream, removeUpstream, saveUpstream, type UpstreamRow } from '../../store/routes.ts';

const TAG = 'Upstreams';
const PATH = `${API}/upstreams/{name}`;

const document: BodyReader<unknown> = {
  read: parseChainText,
  schema: v.pipe(v.record(v.string(), v.unknown()), v.description('An upstream document; `name` may be left out.')),
  optional: false,
};

const shown = v.strictObject({
  name: v.string(),
  document: v.record(v.string(), v.unknown()),
  updatedAt: instant,
  updatedBy: v.string(),
});

const show = ({ name, document: text, updatedAt, updatedBy }: UpstreamRow) => ({
  name,
  document: text,
  updatedAt: iso(updatedAt),
  updatedBy,
});

const notFound = (name: string) => fail('upstream.not-found', `There is no upstream named ${name}.`);

export const upstreams = [
  endpoint({
    id: 'saveUpstream',
    tag: TAG,
    summary: 'Make or replace an upstream',
    role: 'developer',
    method: 'PUT',
    path: PATH,
    body: document,
    replies: {
      200: { description: 'It was replaced, and is live.', schema: shown },
      201: { description: 'It was made, and is live.', schema: shown },
    },
    faults: ['upstream.malformed'],
    async handle({ ports, actor, params: { name }, body: given }) {
      const named = isObject(given) && !Object.hasOwn(given, 'name') ? { name, ...given } : given;
      const compiled = compilePool(named);
      if (!compiled.ok) return compiled;
      if (compiled.value.name !== name) {
        const message = `The document is named "${compiled.value.name}", the address "${name}"; make them equal, or leave the name out.`;
        return refuse('upstream.malformed', [{ path: 'name', message }]);
      }
      const row = { name, document: named, updatedAt: ports.now(), updatedBy: actor };
      const { created } = await saveUpstream(ports.db, row);
      await ports.configurationChanged();
      return ok({ status: created ? 201 : 200, body: show(row), location: `${API}/upstreams/${name}` });
    },
  }),

  endpoint({
    id: 'listUpstreams',
    tag: TAG,
    summary: 'List the upstreams',
    role: 'viewer',
    method: 'GET',
    path: `${API}/upstreams`,
    replies: { 200: { description: 'Ordered by name.', schema: listOf(shown) } },
    handle: async ({ ports }) => ok({ status: 200, body: { items: (await listUpstreams(ports.db)).map(show) } }),
  }),

  endpoint({
    id: 'getUpstream',
    tag: TAG,
    summary: 'Read an upstream',
    role: 'viewer',
    method: 'GET',
    path: PATH,
    replies: { 200: { description: 'The document as it was saved.', schema: shown } },
    faults: ['upstream.not-found'],
    async handle({ ports, params: { name } }) {
      const row = await loadUpstream(ports.db, name);
      return row === undefined ? notFound(name) : ok({ status: 200, body: show(row) });
    },
  }),

  endpoint({
    id: 'removeUpstream',
    tag: TAG,
    summary: 'Remove an upstream',
    role: 'developer',
    method: 'DELETE',
    path: PATH,
    replies: { 204: { description: 'Routes to it fail from now on.' } },
    faults: ['upstream.not-found'],
    async handle({ ports, actor, params: { name } }) {
      if (!(await removeUpstream(ports.db, name, actor, ports.now()))) return notFound(name);
      await ports.configurationChanged();
      return ok({ status: 204 });
    },
  }),
];
