/**
 * Flow control as its author declared it: checked at publish, and evaluated for each run before it is
 * accepted. All runs that share a limit live in one object, which keeps it by itself. Where every key of a
 * chain is the same, runs are spread over the objects by that key; else one object has the whole chain.
 */

import { canonicalJson } from './canonical.ts';
import type { ChainDocument } from './document.ts';
import { boundedDuration } from './retries.ts';
import { at, type IssueList } from './issues.ts';
import type { FlowPlan, Mode } from './plan.ts';
import { checkTemplate, compileCondition } from './scopes.ts';
import { FaultError, fault, faultOf, type Fault } from '../errors.ts';
import type { Template } from '../expression/types.ts';
import { LIMITS } from '../limits.ts';
import type { Flow } from '../policy/flow.ts';
import type { TriggerEvent } from '../engine/state.ts';

const FIELDS = ['concurrency', 'throttle', 'debounce', 'idempotency', 'order', 'priority'] as const;
type Field = (typeof FIELDS)[number];

/** Undefined for a chain that declares none. */
export function compileFlow(chain: ChainDocument, mode: Mode, issues: IssueList): FlowPlan | undefined {
  const declared = FIELDS.filter((field) => chain[field] !== undefined);
  if (declared.length === 0) return undefined;
  if (mode === 'inline') {
    const fix = 'An inline chain runs at once and keeps no queue: set "mode" to "durable", or remove the field.';
    for (const field of declared) issues.add(field, fix);
  }
  checkTogether(chain, issues);
  const { concurrency, throttle, debounce, idempotency, order } = chain;
  const period = (text: string, ...path: readonly string[]): number =>
    boundedDuration(text, LIMITS.flowPeriodLongestMilliseconds, at('', ...path), issues);
  const keys = [concurrency, throttle, debounce, idempotency, order].flatMap((field) => (field ? [field.key] : []));
  const quiet = debounce === undefined ? 0 : period(debounce.period, 'debounce', 'period');
  const maximum = debounce?.maximum === undefined ? undefined : period(debounce.maximum, 'debounce', 'maximum');
  if (maximum !== undefined && maximum < quiet) issues.add('debounce.maximum', 'Must be at least the period.');
  const priority = compileCondition(chain.priority, 'priority', { roots: PRIORITY_ROOTS, steps: [] }, issues);
  return {
    concurrency: concurrency && { ...concurrency, key: compileKey(concurrency.key, 'concurrency', issues) },
    throttle: throttle && {
      limit: throttle.limit,
      burst: throttle.burst,
      periodMilliseconds: period(throttle.period, 'throttle', 'period'),
      key: compileKey(throttle.key, 'throttle', issues),
    },
    debounce: debounce && {
      periodMilliseconds: quiet,
      maximumMilliseconds: maximum,
      key: compileKey(debounce.key, 'debounce', issues),
    },
    idempotency: idempotency && {
      periodMilliseconds: period(idempotency.period, 'idempotency', 'period'),
      key: compileKey(idempotency.key, 'idempotency', issues),
    },
    order: order && { key: compileKey(order.key, 'order', issues) },
    priority,
    spread: new Set(keys).size === 1 && keys[0] !== undefined,
  };
}

/** What contradicts each other, or has no effect. */
function checkTogether({ concurrency, throttle, debounce, order, priority }: ChainDocument, issues: IssueList): void {
  const strategy = concurrency?.strategy ?? 'queue';
  if (order !== undefined) {
    if (priority !== undefined) {
      issues.add('priority', 'Runs in order do not overtake each other: remove "priority" or "order".');
    }
    if (debounce !== undefined) {
      issues.add('debounce', 'A debounce leaves runs out and delays others: remove "debounce" or "order".');
    }
    if (strategy !== 'queue') {
      const fix = `"${strategy}" leaves runs out: set it to "queue", or remove "order".`;
      issues.add('concurrency.strategy', fix);
    }
  }
  const waits = throttle !== undefined || (concurrency !== undefined && strategy === 'queue');
  if (priority !== undefined && order === undefined && !waits) {
    const fix = 'No run of this chain waits for its turn: add "concurrency" with the strategy "queue", or "throttle".';
    issues.add('priority', fix);
  }
}

/** Without `run`: a delivery that comes again must have the same key. */
const KEY_ROOTS = ['trigger', 'input', 'chain'] as const;
const PRIORITY_ROOTS = [...KEY_ROOTS, 'run'] as const;

function compileKey(text: string | undefined, field: Field, issues: IssueList): Template | undefined {
  if (text === undefined) return undefined;
  const path = at(field, 'key');
  const template = checkTemplate(text, path, { roots: KEY_ROOTS, steps: [] }, issues);
  if (template?.literal === true) {
    const fix = field === 'idempotency' ? 'name what makes runs the same' : 'leave it out';
    issues.add(path, `A key without an expression is the same for every run; ${fix}, e.g. "{{ input.customer }}".`);
  }
  if (template !== undefined && (!template.deterministic || template.timed)) {
    issues.add(path, 'A key must be the same when a delivery comes again; remove $now, $millis, $random or $shuffle.');
  }
  return template;
}

export interface FlowRequest {
  readonly chain: string;
  readonly event: TriggerEvent;
  readonly input: unknown;
  /** Whether it may be the same as an earlier run, and whether it may give way to a newer one. */
  readonly idempotent: boolean;
  readonly debounced: boolean;
}

/** The flow of one run and what chooses its object, or why it cannot run. */
export interface RunFlow {
  /** Runs with the same one live in the same object. */
  readonly shardKey: string;
  readonly flow: Flow | { readonly fault: Fault };
}

export async function flowOf(plan: FlowPlan, request: FlowRequest): Promise<RunFlow> {
  const { chain: name, event, input, idempotent, debounced } = request;
  const { receivedAt, ...trigger } = event;
  const scope = { trigger, input, chain: { name } };
  const { concurrency, throttle, debounce, idempotency, order } = plan;
  try {
    const keys = new Map<Field, string>();
    const declared = [
      ['concurrency', concurrency],
      ['throttle', throttle],
      ['debounce', debounce],
      ['idempotency', idempotency],
      ['order', order],
    ] as const;
    for (const [field, given] of declared) {
      if (given !== undefined) keys.set(field, await keyOf(given.key, `${field}.key`, scope));
    }
    const key = (field: Field): string => keys.get(field) ?? '';
    const flow: Flow = {
      chain: name,
      ...(concurrency && { concurrency: { ...concurrency, key: key('concurrency') } }),
      ...(throttle && { throttle: { ...throttle, key: key('throttle') } }),
      ...(debounced && debounce && { debounce: { ...debounce, key: key('debounce') } }),
      ...(idempotent && idempotency && { idempotency: { ...idempotency, key: key('idempotency') } }),
      ...(order && { order: { key: key('order') } }),
      priority: await priorityOf(plan.priority, { ...scope, trigger: event, run: { now: receivedAt } }),
    };
    const [shared = ''] = keys.values();
    return { shardKey: JSON.stringify(plan.spread ? [name, shared] : [name]), flow };
  } catch (thrown) {
    const { detail: _private, ...reason } = faultOf(thrown);
    return { shardKey: JSON.stringify([name]), flow: { fault: reason } };
  }
}

async function keyOf(
  key: Template | undefined,
  path: string,
  scope: Readonly<Record<string, unknown>>,
): Promise<string> {
  if (key === undefined) return '';
  const text = canonicalJson((await evaluated(key, path, scope)) ?? null);
  if (text.length <= LIMITS.flowKeyCharacters) return text;
  throw new FaultError(
    fault('expression.bounds', `${path}: the key has more than ${LIMITS.flowKeyCharacters} characters.`),
  );
}

async function priorityOf(priority: Template | undefined, scope: Readonly<Record<string, unknown>>): Promise<number> {
  if (priority === undefined) return 0;
  const value = await evaluated(priority, 'priority', scope);
  if (typeof value === 'number' && Number.isFinite(value)) {
    return Math.max(-LIMITS.flowPriority, Math.min(LIMITS.flowPriority, value));
  }
  throw new FaultError(
    fault('expression.failed', `priority: must give a number, not ${JSON.stringify(value ?? null)}.`),
  );
}

/** Says in which field an expression failed. */
async function evaluated(template: Template, path: string, scope: Readonly<Record<string, unknown>>): Promise<unknown> {
  try {
    return await template.evaluate(scope);
  } catch (thrown) {
    const reason = faultOf(thrown);
    throw new FaultError({ ...reason, message: `${path}: ${reason.message}` });
  }
}
