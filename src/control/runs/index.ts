/** Runs: start one by hand, look at it, cancel it, list them. */

import * as v from 'valibot';
import { again, started } from './again.ts';
import { bulk } from './bulk.ts';
import { runRecord, runSummary } from './schemas.ts';
import { watch } from './watch.ts';
import { API, endpoint } from '../endpoint.ts';
import { jsonBody } from '../request.ts';
import { ok } from '../../core/errors.ts';
import { RUN_STATUSES } from '../../core/engine/record.ts';
import { showRun, showSummary } from '../../core/engine/show.ts';
import { LIMITS } from '../../core/limits.ts';
import { HOPS_HEADER, hopsOf } from '../../core/policy/hops.ts';
import { recordAction } from '../../store/audit.ts';

const TAG = 'Runs';

const startBody = v.strictObject({
  input: v.optional(
    v.pipe(v.unknown(), v.description('What the chain reads as `input`. Default: an empty object.')),
    {},
  ),
});

const listQuery = v.strictObject({
  chain: v.optional(v.string()),
  status: v.optional(v.picklist(RUN_STATUSES)),
  limit: v.optional(
    v.pipe(v.string(), v.regex(/^[1-9]\d{0,3}$/), v.transform(Number), v.maxValue(LIMITS.runsPerPage)),
    '50',
  ),
  after: v.optional(v.pipe(v.string(), v.description('`next` of the previous page.'))),
});

export const runs = [
  endpoint({
    id: 'startRun',
    tag: TAG,
    summary: 'Start a run of a chain',
    role: 'developer',
    method: 'POST',
    path: `${API}/chains/{name}/runs`,
    body: jsonBody(startBody, true),
    replies: {
      202: {
        description: 'The run is accepted, and stored where the chain is durable.',
        schema: started,
      },
    },
    faults: ['chain.not-found', 'input.invalid', 'run.busy'],
    async handle({ ports, origin, request, params: { name }, body: { input } }) {
      const started = await ports.startRun(name, input, hopsOf(request.headers.get(HOPS_HEADER)));
      if (!started.ok) return started;
      const { id } = started.value;
      const path = `${API}/runs/${id}`;
      return ok({ status: 202, body: { id, url: origin + path }, location: path });
    },
  }),

  endpoint({
    id: 'getRun',
    tag: TAG,
    summary: 'Read a run with its steps and attempts',
    role: 'viewer',
    method: 'GET',
    path: `${API}/runs/{id}`,
    replies: { 200: { description: 'As far as the run has come.', schema: runRecord } },
    faults: ['run.not-found'],
    async handle({ ports, params: { id } }) {
      const run = await ports.getRun(id);
      return run.ok ? ok({ status: 200, body: showRun(run.value) }) : run;
    },
  }),

  endpoint({
    id: 'listRuns',
    tag: TAG,
    summary: 'List runs, the newest first',
    role: 'viewer',
    method: 'GET',
    path: `${API}/runs`,
    query: listQuery,
    replies: {
      200: {
        description: '`next` is null on the last page.',
        schema: v.strictObject({ items: v.array(runSummary), next: v.nullable(v.string()) }),
      },
    },
    async handle({ ports, query: { chain, status, limit, after } }) {
      const page = await ports.listRuns({
        limit,
        ...(chain === undefined ? {} : { chain }),
        ...(status === undefined ? {} : { status }),
        ...(after === undefined ? {} : { after }),
      });
      if (!page.ok) return page;
      const { items, next } = page.value;
      return ok({ status: 200, body: { items: items.map(showSummary), next: next ?? null } });
    },
  }),

  endpoint({
    id: 'cancelRun',
    tag: TAG,
    summary: 'Cancel a run',
    role: 'developer',
    method: 'POST',
    path: `${API}/runs/{id}/cancel`,
    replies: { 200: { description: 'No further step begins.', schema: runRecord } },
    faults: ['run.not-found', 'run.ended'],
    async handle({ ports, actor, params: { id } }) {
      const run = await ports.cancelRun(id);
      if (!run.ok) return run;
      await recordAction(ports.db, { at: ports.now(), actor, action: 'run.cancel', subject: id });
      return ok({ status: 200, body: showRun(run.value) });
    },
  }),

  ...again,
  bulk,
  watch,
];
