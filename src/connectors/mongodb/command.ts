/** `mongodb.command`: commands for which there is no action of their own, if they are known to be harmless. */

import { fail, ok, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';

/**
 * Everything else is refused: `eval` and `mapReduce` run code, `find` and its like have actions that tell code from
 * data, and users, roles, shutdown or replication are the business of nobody who writes a chain.
 */
const ALLOWED: ReadonlySet<string> = new Set([
  'buildInfo',
  'collMod',
  'collStats',
  'connectionStatus',
  'create',
  'createIndexes',
  'dbStats',
  'drop',
  'dropIndexes',
  'hello',
  'listCollections',
  'listIndexes',
  'ping',
  'validate',
]);

/** Belongs to the session, not to the command. */
const ENVELOPE: ReadonlySet<string> = new Set(['lsid', 'txnNumber', 'autocommit', 'startTransaction']);

/** Fault `step.params` where the command is not one of those, or its name was not written by the author. */
export function checkCommand(command: Readonly<Record<string, unknown>>, written: unknown): Result<undefined> {
  const [name = ''] = Object.keys(command);
  if (!ALLOWED.has(name)) {
    return fail(
      'step.params',
      `command: "${name.slice(0, 50)}" is not open to steps; these are: ${[...ALLOWED].join(', ')}.`,
    );
  }
  const [writtenName] = isObject(written) ? Object.keys(written) : [];
  // A probe is written by nobody.
  if (writtenName !== name && name !== 'ping') {
    return fail('step.params', 'command: Its name must stand in the chain itself, without expressions.');
  }
  const target = command[name];
  if (typeof target === 'string' && target.startsWith('system.')) {
    return fail('step.params', `command.${name}: Collections of the system are not open to steps.`);
  }
  const foreign = Object.keys(command).find((key) => key.startsWith('$') || ENVELOPE.has(key));
  return foreign === undefined
    ? ok(undefined)
    : fail('step.params', `command.${foreign.slice(0, 50)}: Belongs to the session; leave it out.`);
}
