/** Control of runs under way, and new runs out of old ones. */

import * as v from 'valibot';
import { runRecord } from './schemas.ts';
import { API, endpoint, type Reply } from '../endpoint.ts';
import { jsonBody } from '../request.ts';
import { showRun } from '../../core/engine/show.ts';
import { ok, type Result } from '../../core/errors.ts';
import { recordAction } from '../../store/audit.ts';

const TAG = 'Runs';

export const started = v.strictObject({ id: v.string(), url: v.string() });

const retryBody = v.strictObject({
  version: v.optional(
    v.pipe(v.picklist(['same', 'newest']), v.description('The version of the chain that the new run is on.')),
    'same',
  ),
});

const replayBody = v.strictObject({
  input: v.optional(v.pipe(v.unknown(), v.description('Default: the input of the run.'))),
});

const pausing = (paused: boolean) =>
  endpoint({
    id: paused ? 'pauseRun' : 'resumeRun',
    tag: TAG,
    summary: paused ? 'Start no further step of a run' : 'Go on with a paused run',
    role: 'developer',
    method: 'POST',
    path: `${API}/runs/{id}/${paused ? 'pause' : 'resume'}`,
    replies: { 200: { description: paused ? 'What is under way ends.' : 'It goes on.', schema: runRecord } },
    faults: ['run.not-found', 'run.ended'],
    async handle({ ports, actor, params: { id } }) {
      const run = await ports.pauseRun(id, paused);
      if (!run.ok) return run;
      const action = paused ? 'run.pause' : 'run.resume';
      await recordAction(ports.db, { at: ports.now(), actor, action, subject: id });
      return ok({ status: 200, body: showRun(run.value) });
    },
  });

export const again = [
  pausing(true),
  pausing(false),

  endpoint({
    id: 'retryRun',
    tag: TAG,
    summary: 'Retry a failed run from the step that failed',
    role: 'developer',
    method: 'POST',
    path: `${API}/runs/{id}/retry`,
    body: jsonBody(retryBody, true),
    replies: {
      202: { description: 'A new run; results of the old one are taken over and not made again.', schema: started },
    },
    faults: ['run.not-found', 'run.not-failed', 'chain.not-found', 'run.busy'],
    async handle({ ports, actor, origin, params: { id }, body: { version } }) {
      const run = await ports.retryRun(id, version);
      if (run.ok) await recordAction(ports.db, { at: ports.now(), actor, action: 'run.retry', subject: id });
      return accepted(run, origin);
    },
  }),

  endpoint({
    id: 'replayRun',
    tag: TAG,
    summary: 'Start a run again from its beginning',
    role: 'developer',
    method: 'POST',
    path: `${API}/runs/{id}/replay`,
    body: jsonBody(replayBody, true),
    replies: { 202: { description: 'A new run on the newest version.', schema: started } },
    faults: ['run.not-found', 'chain.not-found', 'input.invalid', 'run.busy'],
    async handle({ ports, actor, origin, params: { id }, body }) {
      const run = await ports.replayRun(id, 'input' in body ? { value: body.input } : undefined);
      if (run.ok) await recordAction(ports.db, { at: ports.now(), actor, action: 'run.replay', subject: id });
      return accepted(run, origin);
    },
  }),
];

function accepted(run: Result<{ readonly id: string }>, origin: string): Result<Reply> {
  if (!run.ok) return run;
  const path = `${API}/runs/${run.value.id}`;
  return ok({ status: 202, body: { id: run.value.id, url: origin + path }, location: path });
}
