/** One action on many runs. */

import * as v from 'valibot';
import { API, endpoint } from '../endpoint.ts';
import type { ControlPorts } from '../ports.ts';
import { jsonBody } from '../request.ts';
import { ok, type Result } from '../../core/errors.ts';
import { RUN_STATUSES } from '../../core/engine/record.ts';
import { LIMITS } from '../../core/limits.ts';
import { recordAction } from '../../store/audit.ts';

const ACTIONS: Readonly<Record<string, (ports: ControlPorts, id: string) => Promise<Result<unknown>>>> = {
  cancel: (ports, id) => ports.cancelRun(id),
  pause: (ports, id) => ports.pauseRun(id, true),
  resume: (ports, id) => ports.pauseRun(id, false),
  retry: (ports, id) => ports.retryRun(id, 'same'),
  replay: (ports, id) => ports.replayRun(id, undefined),
};

const body = v.strictObject({
  action: v.picklist(['cancel', 'pause', 'resume', 'retry', 'replay']),
  chain: v.pipe(v.string(), v.description('Runs of this chain.')),
  status: v.pipe(v.picklist(RUN_STATUSES), v.description('Runs that are so now.')),
  limit: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIMITS.runsPerPage)), LIMITS.runsPerPage),
  after: v.optional(v.pipe(v.string(), v.description('`next` of the previous call.'))),
});

export const bulk = endpoint({
  id: 'actOnRuns',
  tag: 'Runs',
  summary: 'Cancel, pause, resume, retry or replay many runs',
  role: 'developer',
  method: 'POST',
  path: `${API}/runs/bulk`,
  body: jsonBody(body),
  replies: {
    200: {
      description: 'What became of each, the newest first. `next` is null where there are no more.',
      schema: v.strictObject({
        items: v.array(v.strictObject({ id: v.string(), done: v.boolean(), error: v.optional(v.string()) })),
        next: v.nullable(v.string()),
      }),
    },
  },
  async handle({ ports, actor, body: { action, chain, status, limit, after } }) {
    const page = await ports.listRuns({ chain, status, limit, ...(after === undefined ? {} : { after }) });
    if (!page.ok) return page;
    const act = ACTIONS[action];
    const items = await Promise.all(
      page.value.items.map(async ({ id }) => {
        const result = await act?.(ports, id);
        return result?.ok === true ? { id, done: true } : { id, done: false, error: result?.fault.message ?? '' };
      }),
    );
    await recordAction(ports.db, { at: ports.now(), actor, action: `run.${action}-many`, subject: chain });
    return ok({ status: 200, body: { items, next: page.value.next ?? null } });
  },
});
