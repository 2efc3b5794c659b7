/** `mongodb.*`: MongoDB over its own protocol; see docs/mongodb.md. */

import * as v from 'valibot';
import { fail, FaultError, ok, type Result } from '../../core/errors.ts';
import { isObject } from '../../core/json.ts';
import { LIMITS } from '../../core/limits.ts';
import { fromJson, toJson } from '../../drivers/mongodb/bson.ts';
import type { Session } from '../../drivers/mongodb/session.ts';
import { defineAction, type Action, type Connector } from '../kit/types.ts';
import { authoredIssue } from './authored.ts';
import { checkCommand } from './command.ts';
import { connection, facts, using, type Context } from './connection.ts';
import { files } from './files.ts';
import { authoredFault, document, prepared, type Operation } from './operation.ts';
import { reads } from './reads.ts';
import { writes } from './writes.ts';

const operations: Readonly<Record<string, Operation>> = { ...reads, ...writes };

/** @throws FaultError */
function unwrap<T>(result: Result<T>): T {
  if (result.ok) return result.value;
  throw new FaultError(result.fault);
}

const actionOf = (operation: Operation): Action =>
  defineAction(
    {
      ...operation,
      async run(params, context: Context) {
        const checked = authoredFault(operation, params, context.written);
        if (!checked.ok) return checked;
        return using(context, (session) => operation.run(session, unwrap(prepared(operation, params, session.bson))));
      },
    },
    connection,
  );

const transactionParams = v.strictObject({
  operations: v.pipe(
    v.array(
      v.strictObject({
        action: v.picklist(Object.keys(operations)),
        with: v.pipe(v.record(v.string(), v.unknown()), v.description('The parameters of that action.')),
      }),
    ),
    v.minLength(1),
    v.maxLength(LIMITS.mongoTransactionOperations),
  ),
});

interface Part {
  readonly operation: Operation;
  readonly params: unknown;
  readonly path: string;
}

/** The operations with their parameters parsed, all of them before the first is sent. */
function partsOf(
  { operations: list }: v.InferOutput<typeof transactionParams>,
  written: unknown,
): Result<readonly Part[]> {
  const writtenList = isObject(written) && Array.isArray(written['operations']) ? written['operations'] : [];
  const isSame = writtenList.length === list.length;
  const parts: Part[] = [];
  for (const [index, { action, with: given }] of list.entries()) {
    const path = `operations[${index}].with.`;
    const operation = operations[action];
    if (operation === undefined) return fail('step.params', `operations[${index}].action: There is none of that name.`);
    const parsed = v.safeParse(operation.params, given);
    if (!parsed.success) {
      const [issue] = parsed.issues;
      return fail('step.params', `${path}${v.getDotPath(issue) ?? ''}: ${issue.message}`);
    }
    const writtenPart: unknown = isSame ? writtenList[index] : undefined;
    const writtenWith = isObject(writtenPart) ? writtenPart['with'] : undefined;
    const checked = authoredFault(operation, parsed.output, writtenWith, path);
    if (!checked.ok) return checked;
    parts.push({ operation, params: parsed.output, path });
  }
  return ok(parts);
}

async function runParts(session: Session, parts: readonly Part[]): Promise<unknown[]> {
  const ready = parts.map(({ operation, params, path }) => unwrap(prepared(operation, params, session.bson, path)));
  const results: unknown[] = [];
  for (const [index, { operation }] of parts.entries()) results.push(await operation.run(session, ready[index]));
  return results;
}

const transaction = defineAction(
  {
    title: 'Run operations in one transaction',
    effect: 'external',
    params: transactionParams,
    example: {
      operations: [
        {
          action: 'updateOne',
          with: { collection: 'accounts', filter: { _id: 1 }, update: { $inc: { balance: -10 } } },
        },
        {
          action: 'updateOne',
          with: { collection: 'accounts', filter: { _id: 2 }, update: { $inc: { balance: 10 } } },
        },
      ],
    },
    async run(params, context) {
      const parts = partsOf(params, context.written);
      if (!parts.ok) return parts;
      return using(context, async (session) => ({
        results: await session.transaction(() => runParts(session, parts.value)),
      }));
    },
  },
  connection,
);

const command = defineAction(
  {
    title: 'Run a command',
    effect: 'external',
    params: v.strictObject({
      command: v.pipe(document, v.description('Its name first, e.g. `{ "listIndexes": "orders" }`.')),
    }),
    example: {
      command: { createIndexes: 'orders', indexes: [{ key: { customer: 1 }, name: 'customer', unique: true }] },
    },
    async run({ command: given }, context) {
      const written = isObject(context.written) ? context.written['command'] : undefined;
      const checked = checkCommand(given, written);
      if (!checked.ok) return checked;
      const issue = authoredIssue(given, written, 'expression', 'command');
      if (issue !== undefined) return fail('step.params', issue);
      return using(context, async (session) => {
        const sent = v.parse(document, unwrap(fromJson(session.bson, given, 'command')));
        const { $clusterTime: _, operationTime: __, ...reply } = await session.command(sent);
        return { reply: toJson(session.bson, reply) };
      });
    },
  },
  connection,
);

export const mongodb: Connector = {
  name: 'mongodb',
  title: 'MongoDB',
  connection: facts,
  actions: {
    ...Object.fromEntries(Object.entries(operations).map(([name, operation]) => [name, actionOf(operation)])),
    transaction,
    ...files,
    command,
  },
};
