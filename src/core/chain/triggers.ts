/** The triggers of a plan. */

import type { ChainDocument, TriggerDocument } from './document.ts';
import { at, type IssueList } from './issues.ts';
import type { Mode, TriggerPlan } from './plan.ts';
import { checkTemplate, SCOPES } from './scopes.ts';
import { checkCron } from '../policy/cron.ts';

/** Inline when somebody waits for every run, else durable. */
export function modeOf(chain: ChainDocument): Mode {
  const triggers = Object.values(chain.triggers ?? {});
  const waited = triggers.length > 0 && triggers.every((trigger) => trigger.type === 'http');
  return chain.mode ?? (waited ? 'inline' : 'durable');
}

export function compileTriggers(chain: ChainDocument, mode: Mode, issues: IssueList): readonly TriggerPlan[] {
  return Object.entries(chain.triggers ?? {}).map(([name, trigger]) => {
    const path = at('triggers', name);
    if (mode === 'inline' && (trigger.type === 'webhook' || trigger.type === 'schedule')) {
      issues.add(
        at(path, 'type'),
        `Nobody waits for a ${trigger.type}, so its chain must be durable: set "mode" to "durable".`,
      );
    }
    return compileTrigger(name, trigger, path, mode, issues);
  });
}

function compileTrigger(
  name: string,
  trigger: TriggerDocument,
  path: string,
  mode: Mode,
  issues: IssueList,
): TriggerPlan {
  const given = 'input' in trigger ? trigger.input : undefined;
  const allowed = { roots: SCOPES.trigger, steps: [] };
  const input = given === undefined ? undefined : checkTemplate(given, at(path, 'input'), allowed, issues);
  switch (trigger.type) {
    case 'http': {
      const { type, method, auth } = trigger;
      checkPath(trigger.path, at(path, 'path'), issues);
      if (mode === 'inline' && trigger.respond === 'accepted') {
        issues.add(at(path, 'respond'), 'Only a durable run goes on after its caller: set "mode" to "durable".');
      }
      const respond = trigger.respond ?? (mode === 'inline' ? 'result' : 'accepted');
      return { name, input, type, method, path: trigger.path, auth, respond };
    }
    case 'webhook':
      return { name, input, type: trigger.type, source: trigger.source, events: trigger.events };
    case 'schedule': {
      const { type, cron, timezone, missed } = trigger;
      const wrong = checkCron(cron, timezone);
      if (wrong !== undefined) issues.add(at(path, 'cron'), wrong);
      return { name, input, type, cron, timezone, missed };
    }
    case 'manual':
      return { name, input, type: trigger.type };
  }
}

const PARAMETER = /^\{([A-Za-z][A-Za-z0-9_]{0,63})\}$/;
const LITERAL = /^[A-Za-z0-9._~!$&'()+,;=:@%-]+$/;

function checkPath(path: string, place: string, issues: IssueList): void {
  if (path === '/_' || path.startsWith('/_/') || path === '/hooks' || path.startsWith('/hooks/')) {
    issues.add(place, '/_/ and /hooks/ belong to the gateway; choose another path.');
  }
  const names = new Set<string>();
  for (const segment of path === '/' ? [] : path.slice(1).split('/')) {
    const name = PARAMETER.exec(segment)?.[1];
    if (name === undefined && (!LITERAL.test(segment) || segment === '.' || segment === '..')) {
      const fix = 'a segment is a text or a whole parameter such as {id}, and the path has no end slash';
      issues.add(place, `"${segment}" cannot be a segment of a path: ${fix}.`);
    } else if (name !== undefined && (names.has(name) || name === 'constructor')) {
      issues.add(place, `The parameter {${name}} stands there twice or is reserved; give each a name of its own.`);
    } else if (name !== undefined) names.add(name);
  }
}
