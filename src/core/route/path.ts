/** Paths of triggers and routes: `/orders/{id}/paid`, and for routes `/files/{rest*}`. */

import type { IssueList } from '../chain/issues.ts';
import { isReservedName } from '../chain/names.ts';

const PARAMETER = /^\{([A-Za-z][A-Za-z0-9_]{0,63})(\*?)\}$/;
/**
 * The normal form of RFC 3986, section 6.2.2: escapes in capitals, and none of a character that needs none.
 * Paths are compared as they stand, so another form would be a route that nobody reaches.
 */
const LITERAL = /^(?:[A-Za-z0-9._~!$&'()+,;=:@-]|%(?!2[DE]|3[0-9]|4[1-9A-F]|5[0-9AF]|6[1-9A-F]|7[0-9AE])[0-9A-F]{2})+$/;

const FIX =
  'a segment is a text, escaped only where it must be (%C3%A9), or a whole parameter such as {id}; no end slash';

/** @param rest whether the last segment may be `{name*}`, which stands for any number of segments */
export function checkPath(path: string, place: string, issues: IssueList, rest = false): void {
  if (path === '/_' || path.startsWith('/_/') || path === '/hooks' || path.startsWith('/hooks/')) {
    issues.add(place, '/_/ and /hooks/ belong to the gateway; choose another path.');
  }
  const names = new Set<string>();
  const segments = path === '/' ? [] : path.slice(1).split('/');
  for (const [index, segment] of segments.entries()) {
    const [, name, star] = PARAMETER.exec(segment) ?? [];
    if (name === undefined) {
      if (LITERAL.test(segment) && segment !== '.' && segment !== '..') continue;
      issues.add(place, `"${segment}" cannot be a segment of a path: ${FIX}.`);
    } else if (star !== '' && (!rest || index !== segments.length - 1)) {
      issues.add(place, `"${segment}" may stand only at the end of the path of a route.`);
    } else if (names.has(name) || isReservedName(name)) {
      issues.add(place, `The parameter {${name}} stands there twice or is reserved; give each a name of its own.`);
    } else names.add(name);
  }
}

/** What a path matches, whatever its parameters are called: `/orders/{}/paid`, `/files/{*}`. */
export const shapeOf = (path: string): string => path.replaceAll(/\{[^/*]*(\*?)\}/g, '{$1}');

/** The names of its parameters, in order. */
export const parametersOf = (path: string): readonly string[] =>
  [...path.matchAll(/\{([^/*]*)\*?\}/g)].map(([, name = '']) => name);

/** A segment that a server could take for a step upwards, or a character that it could take for a slash. */
const STEPS_UP = /(?:^|\/|%2f)(?:\.|%2e){1,2}(?=\/|%2f|$|;)|\\|%5c|%00/i;

/** Whether a path says the same to everybody who reads it, so that it may be passed on. */
export const isPlainPath = (path: string): boolean => !STEPS_UP.test(path);
