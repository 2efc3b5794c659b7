/** parse → compile → plan, for routes. */

import { routeSchema, type RouteDocument } from './document.ts';
import { compileRequestEdits, compileResponseEdits } from './edits.ts';
import { checkPath, parametersOf } from './path.ts';
import type { RouteEntry, RoutePlan, VersionPlan } from './plan.ts';
import { compilePolicies } from './policies.ts';
import { noticesOf, type VersionDocument } from './versions.ts';
import { parseDuration } from '../chain/duration.ts';
import { at, IssueList } from '../chain/issues.ts';
import { suggestion } from '../chain/names.ts';
import { parseDocument, refuseDocument } from '../chain/parse.ts';
import { ok, type Result } from '../errors.ts';
import type { Json } from '../json.ts';

/** Fault `route.invalid` with an issue for each mistake. */
export function compileRoute(document: unknown): Result<RoutePlan> {
  const issues = new IssueList();
  const route = parseDocument(routeSchema, document, issues);
  if (route === undefined) return refuseDocument('route.invalid', issues);
  checkPath(route.path, 'path', issues, true);
  const plan: RoutePlan = {
    name: route.name,
    entries: entriesOf(route, issues),
    policies: compilePolicies(route, '', issues),
    timeoutMilliseconds: route.timeout === undefined ? undefined : parseDuration(route.timeout),
    bodyLimitBytes: route.bodyLimitBytes,
    compress: route.compress,
    document: document as Json,
  };
  return issues.all.length === 0 ? ok(plan) : refuseDocument('route.invalid', issues);
}

function entriesOf(route: RouteDocument, issues: IssueList): readonly RouteEntry[] {
  const { versions, path, hosts = [], methods = ['*'] } = route;
  if (versions === undefined) {
    return [{ hosts, methods, path, version: compileVersion(route, undefined, {}, '', issues) }];
  }
  const { by, name, list } = versions;
  const plans = new Map(
    Object.entries(list).map(([version, document]) => [
      version,
      compileVersion(route, version, document, at('versions.list', version), issues),
    ]),
  );
  const byDefault = versions.default === undefined ? undefined : plans.get(versions.default);
  if (versions.default !== undefined && byDefault === undefined) {
    const known = suggestion(versions.default, [...plans.keys()]);
    issues.add('versions.default', `There is no version "${versions.default}".${known}`);
  }
  if (by === 'header' || by === 'query') {
    return [{ hosts, methods, path, version: { by, name: name.toLowerCase(), byDefault, versions: plans } }];
  }
  if (by === 'path' && !path.split('/').includes('{version}')) {
    issues.add('path', 'Versions go by path, so the path must hold {version}.');
  }
  const entries = [...plans].map(([version, plan]): RouteEntry => {
    if (by === 'path') return { hosts, methods, path: path.replace('{version}', version), version: plan };
    const own = list[version]?.hosts;
    if (own === undefined) issues.add(at('versions.list', version, 'hosts'), 'Versions go by host: name its hosts.');
    return { hosts: own ?? [], methods, path, version: plan };
  });
  if (byDefault === undefined) return entries;
  // By host, those of the route itself; by path, the path without the segment.
  const plain = by === 'path' ? path.replace('/{version}', '') || '/' : path;
  return [...entries, { hosts, methods, path: plain, version: byDefault }];
}

function compileVersion(
  route: RouteDocument,
  name: string | undefined,
  document: Partial<VersionDocument>,
  place: string,
  issues: IssueList,
): VersionPlan {
  const { afterSunset = 'serve', sunset } = document;
  // The segment of the version is no parameter of what is matched.
  const parameters = parametersOf(route.path).filter(
    (parameter) => route.versions?.by !== 'path' || parameter !== 'version',
  );
  const own = document.request !== undefined;
  return {
    name,
    upstream: document.upstream ?? route.upstream,
    request: compileRequestEdits(
      document.request ?? route.request,
      parameters,
      at(own ? place : '', 'request'),
      issues,
    ),
    response: compileResponseEdits(document.response ?? route.response, at(place, 'response'), issues),
    notices: noticesOf({ ...document, afterSunset }),
    endsAt: afterSunset === 'refuse' && sunset !== undefined ? Date.parse(sunset) : undefined,
  };
}
