/** Upstreams: pools of targets that routes lead to. */

import { documentEndpoints } from '../documents.ts';
import { ok } from '../../core/errors.ts';
import { compilePool } from '../../core/route/upstream.ts';
import { listUpstreams, loadUpstream, removeUpstream, saveUpstream } from '../../store/routes.ts';

export const upstreams = documentEndpoints({
  title: 'Upstream',
  article: 'An',
  invalid: 'upstream.malformed',
  notFound: 'upstream.not-found',
  faults: [],
  removed: 'Routes to it fail from now on.',
  compile: compilePool,
  save: async (db, row) => ok(await saveUpstream(db, row)),
  list: listUpstreams,
  load: loadUpstream,
  remove: removeUpstream,
});
