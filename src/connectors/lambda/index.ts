/** `lambda.*`: functions on AWS Lambda. */

import * as v from 'valibot';
import { endpoint, text } from '../kit/object-schemas.ts';
import { defineAction, originOf, type ActionContext, type Connector } from '../kit/types.ts';
import { fail, ok } from '../../core/errors.ts';
import { invoke, type Invocation } from '../../drivers/lambda/lambda.ts';

/** Begins with no dot: `..` would be another path. */
const functionName = v.pipe(
  v.string(),
  v.maxLength(170),
  v.regex(/^[A-Za-z0-9][A-Za-z0-9_.:$-]*$/, 'Must be the name or the ARN of a function.'),
);

const settings = v.strictObject({
  region: v.pipe(
    v.string(),
    v.regex(/^[a-z0-9]+(?:-[a-z0-9]+)+$/, 'Must be a region, e.g. eu-central-1.'),
    v.description('E.g. eu-central-1.'),
  ),
  endpoint: v.optional(v.pipe(endpoint, v.description('Left out for that of the region.'))),
  function: v.optional(v.pipe(functionName, v.description('Used where a step names none.'))),
});

const secrets = v.strictObject({
  accessKeyId: text,
  secretAccessKey: text,
  sessionToken: v.optional(v.pipe(text, v.description('Of temporary credentials.'))),
});

const connection = { settings, secrets };
type Settings = v.InferOutput<typeof settings>;
type Context = ActionContext<Settings, v.InferOutput<typeof secrets>>;

const target = {
  function: v.optional(v.pipe(functionName, v.description('A name or an ARN; that of the connection if left out.'))),
  qualifier: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^[A-Za-z0-9_$-]{1,128}$/, 'Must be a version, an alias or $LATEST.'),
      v.description('A version or an alias.'),
    ),
  ),
};

async function send(
  { function: name, ...invocation }: Omit<Invocation, 'function'> & { readonly function?: string | undefined },
  context: Context,
) {
  const { settings: at, secrets: keys } = context.connection;
  const called = name ?? at.function;
  if (called === undefined) return fail('step.params', '`function`: Name one here or in the connection.');
  return invoke({ ...at, ...keys }, context, { ...invocation, function: called });
}

export const lambda: Connector = {
  name: 'lambda',
  title: 'AWS Lambda',
  connection: {
    required: true,
    ...connection,
    origins: ({ region, endpoint: at }: Settings) => [
      at === undefined
        ? `https://lambda.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`
        : originOf(at),
    ],
    // Without a function of its own there is nothing that the credentials are sure to be good for.
    probe: ({ function: name }: Settings) => (name === undefined ? undefined : { action: 'check', params: {} }),
  },
  actions: {
    invoke: defineAction(
      {
        title: 'Call a function and wait for its result',
        effect: 'external',
        params: v.strictObject({
          ...target,
          payload: v.optional(v.pipe(v.unknown(), v.description('The event of the function, as JSON.'))),
          logTail: v.optional(v.pipe(v.boolean(), v.description('Gives the last 4 KB of the log as `log`.'))),
        }),
        example: { function: 'resize', payload: { key: 'a.png' } },
        run: (params, context) =>
          send({ ...params, type: 'RequestResponse', custom: { idempotencyKey: context.idempotencyKey } }, context),
      },
      connection,
    ),
    send: defineAction(
      {
        title: 'Hand an event to a function',
        effect: 'external',
        params: v.strictObject({ ...target, payload: v.unknown() }),
        example: { function: 'resize', payload: { key: 'a.png' } },
        async run(params, context) {
          const sent = await send({ ...params, type: 'Event' }, context);
          return sent.ok ? ok({}) : sent;
        },
      },
      connection,
    ),
    check: defineAction(
      {
        title: 'Check that a function may be called',
        effect: 'idempotent',
        params: v.strictObject(target),
        example: { function: 'resize' },
        async run(params, context) {
          const checked = await send({ ...params, type: 'DryRun' }, context);
          return checked.ok ? ok({}) : checked;
        },
      },
      connection,
    ),
  },
};
