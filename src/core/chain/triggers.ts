/** The triggers of a plan. */

import type { Catalogue } from './catalogue.ts';
import type { ChainDocument, TriggerDocument } from './document.ts';
import { at, type IssueList } from './issues.ts';
import type { Mode, TriggerPlan } from './plan.ts';
import { checkTemplate, compileCondition, SCOPES } from './scopes.ts';
import { compileSubscription } from './subscription.ts';
import type { Surroundings } from './surroundings.ts';
import { checkPath, shapeOf } from '../route/path.ts';
import { compilePolicies } from '../route/policies.ts';
import { checkCron } from '../policy/cron.ts';

/** Inline when somebody waits for every run, else durable. */
export function modeOf(chain: ChainDocument): Mode {
  const triggers = Object.values(chain.triggers ?? {});
  const waited = triggers.length > 0 && triggers.every((trigger) => trigger.type === 'http');
  return chain.mode ?? (waited ? 'inline' : 'durable');
}

/** Triggers that nobody waits behind. */
const UNATTENDED: ReadonlySet<string> = new Set(['webhook', 'schedule', 'queue', 'subscription']);

export function compileTriggers(
  chain: ChainDocument,
  mode: Mode,
  catalogue: Catalogue,
  issues: IssueList,
): readonly TriggerPlan[] {
  const routes = new Map<string, string>();
  return Object.entries(chain.triggers ?? {}).map(([name, trigger]) => {
    const path = at('triggers', name);
    if (trigger.type === 'http') {
      // The names of parameters make no difference to what a path matches.
      const route = `${trigger.method} ${shapeOf(trigger.path)}`;
      const first = routes.get(route);
      if (first === undefined) routes.set(route, name);
      else issues.add(at(path, 'path'), `The trigger "${first}" answers the same requests; remove one of them.`);
    }
    // A start by hand is recorded under this name.
    if (name === 'manual' && trigger.type !== 'manual') {
      issues.add(path, 'The name "manual" stands for starts by hand; choose another.');
    }
    if (mode === 'inline' && UNATTENDED.has(trigger.type)) {
      issues.add(
        at(path, 'type'),
        `Nobody waits for a ${trigger.type}, so its chain must be durable: set "mode" to "durable".`,
      );
    }
    return compileTrigger(name, trigger, path, { mode, catalogue, issues });
  });
}

/** Without `run`, since it decides whether there is one. */
const FILTER = { roots: ['trigger', 'chain'], steps: [] };

function compileTrigger(
  name: string,
  trigger: TriggerDocument,
  path: string,
  { mode, catalogue, issues }: Pick<Surroundings, 'mode' | 'catalogue' | 'issues'>,
): TriggerPlan {
  const given = 'input' in trigger ? trigger.input : undefined;
  const allowed = { roots: SCOPES.trigger, steps: [] };
  const input = given === undefined ? undefined : checkTemplate(given, at(path, 'input'), allowed, issues);
  switch (trigger.type) {
    case 'http': {
      const { type, method } = trigger;
      checkPath(trigger.path, at(path, 'path'), issues);
      if (mode === 'inline' && trigger.respond === 'accepted') {
        issues.add(at(path, 'respond'), 'Only a durable run goes on after its caller: set "mode" to "durable".');
      }
      const respond = trigger.respond ?? (mode === 'inline' ? 'result' : 'accepted');
      const policies = compilePolicies(trigger, path, issues);
      return { name, input, type, method, path: trigger.path, policies, respond };
    }
    case 'webhook':
      return {
        name,
        input,
        type: trigger.type,
        source: trigger.source,
        events: trigger.events,
        filter: compileCondition(trigger.filter, at(path, 'filter'), FILTER, issues),
      };
    case 'schedule': {
      const { type, cron, timezone, missed } = trigger;
      const wrong = checkCron(cron, timezone);
      if (wrong !== undefined) issues.add(at(path, 'cron'), wrong);
      return { name, input, type, cron, timezone, missed };
    }
    case 'queue': {
      const filter = compileCondition(trigger.filter, at(path, 'filter'), FILTER, issues);
      return { name, input, type: trigger.type, queue: trigger.queue, filter };
    }
    case 'subscription': {
      const filter = compileCondition(trigger.filter, at(path, 'filter'), FILTER, issues);
      return { name, input, type: trigger.type, ...compileSubscription(trigger, path, catalogue, issues), filter };
    }
    case 'manual':
      return { name, input, type: trigger.type };
  }
}
