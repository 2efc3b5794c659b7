/**
 * The chain document as its author writes it. The published JSON Schema, the reference in `docs/` and
 * the checks of {@link compileChain} all come from the schemas here; descriptions are for the author.
 */

import * as v from 'valibot';
import { CONNECTION } from './connection.ts';
import { DURATION, formatDuration } from './duration.ts';
import { LIMITS } from '../limits.ts';
import { POLICIES } from '../route/policies.ts';

const longest = {
  retryDelay: formatDuration(LIMITS.retryDelayLongestMilliseconds),
  stepTimeout: formatDuration(LIMITS.stepTimeoutLongestMilliseconds),
  inline: formatDuration(LIMITS.runTimeoutInlineLongestMilliseconds),
  durable: formatDuration(LIMITS.runTimeoutDurableLongestMilliseconds),
  flow: formatDuration(LIMITS.flowPeriodLongestMilliseconds),
};
const usual = {
  inline: formatDuration(LIMITS.runTimeoutInlineMilliseconds),
  durable: formatDuration(LIMITS.runTimeoutDurableMilliseconds),
};

export const STEP_ID = /^[A-Za-z][A-Za-z0-9_-]{0,63}$/;

const duration = (description: string) =>
  v.pipe(v.string(), v.regex(DURATION), v.examples(['200ms', '5s', '2m', '1h', '1d']), v.description(description));

const stepId = v.pipe(v.string(), v.regex(STEP_ID), v.examples(['charge-card']));

/** Lower-case words joined by hyphens: names of chains, connections and sources, as they stand in addresses. */
const kebabName = v.pipe(
  v.string(),
  v.regex(/^[a-z0-9]+(?:-[a-z0-9]+)*$/),
  v.maxLength(64),
  v.examples(['order-paid']),
);

const triggerFilter = v.optional(
  v.pipe(
    v.string(),
    v.examples(['{{ trigger.body.total > 100 }}']),
    v.description(
      'One expression over `trigger` and `chain`; an event for which it is false starts no run. One that fails is told at the event.',
    ),
  ),
);

const triggerInput = v.optional(
  v.pipe(
    v.unknown(),
    v.description(
      'Template of the input of the run, over `trigger`, `run` and `chain`. Default: the body of the request or event.',
    ),
  ),
);

export const TRIGGERS = {
  http: v.pipe(
    v.strictObject({
      type: v.literal('http'),
      method: v.pipe(
        v.picklist(['GET', 'POST', 'PUT', 'PATCH', 'DELETE']),
        v.description('The method that the trigger answers.'),
      ),
      path: v.pipe(
        v.string(),
        v.regex(/^\//),
        v.maxLength(1024),
        v.examples(['/orders/{id}/paid']),
        v.description(
          'The path that the trigger answers. `{name}` stands for a whole segment and is read as `trigger.params.name`. `/_/` and `/hooks/` belong to the gateway.',
        ),
      ),
      ...POLICIES,
      respond: v.optional(
        v.pipe(
          v.picklist(['result', 'accepted']),
          v.description(
            '`result`: the caller waits for the run; `accepted`: the caller gets 202 and the address of the run. Default: `result` when the chain is inline, `accepted` when it is durable.',
          ),
        ),
      ),
      input: triggerInput,
    }),
    v.description('Runs the chain for an HTTP request.'),
  ),
  webhook: v.pipe(
    v.strictObject({
      type: v.literal('webhook'),
      source: v.pipe(
        kebabName,
        v.description('The webhook source that the events come from; it verifies their signatures.'),
      ),
      events: v.optional(
        v.pipe(
          v.array(v.pipe(v.string(), v.minLength(1))),
          v.minLength(1),
          v.description('Types of the events that start a run. Default: every event of the source.'),
        ),
      ),
      filter: triggerFilter,
      input: triggerInput,
    }),
    v.description('Runs the chain for each verified event of a source.'),
  ),
  schedule: v.pipe(
    v.strictObject({
      type: v.literal('schedule'),
      cron: v.pipe(
        v.string(),
        v.examples(['0 3 * * *']),
        v.description('Five fields: minute, hour, day of the month, month, day of the week.'),
      ),
      timezone: v.optional(
        v.pipe(
          v.string(),
          v.examples(['Europe/Berlin']),
          v.description('The IANA time zone that the fields are read in.'),
        ),
        'UTC',
      ),
      missed: v.optional(
        v.pipe(
          v.picklist(['skip', 'latest', 'all']),
          v.description(
            'What becomes of times that passed while the gateway was down: none, the last or all of them run.',
          ),
        ),
        'latest',
      ),
      input: triggerInput,
    }),
    v.description('Runs the chain at given times.'),
  ),
  queue: v.pipe(
    v.strictObject({
      type: v.literal('queue'),
      queue: v.pipe(
        v.string(),
        v.regex(/^(?!tidegate-)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/, 'Must be the name of a queue of yours.'),
        v.examples(['orders']),
        v.description('The Cloudflare Queue whose messages start a run; the Worker must be its consumer.'),
      ),
      filter: triggerFilter,
      input: triggerInput,
    }),
    v.description('Runs the chain for each message of a Cloudflare Queue.'),
  ),
  subscription: v.pipe(
    v.strictObject({
      type: v.literal('subscription'),
      to: v.pipe(
        v.string(),
        v.examples(['postgres.channel']),
        v.description('What is listened to: `connector.subscription`.'),
      ),
      connection: v.optional(
        v.pipe(
          v.string(),
          v.regex(CONNECTION),
          v.maxLength(LIMITS.connectionCharacters),
          v.examples(['shop-db', 'acme/crm']),
          v.description('The connection that is listened through, by its name; `tenant/name` for one of a tenant.'),
        ),
      ),
      with: v.optional(
        v.pipe(
          v.record(v.string(), v.unknown()),
          v.description('Parameters of the subscription, without expressions: it is opened before there is an event.'),
        ),
      ),
      filter: triggerFilter,
      input: triggerInput,
    }),
    v.description('Runs the chain for each event of another system, which the gateway keeps a connection to.'),
  ),
  manual: v.pipe(
    v.strictObject({ type: v.literal('manual') }),
    v.description('Lets the chain be started by hand. Every chain can be, so this only gives the trigger a name.'),
  ),
} as const;

export const triggerSchema = v.variant('type', [
  TRIGGERS.http,
  TRIGGERS.webhook,
  TRIGGERS.schedule,
  TRIGGERS.queue,
  TRIGGERS.subscription,
  TRIGGERS.manual,
]);

export const retriesSchema = v.strictObject({
  limit: v.pipe(
    v.number(),
    v.integer(),
    v.minValue(0),
    v.maxValue(LIMITS.stepAttempts - 1),
    v.description('Attempts after the first.'),
  ),
  delay: v.optional(duration(`Wait before the second attempt. At most ${longest.retryDelay}.`), '1s'),
  backoff: v.optional(
    v.pipe(
      v.picklist(['constant', 'linear', 'exponential']),
      v.description('How the wait grows from one attempt to the next.'),
    ),
    'exponential',
  ),
  jitter: v.optional(
    v.pipe(
      v.boolean(),
      v.description('Spreads each wait over its upper half, so that failed runs do not return together.'),
    ),
    true,
  ),
  cap: v.optional(duration(`The longest wait between two attempts. At most ${longest.retryDelay}.`), '5m'),
  if: v.optional(
    v.pipe(
      v.string(),
      v.examples(['{{ error.data.status != 409 }}']),
      v.description(
        'One expression over `error` (`code`, `message`, `data`, `attempt`) and all roots; where it is false, the failure is final.',
      ),
    ),
  ),
});

/** A compensation. */
const connection = (description: string) =>
  v.pipe(
    v.string(),
    v.regex(CONNECTION),
    v.maxLength(LIMITS.connectionCharacters),
    v.examples(['shop-db', '{{ trigger.tenant }}/crm']),
    v.description(description),
  );

const undoSchema = v.strictObject({
  use: v.pipe(v.string(), v.examples(['stripe.refund']), v.description('The action that undoes the step.')),
  connection: v.optional(connection('The connection that the action uses.')),
  with: v.optional(
    v.pipe(v.record(v.string(), v.unknown()), v.description('Its parameters; `steps` holds the output of the step.')),
  ),
  retries: v.optional(v.pipe(retriesSchema, v.description('As for a step.'))),
  timeout: v.optional(duration(`The longest time of one attempt. At most ${longest.stepTimeout}.`)),
});

export const stepSchema = v.strictObject({
  use: v.pipe(
    v.string(),
    v.examples(['http.post']),
    v.description('The action that the step performs: `connector.action`.'),
  ),
  connection: v.optional(
    connection(
      'The connection whose credentials the action uses, where it needs one; `tenant/name` for one of a tenant, `{{ trigger.tenant }}/name` for that of the caller.',
    ),
  ),
  with: v.optional(
    v.pipe(
      v.record(v.string(), v.unknown()),
      v.description(
        'Parameters of the action. Texts may hold `{{ expressions }}`; one that is the whole text keeps its type.',
      ),
    ),
  ),
  after: v.optional(
    v.pipe(
      v.array(stepId),
      v.description('Steps that must have settled before. Steps that an expression refers to are waited for anyway.'),
    ),
  ),
  if: v.optional(
    v.pipe(
      v.string(),
      v.examples(['{{ steps.order.rows[0].vip }}']),
      v.description('One expression; the step is skipped when it is false.'),
    ),
  ),
  onError: v.optional(
    v.pipe(
      v.string(),
      v.examples(['continue']),
      v.description(
        'What happens when the step has failed for good: `stop` fails the run, `continue` goes on without its output, the id of a step runs that step.',
      ),
    ),
    'stop',
  ),
  retries: v.optional(
    v.pipe(
      retriesSchema,
      v.description(
        'Further attempts after a failure that may pass. Default: none in an inline chain; 3 in a durable one, but none for an action of effect class `external`, which is repeated only where this is written.',
      ),
    ),
  ),
  timeout: v.optional(
    duration(
      `The longest time of one attempt. At most ${longest.stepTimeout}. Default: ${formatDuration(LIMITS.stepTimeoutMilliseconds)}.`,
    ),
  ),
  undo: v.optional(
    v.pipe(
      undoSchema,
      v.description(
        'What takes the effect of the step back. When the run fails or is cancelled, the steps that succeeded are undone, the last first.',
      ),
    ),
  ),
  description: v.optional(v.pipe(v.string(), v.description('For the reader.'))),
});

const flowKey = (description: string) =>
  v.pipe(v.string(), v.minLength(1), v.examples(['{{ input.customer }}']), v.description(description));

const flowLimit = (description: string) =>
  v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(LIMITS.flowLimit), v.description(description));

const flowPeriod = (description: string) => duration(`${description} At most ${longest.flow}.`);

/** What makes runs wait, leaves them out, or puts them in order. All of it needs a durable chain. */
const FLOW = {
  concurrency: v.strictObject({
    limit: flowLimit('Runs at a time. One that has started counts until it has ended, also while it waits.'),
    key: v.optional(
      flowKey('Counts the runs of each value by itself. Over `trigger`, `input` and `chain`. Default: all runs.'),
    ),
    strategy: v.optional(
      v.pipe(
        v.picklist(['queue', 'drop', 'cancel-oldest']),
        v.description(
          'What becomes of a run over the limit: `queue`: it waits; `drop`: it ends with `run.dropped`; `cancel-oldest`: the oldest ends with `run.superseded`, and it starts.',
        ),
      ),
      'queue',
    ),
  }),
  throttle: v.strictObject({
    limit: flowLimit('Starts in each period, evenly spread; further runs wait.'),
    period: flowPeriod('The time that the limit is for.'),
    burst: v.optional(flowLimit('Runs that may start at once after a rest.'), 1),
    key: v.optional(flowKey('As for `concurrency`.')),
  }),
  debounce: v.strictObject({
    period: flowPeriod(
      'How long no further run may come before the newest starts; the others end with `run.superseded`.',
    ),
    key: v.optional(flowKey('As for `concurrency`.')),
    maximum: v.optional(flowPeriod('The longest time from the first run of a burst to the start. Default: none.')),
  }),
  idempotency: v.strictObject({
    key: flowKey('A run with the key of an earlier one is that run: its id is given back, and nothing starts.'),
    period: flowPeriod('How long that is so.'),
  }),
  order: v.strictObject({
    strategy: v.pipe(
      v.literal('fifo'),
      v.description('One run at a time, each after the one that was accepted before it has ended.'),
    ),
    key: v.optional(flowKey('Puts the runs of each value in an order of their own. As for `concurrency`.')),
  }),
} as const;

export const chainSchema = v.pipe(
  v.strictObject({
    $schema: v.optional(v.pipe(v.string(), v.description('Address of this schema, for completion in an editor.'))),
    name: v.pipe(kebabName, v.description('Name of the chain, unique in the gateway.')),
    description: v.optional(v.pipe(v.string(), v.description('For the reader.'))),
    triggers: v.optional(
      v.pipe(
        v.record(stepId, triggerSchema),
        v.description('What starts the chain, by name. Without any, it is started by hand.'),
      ),
    ),
    input: v.optional(
      v.pipe(
        v.record(v.string(), v.unknown()),
        v.description('JSON Schema (2020-12) that the input of a run must match.'),
      ),
    ),
    mode: v.optional(
      v.pipe(
        v.picklist(['inline', 'durable']),
        v.description(
          '`inline`: runs while the caller waits and stores nothing on the way; `durable`: survives crashes. Default: inline when every trigger is http, else durable.',
        ),
      ),
    ),
    steps: v.pipe(
      v.record(stepId, stepSchema),
      v.maxEntries(LIMITS.chainSteps),
      v.description('The steps, by id. They may be left empty when there is an output.'),
    ),
    output: v.optional(
      v.pipe(v.unknown(), v.description('Template of the result of the run, over all roots. Default: null.')),
    ),
    onFailure: v.optional(
      v.pipe(
        kebabName,
        v.description(
          'The chain that is started when a run fails. Its input is `{ run, chain, version, error, input }`; it starts no further one when it fails itself.',
        ),
      ),
    ),
    concurrency: v.optional(v.pipe(FLOW.concurrency, v.description('How many runs there may be at a time.'))),
    throttle: v.optional(v.pipe(FLOW.throttle, v.description('How often runs start.'))),
    debounce: v.optional(v.pipe(FLOW.debounce, v.description('Runs only the newest of a burst.'))),
    idempotency: v.optional(v.pipe(FLOW.idempotency, v.description('Makes one run of those with the same key.'))),
    order: v.optional(v.pipe(FLOW.order, v.description('Runs one after the other.'))),
    priority: v.optional(
      v.pipe(
        v.string(),
        v.examples(['{{ input.vip ? 50 : 0 }}']),
        v.description(
          `One expression over \`trigger\`, \`input\`, \`run\` and \`chain\` that gives a number from -${LIMITS.flowPriority} to ${LIMITS.flowPriority}. Of the runs that wait, those with the largest start first.`,
        ),
      ),
    ),
    timeout: v.optional(
      duration(
        `The longest time of a run, from its start. Default: ${usual.inline} inline, ${usual.durable} durable; at most ${longest.inline} inline, ${longest.durable} durable.`,
      ),
    ),
  }),
  v.title('Chain'),
  v.description('A chain of steps over connectors, with the triggers that start it.'),
);

export type ChainDocument = v.InferOutput<typeof chainSchema>;
export type TriggerDocument = v.InferOutput<typeof triggerSchema>;
export type StepDocument = v.InferOutput<typeof stepSchema>;
export type UndoDocument = v.InferOutput<typeof undoSchema>;
export type RetriesDocument = v.InferOutput<typeof retriesSchema>;
