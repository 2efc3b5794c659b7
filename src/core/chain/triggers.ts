/** The triggers of a plan. */

import type { ChainDocument, TriggerDocument } from './document.ts';
import { at, type IssueList } from './issues.ts';
import type { Mode, TriggerPlan } from './plan.ts';
import { isReservedName } from './names.ts';
import { checkTemplate, compileCondition, SCOPES } from './scopes.ts';
import { checkCron } from '../policy/cron.ts';

/** Inline when somebody waits for every run, else durable. */
export function modeOf(chain: ChainDocument): Mode {
  const triggers = Object.values(chain.triggers ?? {});
  const waited = triggers.length > 0 && triggers.every((trigger) => trigger.type === 'http');
  return chain.mode ?? (waited ? 'inline' : 'durable');
}

export function compileTriggers(chain: ChainDocument, mode: Mode, issues: IssueList): readonly TriggerPlan[] {
  const routes = new Map<string, string>();
  return Object.entries(chain.triggers ?? {}).map(([name, trigger]) => {
    const path = at('triggers', name);
    if (trigger.type === 'http') {
      // The names of parameters make no difference to what a path matches.
      const route = `${trigger.method} ${trigger.path.replaceAll(/\{[^/]*\}/g, '{}')}`;
      const first = routes.get(route);
      if (first === undefined) routes.set(route, name);
      else issues.add(at(path, 'path'), `The trigger "${first}" answers the same requests; remove one of them.`);
    }
    // A start by hand is recorded under this name.
    if (name === 'manual' && trigger.type !== 'manual') {
      issues.add(path, 'The name "manual" stands for starts by hand; choose another.');
    }
    if (mode === 'inline' && (trigger.type === 'webhook' || trigger.type === 'schedule')) {
      issues.add(
        at(path, 'type'),
        `Nobody waits for a ${trigger.type}, so its chain must be durable: set "mode" to "durable".`,
      );
    }
    return compileTrigger(name, trigger, path, mode, issues);
  });
}

/** Without `run`, since it decides whether there is one. */
const FILTER = { roots: ['trigger', 'chain'], steps: [] };

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
    case 'manual':
      return { name, input, type: trigger.type };
  }
}

const PARAMETER = /^\{([A-Za-z][A-Za-z0-9_]{0,63})\}$/;
/**
 * The normal form of RFC 3986, section 6.2.2: escapes in capitals, and none of a character that needs none.
 * Paths are compared as they stand, so another form would be a route that nobody reaches.
 */
const LITERAL = /^(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%(?!2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])[0-9A-F]{2})+$/;

function checkPath(path: string, place: string, issues: IssueList): void {
  if (path === '/_' || path.startsWith('/_/') || path === '/hooks' || path.startsWith('/hooks/')) {
    issues.add(place, '/_/ and /hooks/ belong to the gateway; choose another path.');
  }
  const names = new Set<string>();
  for (const segment of path === '/' ? [] : path.slice(1).split('/')) {
    const name = PARAMETER.exec(segment)?.[1];
    if (name === undefined && (!LITERAL.test(segment) || segment === '.' || segment === '..')) {
      const fix =
        'a segment is a text, escaped only where it must be (%C3%A9), or a whole parameter such as {id}; no end slash';
      issues.add(place, `"${segment}" cannot be a segment of a path: ${fix}.`);
    } else if (name !== undefined && (names.has(name) || isReservedName(name))) {
      issues.add(place, `The parameter {${name}} stands there twice or is reserved; give each a name of its own.`);
    } else if (name !== undefined) names.add(name);
  }
}
