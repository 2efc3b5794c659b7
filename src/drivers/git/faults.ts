/** What isomorphic-git throws, as faults. Its messages repeat what a server sent, so none of them is handed on. */

import { fault, FaultError, type Fault } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { interrupted } from '../http/request.ts';

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** The other side took a change of someone else meanwhile: what was read is old, and the step reads anew. */
export const moved = (): Fault =>
  fault('upstream.rejected', 'Somebody else has pushed meanwhile; the next attempt starts from what is there now.', {
    retryable: true,
    data: { reason: 'non-fast-forward' },
  });

const RACES = /non-fast-forward|fetch first|failed to update ref|cannot lock ref|stale info|reference already exists/i;

/** The line of the server about a reference that it did not take, e.g. `pre-receive hook declined`. */
function declined(data: Readonly<Record<string, unknown>>): Fault {
  const result = isObject(data['result']) ? data['result'] : {};
  const refs = isObject(result['refs']) ? Object.values(result['refs']) : [];
  const reason = [...refs.map((ref) => (isObject(ref) ? text(ref['error']) : '')), text(result['error'])].find(Boolean);
  if (reason !== undefined && RACES.test(reason)) return moved();
  const shown = (reason ?? 'it gave no reason').slice(0, 200).trim();
  return fault('upstream.rejected', `The Git server refused the push: ${shown}.`, { data: { reason: shown } });
}

const MAPPED: Readonly<Record<string, (data: Readonly<Record<string, unknown>>) => Fault>> = {
  NotFoundError: (data) =>
    fault('upstream.rejected', `The repository has no ${text(data['what']).slice(0, 200) || 'such object'}.`),
  PushRejectedError: ({ reason }) =>
    reason === 'tag-exists' ? fault('upstream.rejected', 'There is another tag of this name.') : moved(),
  GitPushError: declined,
  MergeNotSupportedError: () =>
    fault(
      'upstream.rejected',
      'This merge needs more than one common ancestor, or a file in place of a folder; make it by hand.',
    ),
};

export function gitFault(thrown: unknown, signal: AbortSignal | undefined): Fault {
  if (thrown instanceof FaultError) return thrown.fault;
  if (signal?.aborted === true) {
    const ended = interrupted(thrown, signal, 'The Git server');
    if (!ended.ok) return ended.fault;
  }
  const { code, data } = isObject(thrown) ? thrown : {};
  const known = MAPPED[text(code)];
  if (known !== undefined) return known(isObject(data) ? data : {});
  return fault('upstream.invalid', 'The Git server sent something that cannot be read; check `url`.', {
    detail: thrown,
  });
}
