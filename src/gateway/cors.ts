/** Answers to pages of other sites. https://fetch.spec.whatwg.org/#http-cors-protocol */

import type { Exchange } from './exchange.ts';
import { edited } from './response.ts';
import { allowsOrigin, type CorsPlan } from '../core/route/cors.ts';

/** The answer to a preflight, which carries no credentials and so comes before them; undefined for any other request. */
export function preflight(plan: CorsPlan, { method, headers }: Exchange, origin: string): Response | undefined {
  if (method !== 'OPTIONS') return undefined;
  const asked = headers.get('access-control-request-method');
  if (asked === null) return undefined;
  const answer = new Headers({ vary: 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers' });
  if (allowsOrigin(plan, origin)) {
    allow(plan, origin, answer);
    answer.set('access-control-allow-methods', asked);
    const names = plan.headers ?? headers.get('access-control-request-headers');
    if (names !== null) answer.set('access-control-allow-headers', names);
    answer.set('access-control-max-age', plan.maxAgeSeconds);
  }
  return new Response(null, { status: 204, headers: answer });
}

/** The same response, readable for the page where its origin may; what an upstream said of origins is replaced. */
export const allowCaller = (plan: CorsPlan, origin: string | null, response: Response): Response =>
  edited(response, (headers) => {
    for (const name of OWN) headers.delete(name);
    if (!plan.any) headers.append('vary', 'Origin');
    if (origin === null || !allowsOrigin(plan, origin)) return;
    allow(plan, origin, headers);
    if (plan.expose !== undefined) headers.set('access-control-expose-headers', plan.expose);
  });

const OWN = [
  'access-control-allow-origin',
  'access-control-allow-credentials',
  'access-control-expose-headers',
  'access-control-allow-methods',
  'access-control-allow-headers',
];

function allow(plan: CorsPlan, origin: string, headers: Headers): void {
  headers.set('access-control-allow-origin', plan.any ? '*' : origin);
  if (plan.credentials) headers.set('access-control-allow-credentials', 'true');
}
