/** A run as it goes on. */

import { runEvent } from './schemas.ts';
import { API, endpoint } from '../endpoint.ts';
import { ok } from '../../core/errors.ts';

export const watch = endpoint({
  id: 'watchRun',
  tag: 'Runs',
  summary: 'Watch a run as it goes on',
  role: 'viewer',
  method: 'GET',
  path: `${API}/runs/{id}/events`,
  replies: {
    200: {
      description:
        'Server-sent events, each with the JSON below as its data, until the run has ended; with `Upgrade: websocket` ' +
        'the same JSON as messages. The first events tell how everything stands, or with `Last-Event-ID` what has ' +
        'changed since. An event holds the whole state of the run or of one step and may come twice.',
      schema: runEvent,
      mediaType: 'text/event-stream',
    },
    204: { description: 'The run has ended, and the client has seen that.' },
  },
  faults: ['run.not-found', 'run.busy'],
  async handle({ ports, params: { id }, request }) {
    const stream = await ports.streamRun(id, request);
    return stream.ok ? ok({ status: 200, response: stream.value }) : stream;
  },
});
